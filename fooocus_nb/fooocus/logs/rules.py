"""What is known of the ways in which Fooocus fails: tables for `fooocus_nb.fooocus.logs.diagnosis`.

A prompt is echoed into the log too, so every pattern is held to where Python and Fooocus write
their own messages: the start of a line. Each rule has an example, which the tests hold against its
pattern and which `docs/failures.md` shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fooocus_nb.errors import (
    BadConfigFile,
    CorruptedModel,
    DiskFull,
    EngineDied,
    EngineError,
    GenerationError,
    GenerationStopped,
    GPUUnusable,
    MissingDependency,
    ModelNotFound,
    NetworkError,
    OutOfMemory,
    OutOfVRAM,
    PortTaken,
    StartError,
    UnknownFlag,
    WorkerDead,
    WrongInterpreter,
)

__all__ = [
    "BAD_CONFIG",
    "NOTICES",
    "RULES",
    "SIGNALS",
    "STOPPED",
    "STOPPED_ELSEWHERE",
    "WINDOWS_CODES",
    "WORKER",
    "NoticeRule",
    "Rule",
]


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that can go wrong.

    Attributes
    ----------
    title : str
        What it is, for the table in the docs.
    pattern : re.Pattern
        What a log line begins with when it happens.
    error : type of EngineError
        The exception for it.
    cause, remedy : str
        What happened and what to do. They may name the pattern's groups.
    example : str
        Such a line.
    """

    title: str
    pattern: re.Pattern[str]
    error: type[EngineError]
    cause: str
    remedy: str
    example: str


@dataclass(frozen=True, slots=True)
class NoticeRule:
    """One thing that is no failure but worth knowing; see :class:`Rule`."""

    pattern: re.Pattern[str]
    meaning: str
    remedy: str
    example: str


def _rule(
    title: str, pattern: str, error: type[EngineError], cause: str, remedy: str, example: str
) -> Rule:
    return Rule(title, re.compile(pattern), error, cause, remedy, example)


_EXCEPTION = r"^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*: (?:.*\b)?"
_MODEL_ENDING = r"\.(?:safetensors|ckpt|pth?|bin|gguf|onnx|patch)"
_MODEL_FILE = rf"[^\"'\n]*{_MODEL_ENDING}"
_RIGHT_PYTHON = (
    "Name the interpreter that Fooocus is installed in with python=. Fooocus wants Python 3.10 or "
    "3.11, in an environment of its own with its own requirements_versions.txt."
)

