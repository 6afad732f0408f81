"""Failures are known by what a family of them shares, not by the sentences that the rules quote.

The messages are in the words of many releases, systems and languages. None of them may stand in the
rules: each family is recognised with its own examples left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fooocus_nb import errors
from fooocus_nb.fooocus.logs import rules
from fooocus_nb.fooocus.logs.diagnosis import Diagnosis, diagnose, notices
from fooocus_nb.fooocus.logs.startup import StartupTracker

RECORDED = Path(__file__).resolve().parents[4] / "shared/field/logs.json"

TRACEBACK = "Traceback (most recent call last):"
GENERATION = (
    "[Parameters] Seed = 1",
    TRACEBACK,
    '  File "/opt/Fooocus/modules/async_worker.py", line 1471, in worker',
    "    handler(task)",
    '  File "/opt/venv/lib/python3.10/site-packages/torch/nn/modules/module.py", line 1501, in x',
    "    return forward_call(*args, **kwargs)",
)
START = (
    "Fooocus version: 2.5.5",
    TRACEBACK,
    '  File "/opt/Fooocus/launch.py", line 152, in <module>',
    "    from webui import *",
    '  File "/opt/Fooocus/modules/model_loader.py", line 24, in load_file_from_url',
    "    download_url_to_file(url, cached_file, progress=progress)",
)


@dataclass(frozen=True)
class Family:
    """Messages that tell of one kind of failure.

    Attributes
    ----------
    error : str
        The exceptions that are right, apart by ``|``.
    remedy : tuple of str
        Words of which the remedy has to have all.
    barred : tuple of str
        Words that could not help.
    messages : tuple of str
        What was raised, or printed last.
    start : bool
        Whether they end a start rather than a generation.
    """

    error: str
    remedy: tuple[str, ...]
    barred: tuple[str, ...]
    messages: tuple[str, ...]
    start: bool = False


FAMILIES = {
    "GPU memory": Family(
        "OutOfVRAM",
        ("smaller images",),
        ("restart", "PYTORCH_MPS"),
        (
            "torch.OutOfMemoryError: HIP out of memory. Tried to allocate 20.00 MiB.",
            "torch.OutOfMemoryError: Allocation on device 0 would exceed allowed memory.",
            "torch.cuda.OutOfMemoryError: Allocation on device",
            "torch.AcceleratorError: CUDA error: out of memory",
            "RuntimeError: XPU out of memory. Tried to allocate 64.00 MiB (GPU  Time taken: 3 s)",
            "RuntimeError: CUDA driver error: out of memory",
            "RuntimeError: Native API failed. Native API returns: -5 (PI_ERROR_OUT_OF_RESOURCES)",
            "RuntimeError: UR error: UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY",
            "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(h)`",
            "RuntimeError: HIP error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(h)`",
            "RuntimeError: Not enough memory on the DirectML device for 402653184 bytes",
            "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB",
            "RuntimeError: MUSA out of memory",
            "onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException: [ONNXRuntimeError] : 6 "
            ": "
            "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer",
        ),
    ),
    "Apple's memory": Family(
        "OutOfVRAM",
        ("PYTORCH_MPS_HIGH_WATERMARK_RATIO",),
        ("--always-low-vram", "nvidia"),
        (
            "RuntimeError: MPS backend out of memory (MPS allocated: 17.93 GB, max allowed: 18 GB)",
            "RuntimeError: Invalid buffer size: 14.06 GB on the MPS device",
            "torch.OutOfMemoryError: MPS: failed to allocate private buffer",
        ),
    ),
    "system memory": Family(
        "OutOfMemory",
        ("swap",),
        ("--always-low-vram",),
        (
            "OSError: Die Auslagerungsdatei ist zu klein, um den Vorgang auszuführen. (os error "
            "1455)",
            "OSError: [WinError 1455] Die Auslagerungsdatei ist zu klein. Error loading a DLL",
            "OSError: [WinError 1455] 頁面太小。",
            "ImportError: DLL load failed while importing _imaging: 页面文件太小，无法完成操作。",
            "OSError: [WinError 1455] Le fichier de pagination est insuffisant",
            "safetensors_rust.SafetensorError: Файл подкачки слишком мал (os error 1455)",
            "RuntimeError: bad allocation",
            "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 1.2 GiB for an array "
            "with "
            "shape (4, 4)",
            "MemoryError: Unable to allocate output buffer.",
            "RuntimeError: unable to mmap 6938040682 bytes: Cannot allocate memory (12)",
            "RuntimeError: [enforce fail at C:\\\\cb\\\\alloc_cpu.cpp:114] data. not enough memory",
            "OSError: [Errno 12] Nicht genügend Hauptspeicher verfügbar",
            "OSError: [WinError 8] Für diesen Befehl ist nicht genügend Speicher verfügbar",
        ),
    ),
    "lost GPU": Family(
        "GPUUnusable",
        ("restart",),
        ("--always-cpu", "nvidia-smi"),
        (
            "RuntimeError: CUDA error: device-side assert triggered",
            "torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
            "RuntimeError: HIP error: an illegal memory access was encountered",
            "torch.AcceleratorError: HIP error: unspecified launch failure",
            "RuntimeError: CUDA error: misaligned address",
            "RuntimeError: CUDA error: the launch timed out and was terminated",
            "RuntimeError: CUDA error: an illegal instruction was encountered",
            "RuntimeError: CUDA error: uncorrectable ECC error encountered",
            "RuntimeError: CUDA error: unknown error",
            "RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
            "RuntimeError: CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`",
            "RuntimeError: level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)",
            "RuntimeError: The GPU device instance has been suspended. Use GetDeviceRemovedReason.",
            "RuntimeError: XPU error: device is lost",
            'RuntimeError: The GPU will not respond to more commands',
        ),
    ),
    "GPU unknown to PyTorch": Family(
        "GPUUnusable",
        ("PyTorch",),
        ("restart",),
        (
            "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the "
            "device",
            "RuntimeError: HIP error: no kernel image is available",
            "RuntimeError: CUDA error: device kernel image is invalid",
            "RuntimeError: CUDA error: the provided PTX was compiled with an unsupported "
            "toolchain.",
            "RuntimeError: HIP error: shared object initialization failed",
            "RuntimeError: CUDA error: invalid device function",
            "RuntimeError: HIP error: hipErrorNoBinaryForGpu",
        ),
    ),
    "no GPU": Family(
        "GPUUnusable",
        ("driver",),
        ("mirror",),
        (
            "RuntimeError: No CUDA GPUs are available",
            "RuntimeError: No HIP GPUs are available",
            "RuntimeError: No XPU devices are available.",
            "AssertionError: Torch not compiled with CUDA enabled",
            "RuntimeError: PyTorch was compiled without CUDA: no NVIDIA driver",
            "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).",
            "RuntimeError: CUDA driver initialization failed, you might not have a CUDA gpu.",
            "RuntimeError: NVIDIA driver / library version mismatch",
            "AssertionError: Invalid device id",
            "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda "
            "functions "
            "before calling NumCudaDevices()? Error 804: forward compatibility was attempted",
            "RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable",
            "RuntimeError: CUDA error: invalid device ordinal",
            "torch.AcceleratorError: CUDA error: CUDA-capable device(s) is/are busy or unavailable",
            "RuntimeError: CUDA error: no CUDA-capable device is detected",
            "RuntimeError: CUDA error: initialization error",
            "RuntimeError: HIP error: invalid device ordinal",
            "RuntimeError: Attempting to deserialize object on a CUDA device but "
            "torch.cuda.is_available() is False.",
            'RuntimeError: Cannot find a DirectML adapter: update the driver',
        ),
        start=True,
    ),
    "number formats": Family(
        "GPUUnusable",
        ("fp32",),
        ("nvidia-smi",),
        (
            "RuntimeError: \"addmm_impl_cpu_\" not implemented for 'Half'",
            "RuntimeError: \"slow_conv2d_cpu\" not implemented for 'BFloat16'",
            "TypeError: Trying to convert Float8_e4m3fn to the MPS backend but it does not have "
            "support for that dtype.",
            "TypeError: BFloat16 is not supported on this MPS device",
            "RuntimeError: Required aspect fp64 is not supported on the device",
            "RuntimeError: XPU does not support float64",
            "RuntimeError: linalg.inv: Low precision dtypes not supported. Got Half",
        ),
    ),
    "models in two places": Family(
        "GenerationError",
        ("--always-normal-vram",),
        ("nvidia-smi",),
        (
            "RuntimeError: Expected all tensors to be on the same device, but found at least two "
            "devices, cuda:0 and cpu! (when checking argument for argument index in method x)",
            "RuntimeError: Expected all tensors to be on the same device, but got mat1 is on cpu, "
            "different from other tensors on cuda:0",
        ),
    ),
    "operations": Family(
        "GPUUnusable",
        ("newer",),
        ("nvidia-smi",),
        (
            "NotImplementedError: The operator 'aten::upsample_bicubic2d.out' is not currently "
            "implemented for the MPS device.",
            "RuntimeError: MPS does not support linalg_svd op",
            "NotImplementedError: Could not run 'aten::_upsample' with arguments from the 'XPU' "
            "backend.",
            "RuntimeError: The operator 'aten::pow' is not supported on the DML backend",
            'RuntimeError: Output channels > 65536 not supported at the MPS device.',
            "IndexError: MPS framework doesn't support this index",
        ),
    ),
    "GPU libraries": Family(
        "GPUUnusable|OutOfVRAM",
        ("smaller images",),
        (),
        (
            "RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate`",
            "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you "
            "passed "
            "in a non-contiguous input.",
            "RuntimeError: FIND was unable to find an engine to execute this computation",
            "RuntimeError: miopenStatusUnknownError",
            "RuntimeError: cuFFT error: CUFFT_INTERNAL_ERROR",
            "RuntimeError: rocBLAS error: rocblas_status_internal_error",
            "RuntimeError: CUDA error: invalid configuration argument",
            "RuntimeError: oneDNN error: could not create a primitive",
            'RuntimeError: Native API failed. Native API returns: -997 (a backend error)',
            'RuntimeError: cuDNN version incompatibility: PyTorch was compiled against 8.9',
        ),
    ),
    "connections": Family(
        "NetworkError",
        ("--hf-mirror",),
        ("Log in",),
        (
            "ConnectionResetError: [WinError 10054] Eine vorhandene Verbindung wurde geschlossen",
            "ConnectionAbortedError: [WinError 10053] 您的主机中的软件中止了一个已建立的连接。",
            "ssl.SSLEOFError: EOF occurred in violation of protocol (_ssl.c:1129)",
            "ssl.SSLError: [SSL: UNEXPECTED_MESSAGE] unexpected message (_ssl.c:2580)",
            "urllib.error.URLError: <urlopen error [WinError 10060] 由于连接方没有正确答复>",
            "urllib.error.URLError: <urlopen error [Errno 111] Connection refused>",
            "urllib.error.ContentTooShortError: <urlopen error retrieval incomplete: got only 10>",
            "http.client.IncompleteRead: IncompleteRead(5 bytes read, 10 more expected)",
            "requests.exceptions.ChunkedEncodingError: ('Connection broken', None)",
            "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='huggingface.co', "
            "port=443)",
            "httpx.ConnectTimeout: timed out",
            "httpx.RemoteProtocolError: peer closed connection without sending complete message "
            "body",
            "socket.timeout: The read operation timed out",
            "TimeoutError: [Errno 110] Connection timed out",
            "OSError: [Errno 101] Network is unreachable",
            "OSError: [Errno 60] Operation timed out",  # on a Mac
            "OSError: [Errno 54] Connection reset by peer",
            "OSError: [Errno 65] No route to host",
            "OSError: We couldn't connect to 'https://huggingface.co' to load this file",
        ),
        start=True,
    ),
    "refused downloads": Family(
        "NetworkError",
        ("Log in", "token"),
        ("--hf-mirror", "proxy"),
        (
            "urllib.error.HTTPError: HTTP Error 403: Forbidden",
            "requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://x/y",
            "huggingface_hub.utils._errors.GatedRepoError: 403 Client Error. (Request ID: 1)",
            "huggingface_hub.errors.RepositoryNotFoundError: 401 Client Error.",
            "httpx.HTTPStatusError: Client error '401 Unauthorized' for url 'https://x'",
        ),
        start=True,
    ),
    "missing downloads": Family(
        "NetworkError",
        ("by hand",),
        ("--hf-mirror", "proxy", "Log in"),
        (
            "urllib.error.HTTPError: HTTP Error 404: Not Found",
            "huggingface_hub.utils._errors.EntryNotFoundError: 404 Client Error.",
        ),
        start=True,
    ),
    "certificates": Family(
        "NetworkError",
        ("SSL_CERT_FILE",),
        ("--hf-mirror",),
        (
            "urllib.error.URLError: <urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate "
            "verify "
            "failed: certificate has expired (_ssl.c:997)>",
            "requests.exceptions.SSLError: HTTPSConnectionPool(host='huggingface.co', port=443): "
            "(Caused "
            "by SSLError(SSLCertVerificationError(1, 'self-signed certificate in chain')))",
        ),
        start=True,
    ),
    "environment variables": Family(
        "StartError",
        ("environment",),
        ("--hf-mirror", "NO_PROXY"),
        (
            "ValueError: Unknown scheme for proxy URL URL('socks://10.0.0.1:7891/')",
            "requests.exceptions.InvalidSchema: Missing dependencies for SOCKS support.",
            "ImportError: Using SOCKS proxy, but the 'socksio' package is not installed.",
            "OSError: Could not find a suitable TLS CA certificate bundle, invalid path: "
            "/c/cacert.pem",
        ),
        start=True,
    ),
    "own page": Family(
        "StartError",
        ("NO_PROXY",),
        ("--hf-mirror",),
        (
            "requests.exceptions.ConnectionError: HTTPConnectionPool(host='127.0.0.1', "
            "port=7870): Max "
            "retries exceeded with url: /startup-events",
            "httpx.ConnectError: All connection attempts to http://localhost:7865 failed",
        ),
        start=True,
    ),
    "numpy": Family(
        "WrongInterpreter",
        ("numpy",),
        ("mirror",),
        (
            "AttributeError: _ARRAY_API not found in numpy",
            "ImportError: numpy.core.umath failed to import",
            "RuntimeError: Numpy is not available",
            "ValueError: numpy.dtype size changed, may indicate binary incompatibility.",
            "AttributeError: module 'numpy' has no attribute 'float'.",
            "AttributeError: `np.float_` was removed in the NumPy 2.0 release. Use np.float64 "
            "instead.",
            "ModuleNotFoundError: No module named 'numpy._core'",
            'ValueError: All ufuncs must have type `numpy.ufunc`.',
            'RuntimeError: module compiled against ABI version 0x9 but numpy is 0x2000000',
        ),
        start=True,
    ),
    "Python too old": Family(
        "WrongInterpreter",
        ("3.10",),
        ("restart",),
        (
            "TypeError: unsupported operand type(s) for |: 'type' and 'NoneType'",
            "TypeError: 'type' object is not subscriptable",
            "AttributeError: 'str' object has no attribute 'removeprefix'",
            "TypeError: dataclass() got an unexpected keyword argument 'slots'",
            "SyntaxError: invalid syntax",
        ),
        start=True,
    ),
    "Python too new": Family(
        "WrongInterpreter",
        ("3.10",),
        ("restart",),
        (
            "ModuleNotFoundError: No module named 'distutils'",
            "ModuleNotFoundError: No module named 'lib2to3'",
            "TypeError: ForwardRef._evaluate() missing 1 required keyword-only argument: 'x'",
            "AttributeError: module 'collections' has no attribute 'Mapping'",
            "ImportError: cannot import name 'formatargspec' from 'inspect'",
            "AttributeError: module 'asyncio' has no attribute 'coroutine'",
        ),
        start=True,
    ),
    "packages": Family(
        "WrongInterpreter",
        ("requirements_versions.txt",),
        ("restart", "mirror"),
        (
            "ImportError: cannot import name 'HfFolder' from 'huggingface_hub' "
            "(/env/h/__init__.py)",
            "ModuleNotFoundError: No module named 'transformers.models.x'",
            "AttributeError: module 'gradio' has no attribute 'mix'",
            "ImportError: cannot import name 'Doc' from 'typing_extensions'",
            "RuntimeError: Failed to import transformers.modeling_utils because of the following "
            "error",
            "ImportError: libtorch_cuda.so: undefined symbol: ncclCommRegister",
            "ImportError: /lib/libgomp.so.1: cannot allocate memory in static TLS block",
        ),
        start=True,
    ),
    "packages for another Python": Family(
        "WrongInterpreter",
        ("3.10",),
        ("restart",),
        (
            "TypeError: Client.__init__() got an unexpected keyword argument 'proxies'",
            "ImportError: tokenizers>=0.11.1 is required, but found tokenizers==0.15.0.",
            "ImportError: /e/state.so: cannot enable executable stack",
            "ValueError: This ORT build has ['CPUExecutionProvider'] enabled. Since ORT 1.9, set "
            "it",
            "NotImplementedError: Could not run 'torchvision::nms' with arguments from the 'CUDA'",
        ),
        start=True,
    ),
    "missing modules": Family(
        "MissingDependency",
        ("install",),
        ("restart",),
        (
            "ModuleNotFoundError: No module named 'rembg'",
            "ModuleNotFoundError: import of groundingdino halted; None in sys.modules",
            "ImportError: libgthread-2.0.so.0: cannot open shared object file: No such file",
            'OSError: [WinError 127] 找不到指定的程序。 Error loading "torch_python.dll"',
            "ImportError: DLL load failed while importing onnxruntime_pybind11_state: Eine DLL-"
            "Initialisierungsroutine ist fehlgeschlagen.",
        ),
        start=True,
    ),
    "broken models": Family(
        "CorruptedModel",
        ("anew",),
        ("restart",),
        (
            "RuntimeError: PytorchStreamReader failed reading zip archive: invalid header or "
            "archive is "
            "corrupted",
            "EOFError: Ran out of input",
            "_pickle.UnpicklingError: invalid load key, '<'.",
            "RuntimeError: unexpected EOF, expected 4096 more bytes. The file might be corrupted.",
            "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooSmall",
            "safetensors_rust.SafetensorError: incomplete metadata, file not fully covered",
            "zipfile.BadZipFile: File is not a zip file",
            "onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf: [ONNXRuntimeError] : 7 : "
            "INVALID_PROTOBUF : Load model from /m/u2net.onnx failed:Protobuf parsing failed.",
        ),
    ),
    "storage": Family(
        "EngineError",
        ("disk",),
        ("permission",),
        (
            "OSError: [Errno 116] Stale file handle: '/mnt/nfs/outputs/1.png'",
            "OSError: [WinError 1117] Die Anforderung konnte wegen eines E/A-Gerätefehlers nicht "
            "ausgeführt werden",
            "OSError: [Errno 107] Transport endpoint is not connected: '/content/drive'",
            "OSError: [WinError 64] Der angegebene Netzwerkname ist nicht mehr verfügbar",
        ),
    ),
    "full disks": Family(
        "DiskFull",
        ("room",),
        (),
        (
            "OSError: [Errno 28] Auf dem Gerät ist kein Speicherplatz mehr verfügbar",
            "OSError: [Errno 122] Disk quota exceeded: 'outputs/1.png'",
            "OSError: [WinError 112] 磁盘空间不足。",
            'safetensors_rust.SafetensorError: IoError(Os { code: 28, kind: StorageFull })',
        ),
    ),
    "temporary files": Family(
        "EngineError",
        ("temp_dir=",),
        (),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: "
            "'/tmp/fooocus-nb-je2to0_r/x.png'",
            "FileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp']",
            "PermissionError: [Errno 13] Permission denied: '/tmp/gradio/0c/image.png'",
            "PermissionError: [Errno 13] Keine Berechtigung: '/tmp/xyz/a.png'",
            "FileNotFoundError: [Errno 2] No such file or directory: "
            "'C:\\\\\\\\Temp\\\\\\\\fooocus\\\\\\\\a.png'",
        ),
    ),
    "limits": Family(
        "EngineError",
        ("ulimit",),
        (),
        (
            "RuntimeError: can't start new thread at interpreter shutdown",
            "BlockingIOError: [Errno 11] Resource temporarily unavailable",
            "OSError: [Errno 24] Zu viele offene Dateien: 'x'",
        ),
    ),
    "fast attention": Family(
        "GPUUnusable",
        ("--attention-split",),
        ("nvidia-smi",),
        (
            "RuntimeError: FlashAttention only supports Ampere GPUs or newer.",
            "RuntimeError: cutlassF: no kernel found to launch!",
            "RuntimeError: No available kernel. Aborting execution.",
        ),
    ),
    "paging files without a number": Family(
        "OutOfMemory",
        ("paging file",),
        ("Visual C++",),
        (
            "ImportError: DLL load failed while importing cv2: Växlingsfilen är för liten.",
            "ImportError: DLL load failed while importing x: Bu işlem için disk belleği dosyası "
            "küçük.",
            "ImportError: DLL load failed while importing x: Stránkovací soubor je příliš malý.",
            "ImportError: DLL load failed while importing x: A lapozófájl túl kicsi.",
        ),
        start=True,
    ),
    "memory of native libraries": Family(
        "OutOfMemory",
        ("swap",),
        ("--always-low-vram",),
        (
            "cv2.error: OpenCV(4.8.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to "
            "allocate 50331648 bytes in function 'cv::OutOfMemoryError'",
            "OSError: [WinError 1453] Insufficient quota to complete the requested service",
        ),
    ),
    "shared memory": Family(
        "OutOfMemory",
        ("/dev/shm", "--shm-size"),
        ("--always-low-vram",),
        ("RuntimeError: unable to open shared memory object </torch_1_2> in /dev/shm",),
    ),
    "failed downloads": Family(
        "NetworkError",
        ("by hand",),
        ("Log in",),
        (
            "RuntimeError: Could not download the model x from any of its mirrors",
            "Exception: Download of inswapper_128.onnx failed",
            "http.client.BadStatusLine: <html>",
            "_pygit2.GitError: failed to connect to github.com: Operation timed out",
        ),
        start=True,
    ),
    "altered downloads": Family(
        "NetworkError",
        ("Remove the file", "by hand"),
        ("Log in",),
        (
            "ValueError: SHA256 hash of downloaded file (u2net.onnx) does not match the known one",
            "OSError: Consistency check failed: file should be of size 69 but has size 12 (x).",
        ),
        start=True,
    ),
    "addresses of downloads": Family(
        "BadConfigFile",
        ("preset", "config.txt"),
        ("--hf-mirror",),
        (
            "ValueError: unknown url type: 'D:/models/a.safetensors'",
            "requests.exceptions.MissingSchema: Invalid URL 'x': No scheme supplied.",
        ),
        start=True,
    ),
    "local model folders": Family(
        "ModelNotFound",
        ("fooocus_expansion",),
        ("--hf-mirror",),
        (
            "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or "
            "'namespace/repo_name': '/F/models/fooocus_expansion'.",
            "OSError: Incorrect path_or_model_id: '../models/fooocus_expansion'.",
            "OSError: Can't load the configuration of '../models/fooocus_expansion'.",
        ),
        start=True,
    ),
    "files of models that are gone": Family(
        "ModelNotFound",
        ("the file there",),
        ("anew",),
        (
            "RuntimeError: unable to open file </m/up.bin> in read-only mode: No such file or "
            "directory (2)",
            "FileNotFoundError: [WinError 2] Das System kann die angegebene Datei nicht finden: "
            "'C:\\m\\a.pth'",
            "Exception: /m/face/det_10g.onnx was not found",
        ),
    ),
    "models that are none": Family(
        "CorruptedModel",
        ("anew",),
        ("restart",),
        (
            "RuntimeError: [enforce fail at inline_container.cc:257] . file in archive is not in a "
            "subdirectory: data.pkl",
            "OSError: Unable to load weights from pytorch checkpoint file for '/m/x.bin'",
            "safetensors_rust.SafetensorError: invalid UTF-8 in header",
            "RuntimeError: Invalid magic number; corrupt file?",
            "ValueError: not a gguf - invalid magic",
        ),
    ),
    "virus scanners": Family(
        "EngineError",
        ("virus scanner",),
        ("Visual C++", "room"),
        (
            "OSError: [WinError 225] Der Vorgang wurde nicht erfolgreich abgeschlossen: 'x.pth'",
            "PermissionError: [WinError 226] x: 'x.pth'",
            "ImportError: DLL load failed while importing x: the file contains a virus.",
        ),
    ),
    "files that others hold": Family(
        "EngineError",
        ("End the program",),
        ("permission",),
        (
            "safetensors_rust.SafetensorError: device or resource busy (os error 16)",
            "PermissionError: [WinError 33] Der Prozess kann nicht auf die Datei zugreifen: 'x'",
            "OSError: [WinError 1224] x: 'x.safetensors'",
        ),
    ),
    "names and paths": Family(
        "EngineError",
        ("path_outputs",),
        ("permission",),
        (
            "OSError: [WinError 123] Die Syntax ist falsch: 'D:\\\\out?puts'",
            "OSError: [Errno 22] Invalid argument: 'D:\\\\F\\\\a:b.png'",
            "NotADirectoryError: [Errno 20] Not a directory: '/F/outputs/2024'",
        ),
    ),
    "disks that cannot": Family(
        "EngineError",
        ("disk",),
        ("permission",),
        (
            "OSError: [WinError 1392] Die Datei ist beschädigt und nicht lesbar: 'E:\\\\F'",
            "OSError: [Errno 95] Operation not supported: '/content/drive/x.png'",
        ),
    ),
    "input images": Family(
        "GenerationError",
        ("image",),
        ("restart",),
        (
            "OSError: broken data stream when reading image file",
            "SyntaxError: broken PNG file (chunk b'x')",
            "cv2.error: OpenCV(4.9.0) color.cpp:182: error: (-215:Assertion failed) !_src.empty() "
            "in function 'cvtColor'",
        ),
    ),
    "formats of images": Family(
        "GenerationError",
        ('output_format="png"',),
        (),
        ("OSError: encoder webp not available", "OSError: cannot write mode P as JPEG"),
    ),
    "ports that are kept": Family(
        "PortTaken",
        ("port=",),
        ("permission",),
        (
            "PermissionError: [WinError 10013] Der Zugriff auf einen Socket war unzulässig",
            "PermissionError: [Errno 13] error while attempting to bind on address ('::', 80)",
        ),
        start=True,
    ),
    "addresses of other machines": Family(
        "StartError",
        ("--listen",),
        ("--hf-mirror",),
        ("OSError: [WinError 10049] Die angeforderte Adresse ist ungültig",),
        start=True,
    ),
    "Python's own parts": Family(
        "WrongInterpreter",
        ("3.10",),
        ("install what it lacks",),
        (
            "ModuleNotFoundError: No module named '_lzma'",
            "urllib.error.URLError: <urlopen error unknown url type: https>",
            "zipimport.ZipImportError: can't decompress data; zlib not available",
        ),
        start=True,
    ),
    "Python's own library": Family(
        "WrongInterpreter",
        ("PYTHONHOME",),
        ("install what it lacks",),
        ("ModuleNotFoundError: No module named 'codecs'",),
        start=True,
    ),
    "another Python's library": Family(
        "WrongInterpreter",
        ("3.10",),
        ("requirements_versions.txt names",),
        (
            "ImportError: cannot import name 'cached_property' from 'functools' (/p/functools.py)",
            "ImportError: cannot import name 'StrEnum' from 'enum' (/p/enum.py)",
            "ModuleNotFoundError: No module named 'tomllib'",
        ),
        start=True,
    ),
    "numpy, said by others": Family(
        "WrongInterpreter",
        ("numpy<2",),
        ("restart",),
        (
            "RuntimeError: Could not infer dtype of numpy.float32",
            "TypeError: expected np.ndarray (got numpy.ndarray)",
            "ImportError: Importing the numpy C-extensions failed.",
        ),
    ),
    "pydantic": Family(
        "WrongInterpreter",
        ("pydantic<",),
        ("restart",),
        ("pydantic.errors.PydanticUserError: A non-annotated attribute was detected",),
        start=True,
    ),
    "gradio": Family(
        "WrongInterpreter",
        ("gradio",),
        ("restart",),
        (
            "AttributeError: type object 'Image' has no attribute 'update'",
            "AttributeError: 'Gallery' object has no attribute 'style'",
        ),
        start=True,
    ),
    "packages that ask for others": Family(
        "MissingDependency",
        ("python -m pip install",),
        ("restart",),
        (
            'RuntimeError: Form data requires "python-multipart" to be installed. You can install '
            'it with: pip install python-multipart',
            "ImportError: einops is not installed. Please run `pip install einops`",
        ),
        start=True,
    ),
    "packages without their metadata": Family(
        "MissingDependency",
        ("bitsandbytes",),
        ("restart",),
        (
            "importlib.metadata.PackageNotFoundError: No package metadata was found for "
            "bitsandbytes",
            "pkg_resources.DistributionNotFound: The 'bitsandbytes==1' distribution was not found",
        ),
        start=True,
    ),
    "libraries of the system": Family(
        "MissingDependency",
        ("system",),
        ("libgl1",),
        (
            "ImportError: /lib/libc.so.6: version `GLIBC_2.32' not found (required by /e/x.so)",
            "OSError: /lib/libstdc++.so.6: version `GLIBCXX_3.4.29' not found (required by x.so)",
        ),
        start=True,
    ),
    "libraries for the GPU": Family(
        "MissingDependency|WrongInterpreter",
        ("PyTorch anew",),
        ("libgl1",),
        (
            "ImportError: libcudnn_ops.so.9: cannot open shared object file: No such file",
            "OSError: libamdhip64.so.6: cannot open shared object file: No such file or directory",
            "ImportError: libsycl.so.8: cannot open shared object file: No such file",
            "OSError: /e/nvidia/cublas/lib/libcublas.so.11: undefined symbol: cublasLtGetVersion",
        ),
        start=True,
    ),
    "a driver's libraries": Family(
        "MissingDependency",
        ("driver",),
        ("PyTorch anew",),
        ("ImportError: libnvidia-ml.so.1: cannot open shared object file: No such file",),
        start=True,
    ),
    "damaged checkouts": Family(
        "StartError",
        ("git status",),
        ("3.10",),
        ("TabError: inconsistent use of tabs and spaces in indentation",),
        start=True,
    ),
    "checkouts of others": Family(
        "StartError",
        ("safe.directory",),
        (),
        ("_pygit2.GitError: repository path '/w/Fooocus/' is not owned by current user",),
        start=True,
    ),
    "models of another kind": Family(
        "GenerationError",
        ("SDXL",),
        ("anew",),
        (
            "RuntimeError: Error(s) in loading state_dict for CLIPTextModel",
            "NotImplementedError: You have selected base model other than SDXL. This is not "
            "supported.",
            "RuntimeError: ERROR: Could not detect model type of: /m/x.safetensors",
        ),
    ),
}  # fmt: skip

CASES = [(name, message) for name, family in FAMILIES.items() for message in family.messages]


def lines_of(family: Family, message: str) -> list[str]:
    """Return the end of a log in which a message was raised."""
    return [*(START if family.start else GENERATION), message]


def assert_explained(found: Diagnosis | None, family: Family) -> None:
    """Assert that a diagnosis is right, and advises what helps and nothing that cannot."""
    assert found is not None
    assert found.error.__name__ in family.error.split("|")
    assert all(word in found.remedy for word in family.remedy), found.remedy
    assert not [word for word in family.barred if word in found.remedy], found.remedy
    assert "not told" not in found.cause + found.remedy


@pytest.mark.parametrize(("name", "message"), CASES)
def test_a_family_is_known_by_what_it_shares(name: str, message: str) -> None:
    family = FAMILIES[name]
    for text in (message, f"{message}\nand more that is said on a line of its own"):
        lines = lines_of(family, text)
        found = diagnose([line for each in lines for line in each.split("\n")])
        assert_explained(found, family)
        assert message in found.lines
        if family.start:
            found = diagnose(lines, returncode=1)
            assert_explained(found, family)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_known_with_its_examples_left_out(name: str) -> None:
    """No message here is a rule's example: it is by what they share that they are known."""
    quoted = {rule.example for rule in rules.RULES}
    assert not quoted & set(FAMILIES[name].messages)


