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
    NetworkError,
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
from fooocus_nb.fooocus.logs.package_rules import PACKAGES, PIP_OS, WEB_PACKAGES

__all__ = [
    "BAD_CONFIG",
    "DOWNLOADING",
    "MIRROR",
    "MIRRORED",
    "NOTICES",
    "PLACES",
    "RULES",
    "SIGNALS",
    "STOPPED",
    "STOPPED_ELSEWHERE",
    "UNRECOVERABLE",
    "WEB_PACKAGES",
    "WINDOWS_CODES",
    "WORKER",
    "NoticeRule",
    "Rule",
]


_MODEL_ENDING = r"\.(?:safetensors|ckpt|pth?|bin|gguf|onnx|patch)"
_MODEL_FILE = rf"[^\"'\n]*{_MODEL_ENDING}"
#: How a load says that a file is none of PyTorch's: its first byte is text, as of a web page or of
#: Git LFS's pointer. What a pickle may begin with has numbers from 128 up.
_NO_PICKLE = (
    r"Unsupported operand (?:\d{1,2}|1[01]\d|12[0-7])\b|invalid load key|Ran out of input"
    r"|unexpected EOF"
)
#: The temp folder of an engine of ours, and no folder that is called, say, fooocus-nb-main.
_OWN_TEMP = r"[\\/]fooocus-nb-[a-z0-9_]{8}\b(?!-)"

#: What a broken connection is called; the numbers are told before words in any language.
_DISCONNECTED = (
    r"(?s)^(?:\w+\.)*(?:(?:Connection(?:Reset|Aborted|Refused)|BrokenPipe|SSL\w*"
    r"|Protocol)Error\b"
    r"|timeout: |\w*Error: .*(?:Errno|WinError) -?(?:10[0134]|110|111|113|100[56]\d|1100\d)\b)"
)
_HTTP = (
    r"(?is)^(?:[a-z_]\w*\.)*(?:\w*HTTP(?:Status)?Error|ClientResponseError|\w*RepoError"
    r"|(?:Repository|Entry|Revision)NotFoundError): \D*"
)
_MACHINE = r"(?:127\.0\.0\.1|localhost|0\.0\.0\.0|\[?::1\]?)"