#: Most telling first: a failed load is reported as a corrupted file whatever its reason, so the
#: memory comes before the file.
RULES = (
    _rule(
        "no GPU memory",
        r"^torch\.(?:cuda\.)?OutOfMemoryError\b"
        r"|^(?:RuntimeError|[\w.]*OutOfMemoryError): (?:CUDA|HIP|MPS).*(?:out of memory|alloc)"
        r"|^RuntimeError: .*(?:CUDNN|CUBLAS)_STATUS_ALLOC_FAILED",
        OutOfVRAM,
        "The GPU ran out of memory.",
        "Make smaller images, end other programs on the GPU, or start the engine with "
        "args=['--always-low-vram'] (or '--always-no-vram').",
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    ),
    _rule(
        "no memory",
        r"^(?:RuntimeError: .*|\[enforce fail.*)?DefaultCPUAllocator: (?:not enough|can't allocate)"
        r"|^(?:\w+\.)*MemoryError\b|^(?:OSError: )?\[(?:Errno 12|WinError 1455)\]"
        r"|^OSError: .*(?:paging file is too small|Cannot allocate memory)",
        OutOfMemory,
        "The machine ran out of memory (RAM and swap).",
        "End other programs, add swap (Fooocus wants some 8 GB of RAM and as much swap), "
        "or use a smaller model.",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough "
        "memory: you tried to allocate 26214400 bytes.",
    ),
    _rule(
        "port taken",
        r"^OSError: Cannot find empty port in range: ?(?P<port>\S*)"
        r"|^(?:OSError: |ERROR: +)?\[(?:Errno (?:48|98)|WinError 10048|Errno 10048)\]",
        PortTaken,
        "Another program listens on the engine's port.",
        "Start it again: without port= a free one is chosen.",
        "OSError: Cannot find empty port in range: 7865-7865.",
    ),
    _rule(
        "disk full",
        r"^(?:\w+\.)*OSError: (?:\[Errno (?:28|122)\]|.*No space left on device)"
        r"|^RuntimeError: .*(?:No space left|unexpected pos)",
        DiskFull,
        "The disk is full.",
        "Make room on the disk of the engine's outputs, models and temp folder.",
        "OSError: [Errno 28] No space left on device: 'outputs/2026-01-01/1.png'",
    ),
    _rule(
        "model not found",
        r"^(?:\w+\.)*(?:FileNotFoundError|OSError|ValueError|RuntimeError): (?:\[Errno 2\] )?"
        rf"No such file or directory: [\"'](?P<file>{_MODEL_FILE})[\"']",
        ModelNotFound,
        "The model file {file} does not exist.",
        "See engine.parameters for the models that the engine knows, or put the file there.",
        'FileNotFoundError: No such file or directory: "models/loras/gone.safetensors"',
    ),
    _rule(
        "launcher gone",
        r"^\S*python\S*: can't open file '?(?P<file>.+?)'?: \[Errno",
        StartError,
        "The engine's Python does not find {file}.",
        "Was the checkout moved or removed? Give its folder with path=.",
        "python: can't open file '/opt/Fooocus/launch.py': [Errno 2] No such file or directory",
    ),
    _rule(
        "file not found",
        r"^(?:\w+\.)*(?:FileNotFoundError|OSError): \[Errno 2\] No such file or directory: "
        r"[\"'](?P<file>[^\"']+)",
        GenerationError,
        "The engine does not find {file}.",
        "Was the file or its folder removed while the engine ran?",
        "FileNotFoundError: [Errno 2] No such file or directory: 'outputs/2026-01-01'",
    ),
    _rule(
        "model renamed",
        rf"^File corrupted: (?P<file>.*{_MODEL_ENDING})",
        CorruptedModel,
        "The model file {file} could not be loaded; Fooocus has renamed it to *.corrupted.",
        "Any failed load renames it, also one for want of memory. "
        "fooocus_nb.restore_model({file!r}) looks whether it is whole and takes the name back; "
        "so does: fooocus-nb doctor --restore. If it is not, download it anew.",
        "File corrupted: /opt/Fooocus/models/checkpoints/model.safetensors",
    ),
    _rule(
        "model unreadable",
        rf"{_EXCEPTION}(?:Error while deserializing header|HeaderTooLarge|HeaderTooSmall"
        r"|InvalidHeader\w*|MetadataIncompleteBuffer|PytorchStreamReader failed|invalid load key)"
        r"|^_pickle\.UnpicklingError\b",
        CorruptedModel,
        "A model file could not be read: it is cut short or no model at all.",
        "Download the file anew. Fooocus may have renamed it to *.corrupted: fooocus-nb doctor "
        "lists such files, and says which of them are whole.",
        "safetensors_rust.SafetensorError: Error while deserializing header: "
        "MetadataIncompleteBuffer",
    ),
    _rule(
        "no pip release",
        r"^ERROR: (?:No matching distribution found for|Could not find a version that satisfies "
        r"the requirement) (?P<what>[^\s(]+)",
        WrongInterpreter,
        "pip finds no {what} for the engine's Python.",
        f"{_RIGHT_PYTHON} Where the version is right, pip had no network.",
        "ERROR: No matching distribution found for torch==2.1.0",
    ),
    _rule(
        "system Python",
        r"^error: externally-managed-environment",
        WrongInterpreter,
        "The engine's Python belongs to the operating system, which lets nothing be installed.",
        _RIGHT_PYTHON,
        "error: externally-managed-environment",
    ),
    _rule(
        "no network",
        r"^(?:\w+\.)*(?:URLError|HTTPError|ConnectionError|ConnectTimeout|ReadTimeout"
        r"|MaxRetryError|gaierror|SSLCertVerificationError|LocalEntryNotFoundError"
        r"|IncompleteRead|RemoteDisconnected)\b"
        r"|^(?:\w+\.)*\w+Error: .*(?:urlopen error|getaddrinfo failed|Name or service not known"
        r"|Temporary failure in name resolution)|^<?urlopen error",
        NetworkError,
        "The engine could not download something.",
        "Check the network or proxy, use a mirror with args=['--hf-mirror', 'URL'], or put the "
        "file into the models folder by hand.",
        "urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>",
    ),
    _rule(
        "checkout incomplete",
        r"^(?:ModuleNotFoundError: No module named '|ImportError: cannot import name '\w+' from ')"
        r"(?P<module>(?:modules|ldm_patched|extras|sdxl_styles|args_manager|fooocus_version"
        r"|fooocusui|webui|shared)\b[\w.]*)",
        StartError,
        "The checkout lacks its own module {module}.",
        "Get it anew with: git clone https://github.com/lllyasviel/Fooocus",
        "ModuleNotFoundError: No module named 'ldm_patched.modules'",
    ),
    _rule(
        "Python too new",
        r"^(?:ModuleNotFoundError: No module named '(?:distutils|imp)\b"
        r"|AttributeError: module 'pkgutil' has no attribute 'ImpImporter')",
        WrongInterpreter,
        "Fooocus does not run on this version of Python.",
        _RIGHT_PYTHON,
        "AttributeError: module 'pkgutil' has no attribute 'ImpImporter'. Did you mean: "
        "'zipimporter'?",
    ),
    _rule(
        "module missing",
        r"^(?:ModuleNotFoundError: No module named '|(?:/\S*|[A-Z]:\\\S*|python\S*): No module "
        r"named '?)(?P<module>[\w.]+)",
        MissingDependency,
        "The engine's Python has no module {module!r}.",
        "Is it the interpreter that Fooocus was installed in? Name the right one with python=, "
        "or install Fooocus's requirements into this one.",
        "ModuleNotFoundError: No module named 'torch'",
    ),
    _rule(
        "system library missing",
        r"^(?:ImportError|OSError): (?P<library>lib[\w.+-]+\.so[\w.]*): cannot open shared object",
        MissingDependency,
        "The system has no {library}, which a package of the engine needs.",
        "Install it: libGL and libgthread come with apt install libgl1 libglib2.0-0; the CUDA "
        "libraries come with PyTorch.",
        "ImportError: libGL.so.1: cannot open shared object file: No such file or directory",
    ),
    _rule(
        "GPU unusable",
        r"^(?:AssertionError: Torch not compiled with CUDA|RuntimeError: Found no NVIDIA driver"
        r"|RuntimeError: .*NVIDIA driver on your system is too old"
        r"|RuntimeError: No CUDA GPUs are available"
        r"|RuntimeError: CUDA error: invalid device ordinal)",
        GPUUnusable,
        "The engine's PyTorch cannot use the GPU.",
        "Check the driver with nvidia-smi, the gpu= index and that PyTorch was installed with "
        "CUDA; args=['--always-cpu'] runs without a GPU, slowly.",
        "RuntimeError: Found no NVIDIA driver on your system.",
    ),
    _rule(
        "GPU too new for PyTorch",
        r"^RuntimeError: CUDA error: no kernel image is available",
        GPUUnusable,
        "The engine's PyTorch was not built for this GPU.",
        "Install a PyTorch for it into the engine's environment: a newer one for a new GPU, an "
        "older one for an old GPU.",
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
    ),
    _rule(
        "half precision on a CPU",
        r"^RuntimeError: \"?\w+\"? not implemented for '(?:Half|BFloat16|Float8\w*)'",
        GPUUnusable,
        "The device cannot compute with the small numbers that were chosen.",
        "Start it with args=['--all-in-fp32'].",
        "RuntimeError: \"LayerNormKernelImpl\" not implemented for 'Half'",
    ),
    _rule(
        "packages do not fit",
        r"^(?:ImportError: .*(?:DLL load failed|cannot open shared object|undefined symbol|"
        r"cannot import name)|AttributeError: module '[\w.]+' has no attribute"
        r"|SyntaxError:"
        r"|RuntimeError: (?:operator torchvision::nms does not exist|Numpy is not available))",
        WrongInterpreter,
        "A package of the engine's Python does not fit the others or this Python version.",
        _RIGHT_PYTHON,
        "ImportError: cannot import name 'cached_download' from 'huggingface_hub'",
    ),
    _rule(
        "unknown flag",
        r"^\S+: error: (?P<what>(?:unrecognized arguments|argument |ambiguous option|expected).*)",
        UnknownFlag,
        "This version does not take the given flags: {what}.",
        "Correct args=; the flags of this version are in its readme.md.",
        "launch.py: error: unrecognized arguments: --always-fast",
    ),
    _rule(
        "Python crashed",
        r"^Fatal Python error: (?P<what>.+)",
        EngineDied,
        "The engine's Python crashed: {what}.",
        "Mostly a package with native code does not fit the driver or the others.",
        "Fatal Python error: Segmentation fault",
    ),
    _rule(
        "proxy before its own page",
        r"^ValueError: When localhost is not accessible, a shareable link must be created",
        StartError,
        "The engine cannot reach its own web page, mostly because of a proxy.",
        "Set NO_PROXY=127.0.0.1,localhost in env=.",
        "ValueError: When localhost is not accessible, a shareable link must be created.",
    ),
    _rule(
        "no permission",
        r"^PermissionError: .*?[\"'](?P<file>[^\"']+)",
        EngineError,
        "The engine may not read or write {file}.",
        "Give it the permission, or choose another folder with output_dir= or args=.",
        "PermissionError: [Errno 13] Permission denied: '/opt/Fooocus/outputs'",
    ),
)