@pytest.mark.parametrize("vendor", ["CUDA", "HIP", "XPU", "NPU", "MUSA"])
@pytest.mark.parametrize(
    ("family", "words"),
    [
        ("GPU memory", "{} out of memory. Tried to allocate 7.00 GiB"),
        ("GPU memory", "{} error: failed to allocate 300 MB"),
        ("lost GPU", "{} error: an illegal memory access was encountered"),
        ("lost GPU", "{} error: device-side assert triggered"),
        ("GPU unknown to PyTorch", "{} error: no kernel image is available for the device"),
        ("no GPU", "No {} GPUs are available"),
        ("no GPU", "Torch not compiled with {} enabled"),
    ],
)
@pytest.mark.parametrize("kind", ["RuntimeError", "torch.AcceleratorError", "torch.FutureError"])
def test_a_family_is_known_whoever_made_the_gpu_and_however_it_is_called(
    vendor: str, family: str, words: str, kind: str
) -> None:
    found = diagnose([*GENERATION, f"{kind}: {words.format(vendor)}"])
    assert found is not None
    assert found.error.__name__ == FAMILIES[family].error
    assert found.unrecoverable is (family == "lost GPU")


def test_what_helps_one_vendors_gpu_is_not_advised_for_another() -> None:
    for vendor, own in (("HIP", "rocminfo"), ("XPU", "XPU"), ("CUDA", "nvidia-smi")):
        found = diagnose([*START, f"RuntimeError: No {vendor} GPUs are available"], returncode=1)
        assert found is not None
        assert own in found.remedy
        assert ("nvidia-smi" in found.remedy) is (vendor == "CUDA")


