"""What is known of the ways in which Fooocus fails: tables for `fooocus_nb.fooocus.logs.diagnosis`.

A prompt is echoed into the log too, so every pattern is held to where Python and Fooocus write
their own messages: the start of a line. Each rule has an example, which the tests hold against its
pattern and which `docs/failures.md` shows. What a whole family of failures shares is written once,
in `_families`; a number of the system's is preferred to its words, which come in many languages.
"""

from __future__ import annotations

import re
from dataclasses import replace

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
    OutOfMemory,
    OutOfVRAM,
    PortTaken,
    StartError,
    UnknownFlag,
    WorkerDead,
    WrongInterpreter,
)
from fooocus_nb.fooocus.logs._rule_builders import (
    NoticeRule,
    Rule,
    all_of,
    exception_rule,
    rule,
)
from fooocus_nb.fooocus.logs.gpu_rules import GPU_LIBRARY, MEMORY_AND_GPU
from fooocus_nb.fooocus.logs.network_rules import NETWORK, PROXY
from fooocus_nb.fooocus.logs.notice_rules import NOTICES
from fooocus_nb.fooocus.logs.package_rules import PACKAGES, PIP_OS, RIGHT_PYTHON, WEB_PACKAGES

__all__ = [
    "BAD_CONFIG",
    "DOWNLOADING",
    "INSTALLED",
    "MIRROR",
    "MIRRORED",
    "NOTICES",
    "PLACES",
    "RULES",
    "SIGNALS",
    "STOPPED",
    "STOPPED_ELSEWHERE",
    "SUCCEEDED",
    "UNRECOVERABLE",
    "WEB_PACKAGES",
    "WINDOWS_CODES",
    "WORKER",
    "NoticeRule",
    "Rule",
]


_MODEL_ENDING = r"\.(?:safetensors|ckpt|pth?|bin|gguf|onnx|patch)"
_MODEL_FILE = rf"[^\"'\n]*{_MODEL_ENDING}"
#: How it is said that a file is not there, by the number in the system's own language.
_NOT_THERE = r"\[(?:Errno 2|WinError [23])\][^\"']*?|No such file or directory"
#: How a load says that a file is none of PyTorch's: its first byte is text, as of a web page or of
#: Git LFS's pointer. What a pickle may begin with has numbers from 128 up.
_NO_PICKLE = (
    r"Unsupported operand (?:\d{1,2}|1[01]\d|12[0-7])\b|invalid load key|Ran out of input"
    r"|unexpected EOF"
)
#: The temp folder of an engine of ours, and no folder that is called, say, fooocus-nb-main.
_OWN_TEMP = r"[\\/]fooocus-nb-[a-z0-9_]{8}\b(?!-)"

#: A tensor of a GPU's beside one of the processor's, whose type has no device in its name.
_ON_TWO_DEVICES = (
    r"\((?:torch\.(?:cuda|xpu)\.|MPS)\w+\) and weight type \(torch\.\w+Tensor\)"
    r"|\(torch\.\w+Tensor\) and weight type \((?:torch\.(?:cuda|xpu)\.|MPS)\w+\)"
)