STOPPED = _rule(
    "stopped",
    r"^User stopped\b",
    GenerationStopped,
    "The generation was stopped.",
    "",
    "User stopped",
)
#: Told from our own stop by the job, which knows what it has sent.
STOPPED_ELSEWHERE = Rule(
    "stopped by somebody else",
    STOPPED.pattern,
    GenerationStopped,
    "The generation was stopped by somebody else: another kernel, or the engine's web page.",
    "Generate it again. engine.last_result has the images that were finished.",
    STOPPED.example,
)
WORKER = _rule(
    "worker dead",
    r"^Exception in thread .*\(worker\)",
    WorkerDead,
    "The engine's worker thread has ended.",
    "engine.restart() starts it again.",
    "Exception in thread Thread-2 (worker):",
)
#: Told by where the traceback ends, not by a line.
BAD_CONFIG = Rule(
    "config.txt unusable",
    re.compile(r"^  File \"(?:[^\"]*[\\/])?modules[\\/](?:config|path)\.py\""),
    BadConfigFile,
    "A setting in config.txt cannot be used: {what}",
    "Mend config.txt in the checkout: fooocus-nb doctor says what is wrong with it. Fooocus writes "
    "a new one where there is none.",
    '  File "/opt/Fooocus/modules/config.py", line 213, in <module>',
)