# -- messages of several lines ----------------------------------------------------------------


def test_a_message_of_several_lines_is_read_whole() -> None:
    lines = [
        *START,
        "ImportError: ",
        "=" * 40,
        "Failed to import CuPy.",
        "",
        "Original error:",
        "  ImportError: numpy.core.multiarray failed to import",
        "=" * 40,
    ]
    found = diagnose(lines, returncode=1)
    assert found is not None
    assert found.error is errors.WrongInterpreter
    assert "numpy" in found.remedy
    assert "cupy" in found.remedy
    assert any("multiarray" in line for line in found.lines)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("Unsupported operand 60", errors.CorruptedModel),  # the < of a web page
        ("Unsupported operand 118", errors.CorruptedModel),  # the v of Git LFS's "version"
        ("invalid load key, 'v'.", errors.CorruptedModel),
        ("Unsupported operand 149", errors.WrongInterpreter),
        ("Unsupported global: GLOBAL functools.partial", errors.WrongInterpreter),
    ],
)
def test_a_file_that_is_no_model_is_told_from_one_that_pytorch_refuses(
    said: str, error: type[errors.EngineError]
) -> None:
    """PyTorch 2.6 and later says so after an empty line; read from a real one's log."""
    lines = [
        *GENERATION,
        "_pickle.UnpicklingError: Weights only load failed. In PyTorch 2.6, we changed a default.",
        "Please file an issue with the following: WeightsUnpickler error: ",
        "",
        said,
        "",
        "Check the documentation of torch.load to learn more about types",
    ]
    found = diagnose(lines)
    assert found is not None
    assert found.error is error
    assert said in found.lines