#: Most telling first: a failed load is reported as a corrupted file whatever its reason, so the
#: memory comes before the file.
RULES = (
    *MEMORY_AND_GPU,
    rule(
        "port taken",
        r"^OSError: Cannot find empty port in range: ?(?P<port>\S*)"
        r"|^(?:\w*Error: |ERROR: +)?\[(?:Errno (?:48|98|100(?:13|48))|WinError 100(?:13|48))\]"
        r"|^(?:\w*Error: |ERROR: +)?\[Errno 13\] error while attempting to bind",
        PortTaken,
        "Another program listens on the engine's port, or the system keeps it for itself.",
        "Start it again: without port= a free one is chosen.",
        "OSError: Cannot find empty port in range: 7865-7865.",
    ),
    rule(
        "address of another machine",
        r"^(?:OSError: |ERROR: +)?\[(?:Errno (?:49|99|10049)|WinError 10049)\]",
        StartError,
        "The engine cannot listen at the address that it was given: it is not this machine's.",
        "Take --listen with its address out of args=, and IP or SERVER names out of env=.",
        "OSError: [Errno 99] Cannot assign requested address",
    ),
    rule(
        "disk full",
        r"^(?:\w+\.)*OSError: (?:\[(?:Errno (?:28|69|122)|WinError (?:39|112))\]"
        r"|.*No space left on device)"
        r"|^(?:\w+\.)*\w*Error: .*(?:No space left|disk is full|StorageFull|os error (?:28|112)\b"
        r"|unexpected pos)|"
        rf"{PIP_OS}\[Errno 28\]",
        DiskFull,
        "The disk is full.",
        "Make room on the disk of the engine's outputs, models and temp folder.",
        "OSError: [Errno 28] No space left on device: 'outputs/2026-01-01/1.png'",
        group="pip",
    ),
    rule(
        "disk fails",
        r"^(?:\w+\.)*OSError: .*(?:\[(?:Errno (?:5|6|18|19|38|45|70|95|107|112|116|117|121|123)"
        r"|WinError "
        r"(?:2[139]|3[01]|5[13459]|6[457]|121|433|483|100[56]|111[027]|1167|1231|139[23]))\]"
        r"|os error (?:5|1117|1392)\b|Input/output error|Stale file handle)",
        EngineError,
        "The system could not read or write a file: {what}",
        "The disk, the network drive or the cloud's volume does not work, or cannot do this: see "
        "whether it is still mounted, and try again or choose another disk.",
        "OSError: [Errno 5] Input/output error: '/mnt/outputs/2026-01-01/1.png'",
    ),
    rule(
        "temp folder removed",
        r"^(?:\w+\.)*(?:FileNotFoundError|OSError): \[(?:Errno 2"
        r"|WinError [23])\] .*?(?:[\"'](?P<file>"
        rf"[^\"']*(?:[\\/]+gradio[\\/]|{_OWN_TEMP}|[\\/][Tt]e?mp[\\/]+fooocus\b(?!-))[^\"']*)"
        r"|No usable temporary directory)",
        EngineError,
        "The engine's folder for temporary files is gone; some systems remove old ones: {file}",
        "engine.restart() makes a new one; temp_dir= names one where nothing is removed.",
        "FileNotFoundError: [Errno 2] No such file or directory: '/tmp/fooocus-nb-x1y2z3_4/a.png'",
    ),
    exception_rule(
        "file taken by a virus scanner",
        all_of(
            r"WinError 22[56]\b|os error 22[56]\b|\bvirus\b|malware|вирус|病毒|ウイルス|바이러스",
            kinds=r"OSError|FileNotFoundError|PermissionError|ImportError|SafetensorError",
        ),
        EngineError,
        "A virus scanner has taken away a file that the engine needs: {what}",
        "Have the virus scanner leave the engine's folder alone (as an exception), and "
        "restore the file there, or install its package anew.",
        "OSError: [WinError 225] Operation did not complete successfully because the file contains "
        "a virus or potentially unwanted software",
    ),
    rule(
        "model not found",
        rf"^(?:\w+\.)*(?:FileNotFoundError|OSError|ValueError|RuntimeError): (?:{_NOT_THERE})"
        rf": [\"'](?P<file>{_MODEL_FILE})[\"']",
        ModelNotFound,
        "The model file {file} does not exist.",
        "See engine.parameters for the models that the engine knows, or put the file there.",
        'FileNotFoundError: No such file or directory: "models/loras/gone.safetensors"',
    ),
    exception_rule(
        "model file missing",
        all_of(
            rf"(?P<file>(?:[A-Za-z]:)?[^\s\"'<>:]*{_MODEL_ENDING})\b",
            r"should exist|does(?: not|n't) exist|not (?:be )?found|No such file|is missing"
            r"|can(?:not|'t) find",
            none_of=r"ONNXRuntimeError|urlopen|https?://|Errno|os error (?!2\b)",
            kinds=r"AssertionError|Exception|FileNotFoundError|OSError|ValueError|RuntimeError"
            r"|\w*NotFound\w*",
        ),
        ModelNotFound,
        "The model file {file} does not exist.",
        "Put the file there by hand; Fooocus downloads its own ones when they are first needed.",
        "AssertionError: model_file /opt/Fooocus/checkpoints/inswapper_128.onnx should exist",
    ),
    rule(
        "onnx model not found",
        rf"^(?:\w+\.)*\w+: \[ONNXRuntimeError\] .*?Load model from (?P<file>{_MODEL_FILE})"
        r" failed.*(?:doesn't exist|No such file)",
        ModelNotFound,
        "The model file {file} does not exist.",
        "Fooocus downloads it when it is first needed: see that its folder can be written and the "
        "network works, or put the file there.",
        "onnxruntime.capi.onnxruntime_pybind11_state.NoSuchFile: [ONNXRuntimeError] : 3 : "
        "NO_SUCHFILE : Load model from /home/me/.u2net/u2net.onnx failed. File doesn't exist",
    ),
    rule(
        "model folder incomplete",
        r"^OSError: (?:Can't load .*? (?:for|of) '(?P<file>[^']+)'"
        r"|Error no file named .* found in directory (?P<folder>.+?)\.?$"
        r"|Incorrect path_or_model_id: '(?P<local>[^']+)')"
        r"|^(?:\w+\.)*HFValidationError: .*: '(?P<repo>[^']*[\\/][^']*)'",
        ModelNotFound,
        "A model's folder is not there, or lacks a file: {file}{folder}{local}{repo}",
        "It was mostly not downloaded whole: remove {file}{folder}{local}{repo} and start it "
        "again, or put the missing file there.",
        "OSError: Can't load tokenizer for "
        "'/opt/Fooocus/models/prompt_expansion/fooocus_expansion'",
    ),
    rule(
        "Python is only a link to a store",
        r"^Python was not found; run without arguments",
        WrongInterpreter,
        "The engine's Python is none, only Windows's link to its store.",
        RIGHT_PYTHON,
        "Python was not found; run without arguments to install from the Microsoft Store",
    ),
    rule(
        "checkout of another user",
        r"^(?:fatal: detected dubious ownership|(?:\w+\.)*\w*Error: .*(?:dubious ownership"
        r"|not owned by current user))",
        StartError,
        "Git refuses to work in a checkout that belongs to another user: {what}",
        "Trust it with: git config --global --add safe.directory FOLDER; or make it this user's.",
        "fatal: detected dubious ownership in repository at '/workspace/Fooocus'",
    ),
    rule(
        "launcher gone",
        r"^\S*python\S*: can't open file '?(?P<file>.+?)'?: \[Errno",
        StartError,
        "The engine's Python does not find {file}.",
        "Was the checkout moved or removed? Give its folder with path=.",
        "python: can't open file '/opt/Fooocus/launch.py': [Errno 2] No such file or directory",
    ),
    rule(
        "no certificates, by a path",
        r"^(?:\w+\.)*OSError: Could not find a suitable TLS CA certificate bundle, invalid path: "
        r"(?P<file>.*)",
        StartError,
        "A variable of the environment names a file of certificates that is not there: {file}",
        "Take SSL_CERT_FILE, REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE out of the environment, or name "
        "a "
        "file that is there with env=.",
        "OSError: Could not find a suitable TLS CA certificate bundle, invalid path: /env/gone.pem",
    ),
    rule(
        "file not found",
        rf"^(?:\w+\.)*(?:FileNotFoundError|OSError): (?:{_NOT_THERE}): [\"'](?P<file>[^\"']+)",
        GenerationError,
        "The engine does not find {file}.",
        "Was the file or its folder removed while the engine ran?",
        "FileNotFoundError: [Errno 2] No such file or directory: 'outputs/2026-01-01'",
    ),
    rule(
        "model renamed",
        rf"^File corrupted: (?P<file>.*{_MODEL_ENDING})",
        CorruptedModel,
        "The model file {file} could not be loaded; Fooocus has renamed it to *.corrupted.",
        "Any failed load renames it, also one for want of memory. "
        "fooocus_nb.restore_model({file!r}) looks whether it is whole and takes the name back; "
        "so does: fooocus-nb doctor --restore. If it is not, download it anew.",
        "File corrupted: /opt/Fooocus/models/checkpoints/model.safetensors",
    ),
    exception_rule(
        "shared memory full",
        all_of(
            r"DataLoader worker|/dev/shm|unable to (?:open|mmap|write).{0,40}shm"
            r"|shared memory limit"
        ),
        OutOfMemory,
        "The memory that processes share (/dev/shm) is full: {what}",
        "Enlarge /dev/shm: a container has only 64 MB there by default (docker run --shm-size=2g).",
        "RuntimeError: DataLoader worker (pid 12) is killed by signal: Bus error. It is possible "
        "that dataloader's workers are out of shared memory.",
    ),
    exception_rule(
        "PyTorch too new to load it",
        all_of("weights[ _]only", none_of=_NO_PICKLE),
        WrongInterpreter,
        "This PyTorch no longer loads a model file of this kind unless told to; the file is whole.",
        "Install the PyTorch that Fooocus was made for (2.1), or use the model as a .safetensors "
        "file.",
        "_pickle.UnpicklingError: Weights only load failed. This file can still be loaded",
    ),
    exception_rule(
        "model unreadable",
        all_of(
            r"deserializing header|Header(?:TooLarge|TooSmall)|InvalidHeader|IncompleteBuffer"
            r"|incomplete metadata|PytorchStreamReader|invalid load key|UnpicklingError"
            r"|Ran out of input|unexpected EOF|not a zip ?file|BadZipFile|\bcorrupt|invalid magic"
            r"|central directory|archive is not in|inline_container|Unable to load weights from"
            r"|Protobuf parsing failed|INVALID_PROTOBUF|InvalidProtobuf"
            r"|ONNXRuntimeError\].*Load model from .* failed"
            r"|SafetensorError: (?!.*(?:os error|IoError|No such))"
        ),
        CorruptedModel,
        "A model file could not be read: it is cut short or no model at all.",
        "Download the file anew. Fooocus may have renamed it to *.corrupted: fooocus-nb doctor "
        "lists such files, and says which of them are whole.",
        "safetensors_rust.SafetensorError: Error while deserializing header: "
        "MetadataIncompleteBuffer",
    ),
    exception_rule(
        "model of another kind",
        all_of(
            r"loading state_dict|size mismatch for|could not detect model type|other than SDXL"
            r"|unsupported model|not a valid SDXL|shapes cannot be multiplied"
        ),
        GenerationError,
        "A model is of another kind than Fooocus wants there: {what}",
        "Fooocus wants checkpoints and LoRAs for SDXL; choose others in this request.",
        "RuntimeError: Error(s) in loading state_dict for UNetModel: size mismatch for x.weight",
    ),
    PROXY,
    *PACKAGES,
    *NETWORK,
    rule(
        "unknown flag",
        r"^\S+: error: (?P<what>(?:unrecognized arguments|argument |ambiguous option|expected).*)",
        UnknownFlag,
        "This version does not take the given flags: {what}.",
        "Correct args=; the flags of this version are in its readme.md.",
        "launch.py: error: unrecognized arguments: --always-fast",
    ),
    rule(
        "too many threads",
        r"^(?:\w+\.)*\w*Error: .*(?:can't start new thread|Resource temporarily unavailable)"
        r"|^(?:OpenBLAS blas_thread_init|libgomp: Thread creation failed|OMP: Error #34\b)"
        r"|^.{0,60}(?:pthread_create|fork)\b.{0,40}Resource temporarily unavailable",
        EngineError,
        "The system lets this user, or this container, start no more threads: {what}",
        "Raise the limit (ulimit -u; a container's pids limit), end other programs, or have the "
        "engine use fewer: env={{'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1'}}.",
        "RuntimeError: can't start new thread",
        group="crash",
    ),
    rule(
        "too many open files",
        r"^(?:\w+\.)*\w*Error: .*(?:\[Errno 2[34]\]|Too many open files)",
        EngineError,
        "The engine has too many files open for this system's limit.",
        "Raise the limit (ulimit -n) where the kernel is started, and restart the engine.",
        "OSError: [Errno 24] Too many open files: 'outputs/1.png'",
    ),
    rule(
        "OpenMP twice",
        r"^OMP: Error #15\b",
        WrongInterpreter,
        "Two packages of the engine's Python bring OpenMP, each its own.",
        "env={{'KMP_DUPLICATE_LIB_OK': 'TRUE'}} lets them; better install Fooocus's requirements "
        "into "
        "an environment of their own.",
        "OMP: Error #15: Initializing libiomp5md.dll, but found libiomp5md.dll already "
        "initialized.",
        group="crash",
    ),
    rule(
        "Apple's GPU library aborted",
        r"^(?:LLVM ERROR: |(?=.*(?:MPS|mps|Metal|MTL))(?=.*(?:failed assertion|op failed|error: |"
        r"pass manager failed)))",
        EngineDied,
        "Apple's GPU library (MPS) aborted the engine.",
        "This PyTorch does not fit this macOS: install a newer PyTorch, or update macOS; smaller "
        "images help with some of its faults.",
        "/AppleInternal/Library/MPSGraphExecutable.mm:3532: failed assertion `Error: MLIR pass "
        "manager failed'",
        group="crash",
    ),
    rule(
        "AMD's GPU library aborted",
        r"^(?:(?:roc|hip)[bB][lL][aA][sS]\w* error|MIOpen(?:\(HIP\))?: Error|.{0,200}TensileLibrary"
        r"|Memory access fault by GPU|HW Exception by GPU|.{0,200}\bhipErrorNoBinaryForGpu)",
        GPUUnusable,
        "AMD's GPU library failed: {what}",
        "Where it knows no such card, let it pass for one that it knows: "
        "env={{'HSA_OVERRIDE_GFX_VERSION': '10.3.0'}} for RDNA 1 and 2, '11.0.0' for RDNA 3. Else "
        "update the driver and the PyTorch for ROCm.",
        "rocBLAS error: Cannot read TensileLibrary.dat: Illegal seek for GPU arch : gfx1031",
        group="crash",
    ),
    rule(
        "native code out of memory",
        r"^(?:terminate called .*|\s*what\(\):\s*.*|libc\+\+abi: .*)bad_alloc",
        OutOfMemory,
        "The machine ran out of memory (RAM and swap).",
        "End other programs, add swap (Fooocus wants some 8 GB of RAM and as much swap), or use a "
        "smaller model.",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        group="crash",
    ),
    rule(
        "native code aborted",
        r"^(?:\s*what\(\):\s*|libc\+\+abi: terminating.*? exception of type \S+: "
        r"|Intel MKL FATAL ERROR: )(?P<what>.+)",
        EngineDied,
        "Native code of a package aborted: {what}.",
        "Mostly a package does not fit the driver or the others: update the driver, or install "
        "Fooocus's requirements into an environment of their own.",
        "Intel MKL FATAL ERROR: Cannot load libmkl_avx2.so or libmkl_def.so",
        group="crash",
    ),
    rule(
        "ended for want of memory",
        r"^.{0,80}(?:oom[_-]kill|OOM Killed|Memory cgroup out of memory|Out of memory: Kill)",
        OutOfMemory,
        "The system, or the batch system, has ended the engine: its memory was used up.",
        "Raise the memory limit of the job or container, end other programs, or use a smaller "
        "model.",
        "slurmstepd: error: Detected 1 oom_kill event in StepId=123.batch.",
        group="crash",
    ),
    rule(
        "Python crashed",
        r"^Fatal Python error: (?P<what>.+)",
        EngineDied,
        "The engine's Python crashed: {what}.",
        "Mostly a package with native code does not fit the driver or the others.",
        "Fatal Python error: Segmentation fault",
        group="crash",
    ),
    rule(
        "file in use",
        r"^(?:\w+\.)*(?:PermissionError|OSError): \[(?:WinError (?:3[23]|1224)|Errno (?:16|26))\]"
        r"|^(?:\w+\.)*(?:\w*Error): .*\(os error (?:16|26|3[23])\)",
        EngineError,
        "Another program holds a file that the engine needs: {what}",
        "End the program that uses it (a second Fooocus, a virus scanner), and try again.",
        "PermissionError: [WinError 32] The file is being used by another process: 'C:\\x.png'",
    ),
    rule(
        "no permission for temporary files",
        r"^(?:PermissionError|OSError: \[Errno 30\]).*?[\"'](?P<file>"
        rf"(?![^\"']*-packages)[^\"']*(?:[\\/]gradio\b|[\\/][Tt]e?mp[\\/]|{_OWN_TEMP})[^\"']*)",
        EngineError,
        "The engine may not write its temporary files: {file}",
        "It is mostly another user's. temp_dir= names a folder of its own for them; so does TMPDIR "
        "in the environment.",
        "PermissionError: [Errno 13] Permission denied: '/tmp/gradio/f7c4391b'",
    ),
    rule(
        "no permission",
        r"^(?:PermissionError|OSError: \[Errno 30\]).*?[\"'](?P<file>[^\"']+)",
        EngineError,
        "The engine may not read or write {file}.",
        "Give it the permission, or choose another folder with output_dir= or args=.",
        "PermissionError: [Errno 13] Permission denied: '/opt/Fooocus/outputs'",
    ),
    rule(
        "name not allowed",
        r"^(?:\w+\.)*\w*Error: \[(?:WinError (?:123|161|267)|Errno (?:2[012]|40))\].*?: ?[\"']",
        EngineError,
        "The system takes no such file or folder there: {what}",
        "Correct it where it is given: path_outputs and the other folders in config.txt, or args=.",
        "OSError: [WinError 123] The filename, directory name, or volume label syntax is "
        "incorrect: 'D:\\out?puts'",
    ),
    rule(
        "image cannot be written",
        r"^(?:OSError: (?:cannot write mode|encoder \w+ not available)|KeyError: '(?:WEBP|JPEG)'"
        r"|ValueError: unknown file extension)",
        GenerationError,
        "The engine cannot write an image in this format: {what}",
        'Generate it with output_format="png".',
        "OSError: cannot write mode RGBA as JPEG",
    ),
    rule(
        "input image too large",
        r"^(?:\w+\.)*DecompressionBombError: ",
        GenerationError,
        "An input image is too large: {what}",
        "Make it smaller before it is given.",
        "PIL.Image.DecompressionBombError: Image size (289600000 pixels) exceeds limit of "
        "178956970 pixels, could be decompression bomb DOS attack.",
    ),
    rule(
        "input image empty",
        r"^cv2\.error: .*(?:[Aa]ssertion failed\) !?\w*\.empty\(\)|inv_scale_x > 0)",
        GenerationError,
        "The engine was left without an image to compute with: {what}",
        "Give another input image or mask: this one is empty, or far too small or narrow.",
        "cv2.error: OpenCV(4.8.0) resize.cpp:4062: error: (-215:Assertion failed) !ssize.empty() "
        "in function 'resize'",
    ),
    rule(
        "input image unreadable",
        r"^(?:PIL\.)?UnidentifiedImageError: |^SyntaxError: (?:broken PNG|not a \w+ file)"
        r"|^OSError: (?:image file is truncated|.*\bdata stream\b|decoder error|Truncated File "
        r"Read)",
        GenerationError,
        "The engine could not read an input image: {what}",
        "Give the image as PNG, JPEG or WebP, and look whether its file is whole.",
        "PIL.UnidentifiedImageError: cannot identify image file <_io.BytesIO object at 0x7f>",
    ),
    rule(
        "text in another encoding",
        r"^Unicode(?:En|De)codeError: '(?:ascii|charmap|gbk|cp\d+|latin-1)' codec",
        EngineError,
        "The engine's Python takes texts for another encoding than UTF-8: {what}",
        "Start it with env={{'PYTHONUTF8': '1'}}.",
        "UnicodeEncodeError: 'ascii' codec can't encode characters in position 0-3",
    ),
    rule(
        "path too long",
        r"^(?:FileNotFoundError|OSError): \[(?:WinError 206|Errno (?:36|63))\]",
        EngineError,
        "The path of a file is too long for the system: {what}",
        "Move the checkout, or the outputs (path_outputs in config.txt), to a shorter path; on "
        "Windows, allow long paths.",
        "OSError: [Errno 36] File name too long: 'x.png'",
    ),
    exception_rule(
        "model unloaded",
        all_of(r"'NoneType' object has no attribute '_parameters'|meta tensor; no data"),
        OutOfVRAM,
        "A model was unloaded while it was needed, as happens when the GPU's memory is short.",
        "Restart the engine with args=['--always-low-vram'], make smaller images, and end other "
        "programs on the GPU.",
        "AttributeError: 'NoneType' object has no attribute '_parameters'",
    ),
    exception_rule(
        "NaN values",
        all_of(r"all NaNs|NansException|contains? NaN|\bnan\b.{0,40}(?:detected|found|produced)"),
        GenerationError,
        "The model computed nothing but errors (NaN), so there is no image.",
        "Start the engine with args=['--vae-in-fp32'], or with ['--all-in-fp32'] if that does not "
        "help; another VAE may help, too.",
        "RuntimeError: A tensor with all NaNs was produced in the VAE",
    ),
    exception_rule(
        "mixed precisions",
        all_of(
            r"same dtype|expected scalar type|(?:bias|weight) type.*should be the same"
            r"|expected m1 and m2 to have",
            none_of=_ON_TWO_DEVICES,
        ),
        GenerationError,
        "The engine's models compute with numbers of different kinds: {what}",
        "Start it with args=['--all-in-fp32'].",
        "RuntimeError: mat1 and mat2 must have the same dtype",
    ),
    exception_rule(
        "models in two places",
        # Elsewhere than on NVIDIA's and AMD's GPUs models are not split.
        all_of(
            rf"same device|at least two devices|different devices|{_ON_TWO_DEVICES}",
            r"\bcuda",
            none_of=r"privateuseone",
        ),
        GenerationError,
        "The engine's models lie partly on the GPU and partly in the machine's memory: {what}",
        "Start it with args=['--always-normal-vram'], which keeps each model whole; Fooocus splits "
        "models with '--always-low-vram' and '--always-no-vram', and where a GPU has little "
        "memory.",
        "RuntimeError: Expected all tensors to be on the same device, but found at least two "
        "devices, cuda:0 and cpu!",
    ),
    GPU_LIBRARY,
)