#: Most telling first: a failed load is reported as a corrupted file whatever its reason, so the
#: memory comes before the file.
RULES = (
    *MEMORY_AND_GPU,
    rule(
        "port taken",
        r"^OSError: Cannot find empty port in range: ?(?P<port>\S*)"
        r"|^(?:OSError: |ERROR: +)?\[(?:Errno (?:48|98)|WinError 10048|Errno 10048)\]",
        PortTaken,
        "Another program listens on the engine's port.",
        "Start it again: without port= a free one is chosen.",
        "OSError: Cannot find empty port in range: 7865-7865.",
    ),
    rule(
        "disk full",
        r"^(?:\w+\.)*OSError: (?:\[(?:Errno (?:28|122)|WinError (?:39|112))\]"
        r"|.*No space left on device)"
        r"|^(?:\w+\.)*\w*Error: .*(?:No space left|StorageFull|os error (?:28|112)\b"
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
        r"^(?:\w+\.)*OSError: .*(?:\[(?:Errno (?:5|107|112|116|121)|WinError (?:21|53|55|59|64"
        r"|433|483"
        r"|1117|1167))\]|os error (?:5|1117)\b|Input/output error|Stale file handle)",
        EngineError,
        "The system could not read or write a file: {what}",
        "The disk, the network drive or the cloud's volume does not work just now: see whether it "
        "is "
        "still mounted, and try again or choose another disk.",
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
    rule(
        "model not found",
        r"^(?:\w+\.)*(?:FileNotFoundError|OSError|ValueError|RuntimeError): (?:\[Errno 2\] )?"
        rf"No such file or directory: [\"'](?P<file>{_MODEL_FILE})[\"']",
        ModelNotFound,
        "The model file {file} does not exist.",
        "See engine.parameters for the models that the engine knows, or put the file there.",
        'FileNotFoundError: No such file or directory: "models/loras/gone.safetensors"',
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
        r"^OSError: (?:Can't load .*? for '(?P<file>[^']+)'"
        r"|Error no file named .* found in directory "
        r"(?P<folder>.+?)\.?$)",
        ModelNotFound,
        "A model's folder lacks a file: {file}{folder}",
        "It was mostly not downloaded whole: remove that folder and start it again, or put the "
        "missing file there.",
        "OSError: Can't load tokenizer for "
        "'/opt/Fooocus/models/prompt_expansion/fooocus_expansion'",
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
        r"^(?:\w+\.)*(?:FileNotFoundError|OSError): \[Errno 2\] No such file or directory: "
        r"[\"'](?P<file>[^\"']+)",
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
            r"|Ran out of input|unexpected EOF|not a zip ?file|BadZipFile|archive is corrupted"
            r"|central directory|Protobuf parsing failed|INVALID_PROTOBUF|InvalidProtobuf"
            r"|file (?:might be|is) corrupt|ONNXRuntimeError\].*Load model from .* failed"
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
    exception_rule(
        "proxy of an unknown kind",
        all_of(
            r"socks|\bproxy",
            r"unknown scheme|not supported proxy scheme|missing dependencies|not installed"
            r"|invalid proxy"
            r"|unsupported|scheme",
            kinds=r"ValueError|ImportError|InvalidSchema|InvalidProxyURL|ProxySchemeUnknown"
            r"|UnsupportedProtocol|\w*ProxyError",
        ),
        StartError,
        "The environment names a proxy that the engine's packages cannot use: {what}",
        "Take ALL_PROXY and all_proxy out of the environment, or name one that begins with http:// "
        "in env=. For socks5://, the engine's Python needs the packages socksio and PySocks.",
        "ValueError: Unknown scheme for proxy URL URL('socks://127.0.0.1:1080/')",
    ),
    *PACKAGES,
    rule(
        "proxy before its own page",
        r"(?s)^ValueError: When localhost is not accessible, a shareable link must be created"
        r"|^(?:\w+\.)*\w*(?:Error|Timeout|Exception): .*?(?:host=['\"]|//|connect\w* to (?:host )?)"
        rf"{_MACHINE}",
        StartError,
        "The engine cannot reach its own web page, mostly because of a proxy.",
        "Set NO_PROXY=127.0.0.1,localhost in env=, and see that no firewall or VPN bars programs "
        "of "
        "this machine from each other.",
        "ValueError: When localhost is not accessible, a shareable link must be created.",
        raised=True,
        follows=("web",),
    ),
    exception_rule(
        "proxy refuses",
        all_of(
            r"ProxyError|Tunnel connection failed|Proxy Authentication|WRONG_VERSION_NUMBER"
            r"|cannot connect to proxy"
        ),
        NetworkError,
        "The engine could not download something: the proxy does not take the connection.",
        "Correct HTTP_PROXY and HTTPS_PROXY in env=: both mostly begin with http://, and hold user "
        "and password where the proxy wants them.",
        "requests.exceptions.ProxyError: HTTPSConnectionPool(host='huggingface.co', port=443): "
        "Max retries exceeded (Caused by ProxyError('Cannot connect to proxy.'))",
    ),
    exception_rule(
        "certificate refused",
        all_of(
            r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|self[- ]signed|SSLCertVerif"
            r"|local issuer|certificate has expired|hostname mismatch"
        ),
        NetworkError,
        "The engine could not download something: it does not trust the server's certificate.",
        "Set the machine's clock right. Behind a company's proxy, name the file of its certificate "
        "with env={{'SSL_CERT_FILE': 'FILE', 'REQUESTS_CA_BUNDLE': 'FILE'}}.",
        "urllib.error.URLError: <urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify "
        "failed: unable to get local issuer certificate (_ssl.c:1007)>",
    ),
    rule(
        "download wants a login",
        rf"{_HTTP}(?P<status>401|403|451)\b|^(?:\w+\.)*GatedRepoError\b",
        NetworkError,
        "The engine could not download something: the server denies it without a login.",
        "Log in there with a browser (Hugging Face: accept the model's terms; Civitai: its "
        "downloads want a token), download the file, and put it into the models folder by hand.",
        "urllib.error.HTTPError: HTTP Error 401: Unauthorized",
        raised=True,
    ),
    rule(
        "download gone",
        rf"{_HTTP}(?P<status>404|410)\b",
        NetworkError,
        "The engine could not download something: the server has no such file any more.",
        "Correct its address where it is named (a preset, or the downloads in config.txt), or put "
        "the file into the models folder by hand.",
        "requests.exceptions.HTTPError: 404 Client Error: Not Found for url: https://example.org/x",
        raised=True,
    ),
    rule(
        "download server busy",
        rf"{_HTTP}(?P<status>408|429|5\d\d)\b",
        NetworkError,
        "The engine could not download something: the server is overloaded or out of order.",
        "Start it again some minutes later, {mirror}or put the file into the models folder by "
        "hand.",
        "urllib.error.HTTPError: HTTP Error 503: Service Unavailable",
        raised=True,
    ),
    rule(
        "no network",
        r"^(?:\w+\.)*(?:URLError|HTTPError|ConnectionError|ConnectError|Connect(?:ion)?Timeout"
        r"|ReadTimeout"
        r"|ReadError|MaxRetryError|NewConnectionError|NameResolutionError|gaierror"
        r"|LocalEntryNotFoundError|OfflineModeIsEnabled|ChunkedEncodingError|RemoteProtocolError"
        r"|IncompleteRead|RemoteDisconnected|ContentTooShortError)\b"
        r"|^(?:\w+\.)*\w+Error: .*(?:urlopen error|getaddrinfo failed|Name or service not known"
        r"|Temporary failure in name resolution|couldn't connect to|invalid hash value"
        r"|Cannot find the requested files in the (?:disk|local) cache)|^<?urlopen error",
        NetworkError,
        "The engine could not download something.",
        "Check the network or proxy, {mirror}or put the file into the models folder by hand.",
        "urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>",
    ),
    exception_rule(
        "connection broken",
        _DISCONNECTED,
        NetworkError,
        "The engine could not download something: the connection broke.",
        "Start it again: what is whole is kept. If it breaks again, {mirror}or put the file into "
        "the models folder by hand.",
        "ConnectionResetError: [Errno 104] Connection reset by peer",
        own=True,
    ),
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
        r"^(?:rocBLAS error|MIOpen(?:\(HIP\))?: Error|.*TensileLibrary\.dat"
        r"|Memory access fault by GPU"
        r"|\"?hipError\w+)",
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
        r"^(?:terminate called .*|\s*what\(\):\s*.*)bad_alloc",
        OutOfMemory,
        "The machine ran out of memory (RAM and swap).",
        "End other programs, add swap (Fooocus wants some 8 GB of RAM and as much swap), or use a "
        "smaller model.",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        group="crash",
    ),
    rule(
        "native code aborted",
        r"^(?:\s*what\(\):\s*|Intel MKL FATAL ERROR: )(?P<what>.+)",
        EngineDied,
        "Native code of a package aborted: {what}.",
        "Mostly a package does not fit the driver or the others: update the driver, or install "
        "Fooocus's requirements into an environment of their own.",
        "Intel MKL FATAL ERROR: Cannot load libmkl_avx2.so or libmkl_def.so",
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
        r"^PermissionError: \[WinError 32\] .*?[\"'](?P<file>[^\"']+)",
        EngineError,
        "Another program holds {file}.",
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
        "input image unreadable",
        r"^(?:PIL\.)?UnidentifiedImageError: |^OSError: image file is truncated",
        GenerationError,
        "The engine could not read an input image: {what}",
        "Give it as PNG, JPEG or WebP, and look whether its file is whole.",
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
            r"same dtype|expected scalar type|bias type.*should be the same"
            r"|expected m1 and m2 to have"
        ),
        GenerationError,
        "The engine's models compute with numbers of different kinds: {what}",
        "Start it with args=['--all-in-fp32'].",
        "RuntimeError: mat1 and mat2 must have the same dtype",
    ),
    exception_rule(
        "models in two places",
        # Elsewhere than on NVIDIA's and AMD's GPUs models are not split.
        all_of(r"same device|(?:two|different) devices", r"\bcuda", none_of=r"privateuseone"),
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
    re.compile(r"^  File \"(?:[^\"]*[\\/])?modules[\\/](?:config|path)\.py\""),
    BadConfigFile,
    "A setting in config.txt cannot be used: {what}",
    "Correct config.txt in the checkout: fooocus-nb doctor says what is wrong with it. Fooocus "
    "writes a new one where there is none.",
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
        "Correct config.txt: fooocus-nb doctor lists what is wrong with it.",
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
    NoticeRule(
        re.compile(
            r"^Loaded LoRA \[(?P<name>[^\]]+)\].*\bunmatched keys"
            r"|^LoRA \[(?P<other>.+?)\].*(?:mismatch"
            r"|no(?:t| key).{0,20}match)|^lora key not loaded\b|^WARNING SHAPE MISMATCH\b"
        ),
        "A LoRA does not fit the checkpoint, so it has no effect, or only a part of it: "
        "{name}{other}",
        "Take one that was made for SDXL, as the checkpoint is.",
        "Loaded LoRA [x.safetensors] for model [y.safetensors] with unmatched keys ['a', 'b']",
    ),
    NoticeRule(
        re.compile(r"^ERROR (?P<key>\S+\.\S+) .*(?:memory|allocat|error)"),
        "A part of a LoRA or of the model could not be applied: {key}. The images lack it.",
        "Mostly the memory was short: end other programs, or take fewer LoRAs.",
        "ERROR diffusion_model.out.weight MPS backend out of memory (MPS allocated: 8.76 GB)",
    ),
    NoticeRule(
        re.compile(
            r"^(?:Load(?:ing)? preset|Failed to load preset)\W+(?P<name>.+?)\W*(?: (?:failed"
            r"|not found)\b.*)?$"
        ),
        "A preset could not be loaded, so the settings are those without it: {name}",
        "Its file belongs into the checkout's folder presets, under the name that was given, and "
        "has "
        "to be sound JSON.",
        "Load preset [/opt/Fooocus/presets/mine.json] failed",
    ),
    NoticeRule(
        re.compile(
            r"^(?:\[Wildcards\] )?Warning: (?P<name>.+?)(?:\.txt)? (?:is )?(?:missing|not found"
            r"|empty)\b"
        ),
        "The wildcard {name} has no file, so its name stands in the prompt as a word.",
        "Put {name}.txt, with a choice on each line, into the checkout's folder wildcards.",
        '[Wildcards] Warning: seasons.txt missing or empty. Using "seasons" as a normal word.',
    ),
    NoticeRule(
        re.compile(
            r"^.*RuntimeWarning: (?:invalid value|overflow) encountered in|^.*\b(?:all NaNs"
            r"|NaNs? (?:was|were"
            r"|detected|in)\b|NansException)"
        ),
        "Some numbers of an image were none (NaN): it is black, or has black parts.",
        "Start the engine with args=['--vae-in-fp32'], or with ['--all-in-fp32'] if that does not "
        "help; a VAE of another make helps, too.",
        "/opt/Fooocus/modules/core.py:237: RuntimeWarning: invalid value encountered in cast",
    ),
    NoticeRule(
        re.compile(r"^.*(?:kIOGPUCommandBuffer|[Cc]ommand buffer .*(?:error|abort))"),
        "Apple's GPU failed at a part of the work, so an image may be black or wrong.",
        "Make smaller images and end other programs: mostly its memory was short.",
        "Error: command buffer exited with error status. "
        "(kIOGPUCommandBufferCallbackErrorOutOfMemory)",
    ),
    NoticeRule(
        re.compile(
            r"^.*(?:CUDA initialization: |is not compatible with the current PyTorch installation"
            r"|CUDA driver.*(?:too old|version))"
        ),
        "PyTorch cannot use the GPU as it should.",
        "See fooocus-nb doctor: the driver, or this PyTorch, does not fit the GPU.",
        "UserWarning: CUDA initialization: The NVIDIA driver on your system is too old",
    ),
    NoticeRule(
        re.compile(
            r"^.*onnxruntime.*(?:Failed to (?:load|create) .*(?:providers?_cuda"
            r"|CUDAExecutionProvider)"
            r"|not in available provider)"
        ),
        "onnxruntime does without the GPU, so masks and the like take longer.",
        "That does no harm. To use the GPU, install an onnxruntime-gpu that fits the CUDA there.",
        "[E:onnxruntime:Default, provider_bridge_ort.cc:1480] Failed to load library "
        "libonnxruntime_providers_cuda.so",
    ),
    NoticeRule(
        re.compile(r"^CMD Failed (?P<name>[^:]+)"),
        "launch.py could not install {name} into the engine's Python, and went on without it.",
        "pip's words above that line say why; fooocus-nb doctor says what is missing.",
        'CMD Failed requirements: install -r "requirements_versions.txt"',
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
    0xC0000017: "STATUS_NO_MEMORY",
    0xC000001D: "SIGILL",
    0xC000012D: "STATUS_NO_MEMORY",
    0xC0000135: "STATUS_DLL_NOT_FOUND",
    0xC0000139: "STATUS_DLL_NOT_FOUND",
    0xC000013A: "SIGINT",
    0xC0000142: "STATUS_DLL_NOT_FOUND",
    0xC0000374: "SIGSEGV",
    0xC0000409: "SIGABRT",
}