def test_what_is_printed_after_a_message_is_no_part_of_it() -> None:
    lines = [
        *GENERATION,
        "KeyError: 'x'",
        "[Prompt Expansion] an android out of memory",
        "Total time: 3.00 seconds",
    ]
    found = diagnose(lines)
    assert found is not None
    assert found.error is errors.GenerationError
    assert found.lines[-1] == "KeyError: 'x'"


# -- causes before the last traceback -----------------------------------------------------------

OWN_PAGE = (
    *START,
    "ValueError: When localhost is not accessible, a shareable link must be created.",
)


@pytest.mark.parametrize("package", ["gradio", "starlette", "jinja2", "pydantic", "gradio_client"])
@pytest.mark.parametrize("heading", [["ERROR:    Exception in ASGI application"], []])
def test_a_page_that_fails_is_the_cause_where_it_is_not_found(
    package: str, heading: list[str]
) -> None:
    lines = [
        *heading,
        TRACEBACK,
        f'  File "/env/lib/python3.10/site-packages/{package}/utils.py", line 3, in x',
        "    y()",
        "TypeError: something that no table knows",
        "INFO:     127.0.0.1:51000 - GET / HTTP/1.1 500 Internal Server Error",
        *OWN_PAGE,
    ]
    found = diagnose(lines, returncode=1)
    assert found is not None
    assert found.error is errors.StartError
    assert "starlette" in found.remedy
    assert "NO_PROXY" not in found.remedy
    assert "TypeError: something" in found.cause