#: Rules after which the process can compute no more.
UNRECOVERABLE = tuple(each for each in RULES if each.unrecoverable)

#: What stands for ``{mirror}`` in a remedy: only what comes from Hugging Face has mirrors.
MIRROR = "use a mirror with args=['--hf-mirror', 'URL'], "
MIRRORED = "https://huggingface.co/"
#: What Fooocus says once an image is there: what was raised before has not kept it from that.
SUCCEEDED = re.compile(r"^(?:Generating and saving|Enhancement image) time\b")
#: What pip says once it has got what it wanted, whatever it has warned of before.
INSTALLED = re.compile(r"^(?:Successfully installed|Requirement already satisfied)\b")
#: What `launch.py` says of a file that it is about to get.
DOWNLOADING = re.compile(r'^Downloading: "(?P<url>[^"]+)" to (?P<path>.+)')

#: Told by where they are raised more than by their words; they come before all others.
PLACES = (
    exception_rule(
        "no certificates",
        r"^FileNotFoundError: \[Errno 2\]",
        StartError,
        "A variable of the environment names a file of certificates that is not there.",
        "Take SSL_CERT_FILE and SSL_CERT_DIR out of the environment, or name a file that is there "
        "with env=.",
        "FileNotFoundError: [Errno 2] No such file or directory",
        where=r"load_verify_locations|create_default_context|create_ssl_context|cafile",
    ),
    exception_rule(
        "working folder removed",
        r"^FileNotFoundError: \[Errno 2\]",
        StartError,
        "The folder in which the engine was started is gone.",
        "Was the checkout moved or removed? Give its folder with path=.",
        "FileNotFoundError: [Errno 2] No such file or directory",
        where=r"getcwd\(\)",
    ),
    exception_rule(
        "merge conflict",
        r"^SyntaxError: ",
        StartError,
        "A file of the checkout holds both sides of a conflict that git could not merge.",
        "Resolve it (git status names the files), or get the checkout anew with: git clone "
        "https://github.com/lllyasviel/Fooocus",
        "SyntaxError: invalid syntax",
        where=r"^\s*(?:<{7}|={7}|>{7})(?: |$)",
    ),
    exception_rule(
        "checkpoint not known",
        r"^(?:KeyError|AttributeError|IndexError|TypeError|UnboundLocalError)\b",
        GenerationError,
        "Fooocus does not recognise what is in a model file.",
        "Fooocus wants checkpoints for SDXL: choose another one, or download the file anew if it "
        "is one.",
        "KeyError: 'model.diffusion_model.input_blocks.0.0.weight'",
        where=r"[\\/]model_detection\.py\"",
    ),
)