NOTICES = (
    NoticeRule(
        re.compile(r"^Failed to load config file"),
        "config.txt does not parse, so it is ignored.",
        "Mend the JSON in the checkout's config.txt: fooocus-nb doctor says where it breaks.",
        'Failed to load config file "config.txt" . The reason is: Expecting value',
    ),
    NoticeRule(
        re.compile(r"^Failed to load config key: (?P<name>.*?) is invalid"),
        "A setting in config.txt is invalid, so Fooocus uses its own: {name}.",
        "Mend config.txt: fooocus-nb doctor lists what is wrong with it.",
        'Failed to load config key: {"default_steps": "two"} is invalid; will use -1 instead.',
    ),
    NoticeRule(
        re.compile(r"^Version mismatch for (?P<name>[^:]+)"),
        "launch.py is about to install a pinned version of {name} into the engine's Python.",
        "This is normal in Fooocus's own environment.",
        "Version mismatch for gradio: Installed version 3.50.2 does not meet requirement 3.41.2",
    ),
    NoticeRule(
        re.compile(r".*\bmoved?\b.* to .*\.corrupted\b"),
        "Fooocus has renamed a model file that it could not load.",
        "If the file is whole, fooocus-nb doctor --restore takes the name back.",
        "Fooocus has tried to move the corrupted file to model.safetensors.corrupted",
    ),
    NoticeRule(
        re.compile(r"^Lora file not found: (?P<name>.+)"),
        "The LoRA {name} was not found and left out.",
        "See engine.parameters for the LoRAs that the engine knows.",
        "Lora file not found: gone.safetensors",
    ),
    NoticeRule(re.compile(r"^User skipped\b"), "An image was skipped.", "", "User skipped"),
)

#: What the operating system's ways to end a process mean.
SIGNALS: dict[str, tuple[type[EngineError], str, str]] = {
    "SIGKILL": (
        OutOfMemory,
        "The engine was killed (SIGKILL), as the system does when memory runs out.",
        "If nobody killed it: end other programs, add swap, or use a smaller model. In a "
        "container, raise its memory limit.",
    ),
    "SIGSEGV": (
        EngineDied,
        "The engine crashed in native code (segmentation fault).",
        "Mostly PyTorch and the driver do not fit each other; update the driver.",
    ),
    "SIGILL": (
        EngineDied,
        "The engine crashed (illegal instruction): its packages want a newer processor.",
        "Install a PyTorch that was built for this processor.",
    ),
    "SIGBUS": (
        EngineDied,
        "The engine crashed (bus error), as happens when a file shrinks or /dev/shm is full.",
        "Make room on the disk and in /dev/shm; a container has only 64 MB there by default.",
    ),
    "SIGTERM": (EngineDied, "The engine was ended from outside (SIGTERM).", ""),
    "SIGINT": (EngineDied, "The engine was interrupted (SIGINT).", ""),
}
WINDOWS_CODES = {0xC0000005: "SIGSEGV", 0xC000001D: "SIGILL", 0xC000013A: "SIGINT"}