def test_a_page_that_is_only_not_found_is_the_proxys_fault() -> None:
    found = diagnose(OWN_PAGE, returncode=1)
    assert found is not None
    assert "NO_PROXY" in found.remedy
    assert "starlette" not in found.remedy


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        (["ERROR: No matching distribution found for onnxruntime==1.18.1"], "3.10"),
        (["stderr: error: metadata-generation-failed", "╰─> numpy"], "3.10"),
        (["  ERROR: Failed building wheel for pygit2"], "3.10"),
        (["ERROR: Could not build wheels for x, which is required to install y"], "3.10"),
        (["error: externally-managed-environment"], "python="),
        (
            ["ERROR: Could not install packages due to an OSError: [Errno 28] No space left"],
            "room",
        ),
        (
            [
                "WARNING: Retrying (Retry(total=0)) after connection broken by 'SSLError'",
                "ERROR: Could not find a version that satisfies the requirement x (from versions: "
                "none)",
            ],
            "network",
        ),
    ],
)
def test_what_pip_could_not_install_is_the_cause_of_a_missing_module(
    said: list[str], remedy: str
) -> None:
    lines = [*said, "CMD Failed requirements: install -r x", *START]
    lines.append("ModuleNotFoundError: No module named 'supervision'")
    found = diagnose(lines, returncode=1)
    assert found is not None
    assert found.error is errors.MissingDependency
    assert remedy in found.remedy
    assert "supervision" in found.remedy
    alone = diagnose(said, returncode=1)
    assert alone is not None
    assert remedy in alone.remedy


def test_an_older_failure_is_no_cause_of_what_it_does_not_lead_to() -> None:
    lines = ["ERROR: No matching distribution found for x==1", *GENERATION, "KeyError: 'y'"]
    found = diagnose(lines)
    assert found is not None
    assert found.error is errors.GenerationError