STOPPED = rule(
    "stopped",
    r"^User stopped\b",
    GenerationStopped,
    "The generation was stopped.",
    "",
    "User stopped",
)
#: Told from our own stop by the job, which knows what it has sent.
STOPPED_ELSEWHERE = replace(
    STOPPED,
    title="stopped by somebody else",
    cause="The generation was stopped by somebody else: another kernel, or the engine's web page.",
    remedy="Generate it again. engine.last_result has the images that were finished.",
)
WORKER = rule(
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
    r"^  File \"(?:[^\"]*[\\/])?modules[\\/](?:config|path)\.py\"",
    BadConfigFile,
    "A setting in config.txt cannot be used: {what}",
    "Correct config.txt in the checkout: fooocus-nb doctor says what is wrong with it. Fooocus "
    "writes a new one where there is none.",
    '  File "/opt/Fooocus/modules/config.py", line 213, in <module>',
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
        "Mostly PyTorch and the driver do not fit each other, so update the driver; on Windows "
        "also "
        "for want of memory while a model is loaded: enlarge the paging file (swap).",
    ),
    "SIGABRT": (
        EngineDied,
        "The engine aborted in native code (SIGABRT).",
        "Its last lines may say why. Mostly a package does not fit the driver or the system: "
        "update "
        "the driver and PyTorch (on a Mac, macOS).",
    ),
    "SIGILL": (
        EngineDied,
        "The engine crashed (illegal instruction): its packages want a newer processor.",
        "Install a PyTorch that was built for this processor.",
    ),
    "SIGFPE": (
        EngineDied,
        "The engine crashed in native code (SIGFPE).",
        "Mostly a package does not fit the driver or the others: install Fooocus's requirements "
        "into an environment of their own.",
    ),
    "SIGBUS": (
        EngineDied,
        "The engine crashed (bus error), as happens when a file shrinks or /dev/shm is full.",
        "Make room on the disk and in /dev/shm; a container has only 64 MB there by default.",
    ),
    "SIGTERM": (
        EngineDied,
        "The engine was ended from outside (SIGTERM).",
        "If nobody did: a container or a batch system does so at the end of its time. "
        "engine.restart() starts it again.",
    ),
    "SIGHUP": (
        EngineDied,
        "The engine was ended with its session (SIGHUP).",
        "engine.restart() starts it again.",
    ),
    "SIGINT": (
        EngineDied,
        "The engine was interrupted (SIGINT).",
        "If nobody did: Colab and Kaggle end a program like this when memory runs out; use a "
        "smaller model, or a machine with more.",
    ),
    "SIGXCPU": (
        EngineDied,
        "The engine has used up the processor time that it may use (SIGXCPU).",
        "Raise the limit: ulimit -t, or that of the job in which the kernel runs.",
    ),
    "STATUS_NO_MEMORY": (
        OutOfMemory,
        "The engine ended because Windows had no memory left.",
        "Enlarge the paging file (swap), end other programs, or use a smaller model.",
    ),
    "STATUS_DLL_NOT_FOUND": (
        MissingDependency,
        "The engine's Python did not start: Windows does not find a library that it needs.",
        "Install Microsoft's Visual C++ Redistributable for x64, or install that Python anew.",
    ),
}
WINDOWS_CODES = {
    0xC0000005: "SIGSEGV",
    0xC0000006: "SIGBUS",
    0xC0000017: "STATUS_NO_MEMORY",
    0xC000001D: "SIGILL",
    0xC000007B: "STATUS_DLL_NOT_FOUND",
    0xC0000094: "SIGFPE",
    0xC0000096: "SIGILL",
    0xC000009A: "STATUS_NO_MEMORY",
    0xC00000FD: "SIGSEGV",
    0xC000012D: "STATUS_NO_MEMORY",
    0xC0000135: "STATUS_DLL_NOT_FOUND",
    0xC0000139: "STATUS_DLL_NOT_FOUND",
    0xC000013A: "SIGINT",
    0xC0000142: "STATUS_DLL_NOT_FOUND",
    0xC0000374: "SIGSEGV",
    0xC0000409: "SIGABRT",
    0xC000041D: "SIGSEGV",
    0xC0000420: "SIGABRT",
    0xC0000602: "SIGABRT",
    0xC06D007E: "STATUS_DLL_NOT_FOUND",
    0xC06D007F: "STATUS_DLL_NOT_FOUND",
    0xE06D7363: "SIGABRT",
}