@pytest.mark.parametrize(
    ("host", "has_mirror"), [("huggingface.co/x", True), ("civitai.com/api/download", False)]
)
def test_a_mirror_is_advised_only_where_there_is_one(host: str, has_mirror: bool) -> None:
    download = f'Downloading: "https://{host}/y.safetensors" to /F/models/checkpoints/y'
    error = "urllib.error.URLError: <urlopen error timed out>"
    found = diagnose([download, *START, error], returncode=1)
    assert found is not None
    assert ("--hf-mirror" in found.remedy) is has_mirror
    assert "by hand" in found.remedy


# -- other threads, and requests of browsers ------------------------------------------------------

NAMELESS = (
    "Exception in thread Thread-2:",
    TRACEBACK,
    '  File "/usr/lib/python3.9/threading.py", line 973, in _bootstrap_inner',
    "    self.run()",
)


def test_the_worker_is_known_without_its_name() -> None:
    lines = [*NAMELESS, *GENERATION[2:4], "TypeError: 'type' object is not subscriptable"]
    found = diagnose(lines)
    assert found is not None
    assert found.error is errors.WorkerDead
    assert found.because is not None
    assert "3.10" in found.remedy


def test_a_chain_ends_the_nameless_worker_too() -> None:
    lines = [
        NAMELESS[0],
        TRACEBACK,
        '  File "/opt/Fooocus/modules/patch.py", line 465, in loader',
        "torch.OutOfMemoryError: CUDA out of memory.",
        "",
        "During handling of the above exception, another exception occurred:",
        "",
        *NAMELESS[1:],
        *GENERATION[2:4],
        "ValueError: oh",
    ]
    found = diagnose(lines)
    assert found is not None
    assert found.error is errors.WorkerDead
    assert "GPU" in found.cause


@pytest.mark.parametrize("heading", [NAMELESS[0], "Exception in thread Thread-5 (analytics):"])
def test_other_threads_end_without_harm(heading: str) -> None:
    frame = '  File "/env/lib/python3.9/site-packages/gradio/analytics.py", line 50, in x'
    error = "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='api.gradio.app')"
    assert diagnose([heading, *NAMELESS[1:], frame, "    y()", error]) is None


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        ("asyncio\\events.py", "ConnectionResetError: [WinError 10054] closed"),
        ("/env/lib/python3.10/site-packages/xformers/__init__.py",
         "ModuleNotFoundError: No module named 'triton'"),
        ("/env/lib/python3.10/site-packages/transformers/x.py",
         "ImportError: cannot import name 'a' from 'b'"),
        ("/env/lib/python3.10/site-packages/gradio/x.py",
         "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='api.gradio.app')"),
        ("/env/lib/python3.10/site-packages/h11/x.py", "h11._util.LocalProtocolError: Too little"),
    ],
)  # fmt: skip
def test_what_packages_print_and_go_on_is_no_failure(frame: str, error: str) -> None:
    lines = [TRACEBACK, f'  File "{frame}", line 80, in _run', "    x()", error]
    assert diagnose([*lines, "Total time: 3.00 seconds"]) is None
    found = diagnose([*GENERATION, "torch.OutOfMemoryError: CUDA out of memory.", *lines])
    assert found is not None
    assert found.error is errors.OutOfVRAM


def test_a_lost_gpu_is_told_as_lasting_and_no_other_failure_is() -> None:
    lost = diagnose([*GENERATION, "RuntimeError: CUDA error: device-side assert triggered"])
    assert lost is not None
    assert lost.unrecoverable
    # The hint that follows every error of CUDA speaks of device-side assertions, too.
    hint = "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."
    other = diagnose([*GENERATION, "RuntimeError: CUDA error: out of memory", hint])
    assert other is not None
    assert not other.unrecoverable
    worker = diagnose(["Exception in thread Thread-1 (worker):", *GENERATION[1:], *lost.lines[-1:]])
    assert worker is not None
    assert (worker.error, worker.unrecoverable) == (errors.WorkerDead, True)


@pytest.mark.parametrize(("name", "message"), CASES)
def test_an_engine_is_given_up_for_what_has_lost_its_gpu_and_for_nothing_else(
    name: str, message: str
) -> None:
    tracker = StartupTracker()
    for line in (*GENERATION, *message.split("\n"), "Total time: 1.00 seconds"):
        tracker.feed(line)
    assert tracker.device_lost is (name == "lost GPU")


# -- how a process ends ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "returncode", "error", "remedy"),
    [
        ("/A/MPSGraphExecutable.mm:9: failed assertion `Error: x'", -6, "EngineDied", "macOS"),
        ("LLVM ERROR: Failed to infer result type(s).", 134, "EngineDied", "macOS"),
        ("OpenBLAS blas_thread_init: RLIMIT_NPROC 4096 current", -11, "EngineDied", "ulimit"),
        ("libgomp: Thread creation failed: Resource temporarily unavailable", 1, "EngineError",
         "ulimit"),
        ("rocBLAS error: Could not load TensileLibrary.dat", -6, "EngineDied", "HSA_OVERRIDE"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", -6, "OutOfMemory",
         "swap"),
        ("OMP: Error #15: Initializing libomp.dylib, but found it", -6, "EngineDied", "KMP_DUP"),
        ("Moving model(s) has taken 0.71 seconds^C", 0, "OutOfMemory", "swap"),
        ("Loading", 0xC0000005, "EngineDied", "paging file"),
        ("Loading", 0xC000012D, "OutOfMemory", "paging file"),
        ("Loading", 0xC0000135, "MissingDependency", "Visual C++"),
        ("Loading", 0xC0000409, "EngineDied", "driver"),
        ("Loading", 0xC00000FD, "EngineDied", "driver"),
        ("Loading", 0xC000007B, "MissingDependency", "Visual C++"),
        ("Loading", 0xC06D007E, "MissingDependency", "Visual C++"),
        ("Loading", 133, "EngineDied", ""),
        ("  what():  CUDA error: out of memory", -6, "OutOfVRAM", "smaller images"),
        ("libc++abi: terminating due to uncaught exception of type std::runtime_error: [METAL] "
         "Command buffer execution failed: Insufficient Memory", -6, "OutOfVRAM", "PYTORCH_MPS"),
        ("libc++abi: terminating due to uncaught exception of type std::bad_alloc: std::bad_alloc",
         134, "OutOfMemory", "swap"),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=9.0", 1, "OutOfMemory", "limit"),
        ('rocblaslt error: Could not load "TensileLibrary_lazy_gfx1030.dat"', -6, "EngineDied",
         "HSA_OVERRIDE"),
        ('"hipErrorNoBinaryForGpu: Unable to find code object for all current devices!"', -6,
         "EngineDied", "HSA_OVERRIDE"),
        ("Python was not found; run without arguments to install from", 9009, "WrongInterpreter",
         "python="),
    ],
)  # fmt: skip
def test_the_last_words_of_what_crashed(
    last: str, returncode: int, error: str, remedy: str
) -> None:
    found = diagnose(["Fooocus version: 2.5.5", "Loading", last], returncode=returncode)
    assert found is not None
    assert found.error.__name__ == error
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("line", "error", "said"),
    [
        ("    context.load_verify_locations(cafile=cafile)", "StartError", "SSL_CERT_FILE"),
        ("    here = os.getcwd()", "StartError", "path="),
        ("    x = open(name)", "EngineDied", ""),
    ],
)
def test_a_missing_file_without_a_name_is_told_by_its_place(
    line: str, error: str, said: str
) -> None:
    lines = [*START[:4], line, "FileNotFoundError: [Errno 2] No such file or directory"]
    found = diagnose(lines, returncode=1)
    assert found is not None
    assert found.error.__name__ == error
    assert said in found.remedy


# -- what is worth a notice -----------------------------------------------------------------------

NOTICED = {
    "preset": [
        "Load preset [/opt/Fooocus/presets/fast.json] failed",
        "Failed to load preset mine",
        "Load default preset failed.",
        "Load preset config failed",  # 2.1 at first
        "WARNING: Failed using preset: 'x'",
        "No presets found.",
    ],
    "wildcard": [
        '[Wildcards] Warning: setup.txt missing or empty. Using "setup" as a normal word.',
        "[Wildcards] Warning: colours.txt not found.",
        "Error: could not open wildcard file setup.txt, using as normal word.",  # 2.1 at first
        "Error: Could not find file setup.txt in wildcards or its subdirectories.",
        "[Wildcards] BFS stack overflow. Current text: a __b__",
    ],
    "config.txt": [
        "Load path config failed",  # 2.1 at first
        "Processing deprecated config failed",
        "Could not create temp path /mnt/t. Reason: [Errno 13] Permission denied",
    ],
    "auth.json": ["load_auth_data, e: Expecting value: line 1 column 1 (char 0)"],
    "in its place": ["You do not have [a.safetensors] but you have [b.safetensors]."],
    "only enlarged": [
        "Image is too large. Directly returned the SR image. Usually directly return SR image",
        "[Upscale] Image is too large. Directly returned the SR image.",
    ],
    "enhancement": [
        '[Enhance] No "hand" detected, skipping',
        "[Enhance] No mask found, skipping",
    ],
    "No face": ["No face detected"],
    "refiner": ["Refiner disabled in LCM mode.", "Refiner disabled because both are same."],
    "styles": ["Failed to load style file sdxl_styles_x.json"],
    "fp32": [
        "/F/modules/core.py:310: RuntimeWarning: invalid value encountered in cast",
        "C:\\F\\x.py:3: RuntimeWarning: overflow encountered in cast",
        "Warning: NaNs detected in the image",
    ],
    "LoRA": [
        "Lora file not found: gone.safetensors",
        "WARNING SHAPE MISMATCH diffusion_model.x WEIGHT NOT MERGED [1] != [2]",
        "lora key not loaded lora_unet_x.alpha",
        "Loaded LoRA [a.safetensors] for UNet [b] with unmatched keys ['x']",
        "UNet LoRA key skipped:  lora_unet_x",
        "WARNING:root:lora key not loaded: lora_unet_x.alpha",
        "ERROR:root:ERROR lora diffusion_model.x.weight shape '[1, 2]' is invalid for input of",
        "ERROR diffusion_model.x.weight shape '[640, 2048]' is invalid for input of size 98304",
        "[Warning] Wrong lora model_name input: x, using 'None'",
    ],
    "memory": [
        "ERROR diffusion_model.x.weight CUDA out of memory. Tried to allocate 20.00 MiB",
        "Error: command buffer exited with error status.",
    ],
    "GPU": [
        "/e/torch/cuda/__init__.py:138: UserWarning: CUDA initialization: Unexpected error from",
    ],
}


@pytest.mark.parametrize(("word", "line"), [(w, each) for w in NOTICED for each in NOTICED[w]])
def test_silent_degradations_are_noticed(word: str, line: str) -> None:
    (notice,) = notices([line, "[Prompt Expansion] Load preset [x] failed"])
    assert word in notice.meaning + notice.remedy
    assert "{" not in notice.meaning + notice.remedy
    assert diagnose([line]) is None


@pytest.mark.parametrize(
    "line",
    [
        "Loading preset anime",
        "Loaded preset: /opt/Fooocus/presets/initial.json",
        "[Prompt Expansion] NaNs were detected, command buffer error",
        "Refiner unloaded.",
        "[Enhance] 1 boxes detected",
        "[Enhance] Skipping, preconditions aren't met",
        "[Wildcards] processing: Warning: __x__",
        "Loaded LoRA [/x.safetensors] for UNet [/y] with 788 keys at weight 0.1.",
    ],
)
def test_what_is_as_it_should_be_is_not_noticed(line: str) -> None:
    assert notices([line]) == ()


REQUEST = (
    "Request to load LoRAs [('sdxl.safetensors', 0.1), ('None', 1.0), ('sub/sd15.safetensors', 0.5)"
    "] for model [/m/juggernaut.safetensors]."
)
LOADED = (
    "Loaded LoRA [/m/loras/sdxl.safetensors] for UNet [/m/juggernaut.safetensors] with 788 keys"
)


def test_a_lora_that_fooocus_leaves_out_without_a_word_is_noticed() -> None:
    (notice,) = notices([REQUEST, LOADED, "Requested to load SDXLClipModel"])
    assert "sd15.safetensors" in notice.meaning
    assert "sdxl.safetensors" not in notice.meaning
    windows = REQUEST.replace("sub/", "C:\\\\\\\\loras\\\\\\\\")
    assert len(notices([windows, LOADED, "[Fooocus] Encoding positive #1 ..."])) == 1


@pytest.mark.parametrize(
    "lines",
    [
        [REQUEST, LOADED],  # it may be about to be loaded
        [REQUEST, LOADED, LOADED.replace("sdxl.", "sub\\\\sd15."), "Requested to load SDXL"],
        # It does not fit the refiner, of which nobody expects it.
        [REQUEST, LOADED, LOADED.replace("sdxl.", "sd15."), REQUEST.replace("jugg", "refiner"),
         "Requested to load SDXLClipModel"],
        ["Request to load LoRAs [] for model [/m/x.safetensors].", "Requested to load SDXL"],
    ],
)  # fmt: skip
def test_loras_that_are_loaded_are_not_noticed(lines: list[str]) -> None:
    assert notices(lines) == ()


def test_a_lora_that_was_not_found_is_noticed_once() -> None:
    lines = [REQUEST, "Lora file not found: sub/sd15.safetensors", LOADED, "Requested to load SDXL"]
    assert len(notices(lines)) == 1


def test_a_lora_with_hundreds_of_parts_does_not_drown_other_notices() -> None:
    lines = [f"lora key not loaded: lora_unet_{number}.alpha" for number in range(500)]
    found = notices([*lines, "Load default preset failed."])
    assert len(found) < 30
    assert "preset" in found[-1].meaning


# -- public reports ---------------------------------------------------------------------------


def reports() -> list[dict[str, Any]]:
    """Return the ends of logs from public reports; none where they are not beside the checkout."""
    if not RECORDED.exists():
        return []
    found: list[dict[str, Any]] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return found


def is_right(report: dict[str, Any]) -> bool:
    """Whether a report gets the right error, and a remedy with one of the words that help."""
    lines, (ended, *code) = report["lines"], report["ended"].split()
    found = diagnose(lines, returncode=int(code[0]) if ended == "exit" else None)
    name = found.error.__name__ if found else "None"
    remedy = found.remedy if found else ""
    if report["error"] == ["NOTICE"]:
        name = "NOTICE" if found is None and notices(lines) else name
        remedy = " ".join(notice.remedy for notice in notices(lines))
    words = report["remedy_has_one_of"]
    return name in report["error"] and (not words or any(word in remedy for word in words))


@pytest.mark.recorded
def test_public_reports_are_explained() -> None:
    wrong = [report["id"] for report in reports() if not is_right(report)]
    assert reports()
    assert wrong == []


def test_a_log_full_of_exceptions_is_explained_by_its_end() -> None:
    line = "RuntimeError: " + "no CUDA not supported error: " * 60
    lines = [each for _ in range(300) for each in (*GENERATION, line)]
    found = diagnose([*lines, *GENERATION, "torch.OutOfMemoryError: CUDA out of memory."])
    assert found is not None
    assert found.error is errors.OutOfVRAM
    printed = ["RuntimeError: " + "a. " * 600] * 3000
    found = diagnose([*GENERATION, "torch.OutOfMemoryError: CUDA out of memory.", *printed])
    assert found is not None
    assert found.error is errors.OutOfVRAM


# -- modules by the names of their packages -------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "package"), [("cv2", "opencv-python"), ("PIL", "pillow"), ("yaml", "PyYAML")]
)
def test_a_missing_module_is_told_by_the_name_that_pip_takes(module: str, package: str) -> None:
    found = diagnose([*START, f"ModuleNotFoundError: No module named '{module}'"], returncode=1)
    assert found is not None
    assert module in found.remedy
    assert package in found.remedy


def test_setuptools_is_told_where_its_module_is_gone() -> None:
    found = diagnose([*START, "ModuleNotFoundError: No module named 'pkg_resources'"], returncode=1)
    assert found is not None
    assert "'setuptools<" in found.remedy


# -- told by where it was raised ------------------------------------------------------------------

PACKAGE_FRAME = (
    '  File "/env/lib/python3.10/site-packages/groundingdino/bertwarper.py", line 31, in x'
)


@pytest.mark.parametrize(
    "message",
    [
        "AttributeError: 'BertModel' object has no attribute 'get_other_mask'",
        "AttributeError: type object 'Image' has no attribute 'other'",
        "TypeError: get_mask() got an unexpected keyword argument 'device'",
    ],
)
def test_packages_that_do_not_fit_one_another_are_told_by_where_it_was_raised(message: str) -> None:
    within = diagnose([*GENERATION, PACKAGE_FRAME, "    y()", message])
    assert within is not None
    assert within.error is errors.WrongInterpreter
    assert "requirements_versions.txt" in within.remedy
    own = diagnose([*GENERATION[:4], message])
    assert own is not None
    assert own.error is errors.GenerationError
    assert own.remedy == ""


def test_a_checkpoint_that_fooocus_does_not_recognise_is_told_by_where_it_was_raised() -> None:
    frame = '  File "/opt/Fooocus/ldm_patched/modules/model_detection.py", line 31, in detect'
    found = diagnose([*GENERATION[:4], frame, "    x", "KeyError: 'input_blocks.0.0.weight'"])
    assert found is not None
    assert "SDXL" in found.remedy


def test_a_merge_conflict_in_the_checkout_is_told() -> None:
    lines = [*START[:4], '  File "/opt/Fooocus/webui.py", line 7', "    <<<<<<< HEAD", "    ^^"]
    found = diagnose([*lines, "SyntaxError: invalid syntax"], returncode=1)
    assert found is not None
    assert found.error is errors.StartError
    assert "git status" in found.remedy


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("Input type (torch.cuda.HalfTensor) and weight type (torch.HalfTensor) should be the same",
         "--always-normal-vram"),
        ("Input type (torch.FloatTensor) and weight type (torch.cuda.FloatTensor) should be the "
         "same", "--always-normal-vram"),
        ("Input type (torch.cuda.HalfTensor) and weight type (torch.cuda.FloatTensor) should be "
         "the same", "fp32"),
        ("Input type (MPSHalfType) and weight type (torch.HalfTensor) should be the same", ""),
    ],
)  # fmt: skip
def test_another_device_is_told_from_another_precision(message: str, remedy: str) -> None:
    found = diagnose([*GENERATION, f"RuntimeError: {message}"])
    assert found is not None
    assert remedy in found.remedy
    assert bool(found.remedy) is bool(remedy)


# -- what was printed and gone on from ------------------------------------------------------------


@pytest.mark.parametrize(
    "warned",
    [
        "WARNING: Retrying (Retry(total=4)) after connection broken by 'ReadTimeoutError': /x/",
        "ERROR: Ignored the following versions that require a different python version: 1.6.2",
    ],
)
def test_what_pip_has_overcome_is_no_failure(warned: str) -> None:
    lines = ["Fooocus version: 2.5.5", warned, "Successfully installed x-1", "bye"]
    assert diagnose(lines) is None
    assert diagnose(lines, returncode=1) is None
    failed = [warned, "ERROR: Could not find a version that satisfies the requirement y (from "]
    assert diagnose(failed, returncode=1) is not None


def test_what_an_image_was_finished_after_is_no_failure() -> None:
    printed = [*GENERATION, "KeyError: 'thumbnail'"]
    went_on = [*printed, "Generating and saving time: 8.61 seconds", "Total time: 9.00 seconds"]
    assert diagnose([*printed, "Total time: 9.00 seconds"]) is not None
    assert diagnose(went_on) is None
    after = diagnose([*went_on, *GENERATION, "torch.OutOfMemoryError: CUDA out of memory."])
    assert after is not None
    assert after.error is errors.OutOfVRAM
    # A request of the page fails although the worker has finished the image.
    request = [TRACEBACK, '  File "/opt/Fooocus/webui.py", line 48, in generate_clicked', "    y()"]
    found = diagnose([*request, "KeyError: 'x'", "Generating and saving time: 8.61 seconds"])
    assert found is not None


def test_a_request_that_failed_beside_a_generation_is_not_its_failure() -> None:
    request = [
        TRACEBACK,
        '  File "/env/lib/python3.10/site-packages/gradio/routes.py", line 488, in run_predict',
        "    output = await app.get_blocks().process_api(",
        '  File "/opt/Fooocus/webui.py", line 900, in gallery_clicked',
        "    x()",
        "TypeError: 'NoneType' object is not subscriptable",
    ]
    found = diagnose(request)
    assert found is not None
    assert found.error is errors.GenerationError
    assert diagnose(request, answered=True) is None
    worker = diagnose([*GENERATION, "KeyError: 'x'", *request], answered=True)
    assert worker is not None
    assert "KeyError: 'x'" in worker.cause


HARMLESS = [
    ["A matching Triton is not available, some optimizations will not be enabled.",
     "Error caught was: No module named 'triton'"],
    ["WARNING[XFORMERS]: xFormers can't load C++/CUDA extensions. xFormers was built for:",
     "    PyTorch 2.1.0+cu121 with CUDA 1201 (you have 2.3.0+cpu)"],
    ["E external/local_xla/xla/stream_executor/cuda/cuda_dnn.cc:9261] Unable to register cuDNN "
     "factory: Attempting to register factory for plugin cuDNN"],
    ["Update failed.", "repository path '/w/Fooocus/' is not owned by current user",
     "Update succeeded."],
    ["Update failed.", "Failed to connect to github.com: Operation timed out", "Update succeeded."],
    ["UserWarning: The operator 'aten::std_mean' is not currently supported on the MPS backend "
     "and will fall back to run on the CPU."],
    ["Device mps:0 does not support the torch.fft functions used in the FreeU node, switching to "
     "CPU."],
    ["Could not create share link. Please check your internet connection."],
    ["UserWarning: Failed to load image Python extension: 'image.so: undefined symbol: _ZN5torch'"],
    ["[cleanup] Failed to delete content of temp dir.", "[Cache] Saving failed: x"],
    ["ERROR: ld.so: object '/x/libtcmalloc.so' from LD_PRELOAD cannot be preloaded: ignored."],
    ["ERROR: pip's dependency resolver does not currently take into account all the packages that "
     "are installed.", "torchaudio 2.5.1 requires torch==2.5.1, which is incompatible."],
    ["Error checking version for torchsde: No package metadata was found for torchsde"],
    ["Exception in callback _ProactorBasePipeTransport._call_connection_lost(None)"],
    ["[Prompt Expansion] oom-kill, CUDA out of memory, hipErrorNoBinaryForGpu, a virus"],
]  # fmt: skip


@pytest.mark.parametrize("lines", HARMLESS, ids=lambda lines: lines[0][:30])
def test_what_is_harmless_gets_no_remedy_and_hides_no_failure(lines: list[str]) -> None:
    assert diagnose([*lines, "Total time: 3.00 seconds"]) is None
    assert diagnose([*lines, "bye"], returncode=1) is None
    assert notices(lines) == ()
    for code in (None, 1):
        found = diagnose([*lines, *GENERATION[:4], "KeyError: 'x'"], returncode=code)
        assert found is not None
        assert "KeyError: 'x'" in found.cause
        assert found.remedy == ""
