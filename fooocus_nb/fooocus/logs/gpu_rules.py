"""Rules for failures of memory and GPUs of every vendor: one part of the table in `rules`."""

from __future__ import annotations

from fooocus_nb.errors import GPUUnusable, OutOfMemory, OutOfVRAM
from fooocus_nb.fooocus.logs._rule_builders import (
    DEVICE,
    NO_MEMORY,
    SYSTEM_MEMORY,
    all_of,
    exception_rule,
    rule,
)

__all__ = ["GPU_LIBRARY", "MEMORY_AND_GPU"]

#: How it is said that something is not there for a device.
_UNSUPPORTED = (
    r"not (?:currently |yet |been )?(?:implemented|supported)|(?:does|do)(?: not"
    r"|n't) (?:have )?support"
    r"|unsupported|undefined type|could not run|cannot convert"
)
#: Errors after which a device's context is lost, so that the process can compute no more.
_UNRECOVERABLE = (
    r"illegal (?:memory access|address|instruction)|device-side assert\w* (?:was )?trigger"
    r"|misaligned address|unspecified launch failure|hardware stack error|memory access fault"
    r"|invalid (?:program counter|address space)|launch (?:timed out|timeout)|uncorrectable"
    r"|device (?:is |was )?(?:lost|removed|hung)\b|DEVICE_(?:LOST|REMOVED|HUNG|RESET)|gpu is lost"
    r"|has been (?:suspended|removed)|not respond to more commands|context is destroyed"
    r"|error: (?:an )?unknown error"
    r"|Error(?:Assert|Illegal\w+|Launch(?:Failure|Timeout)|MisalignedAddress)|EXECUTION_FAILED"
    r"|device error \(?:?0x887a000[567]|0x887a000[567]"
)
_NOT_BUILT = (
    r"no kernel image|invalid device function|kernel image is invalid|unsupported toolchain"
    r"|unsupported gpu|for GPU arch|named symbol not found|no binary for gpu|NoBinaryForGpu"
    r"|not compatible with the current pytorch|no longer support|shared object initialization "
    r"failed"
    r"|(?:sm_|gfx)\w+.{0,40}\bnot|\bnot\b.{0,60}(?:sm_|gfx)\d"
)
_NO_DEVICE = (
    r"no (?:[\w-]+ ){0,3}(?:gpus?|devices?|drivers?)\b|(?:not|wasn't|isn't) (?:compiled|built"
    r"|linked)"
    r"|found no \w+ driver|driver.{0,40}(?:too old|insufficient|mismatch|fail|not loaded"
    r"|shutting down)"
    r"|invalid device (?:ordinal|id|index)|device_count\(\) is \d|is supported on macOS|(?:cuda"
    r"|hip|xpu) unknown error|busy or unavailable|initiali[sz]ation"
    r"|not (?:yet )?(?:been )?initiali[sz]ed|forward compatib|count is (?:zero|0)\b"
    r"|not able to use|is_available\(\) is False|none is available"
    r"|DEVICE_NOT_(?:FOUND|AVAILABLE)|NoDevice"
    r"|InsufficientDriver|unexpected error from|not available|unavailable|not found|can(?:no"
    r"|')t find"
)
#: What computes is not to blame for these.
_OF_DEVICE = r"(?!(?:Import|ModuleNotFound|Syntax|FileNotFound)Error\b)[a-z_]\w*"

MEMORY_AND_GPU = (
    exception_rule(
        "no memory",
        all_of(SYSTEM_MEMORY, none_of="static TLS"),
        OutOfMemory,
        "The machine ran out of memory (RAM and swap).",
        "End other programs, add swap (on Windows: enlarge the paging file; Fooocus wants some 8 "
        "GB "
        "of RAM and as much swap), or use a smaller model.",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough "
        "memory: you tried to allocate 26214400 bytes.",
    ),
    rule(
        "no memory, said by a library",
        r"^(?:\[enforce fail.*)?DefaultCPUAllocator: (?:not enough|can't allocate)"
        r"|^\[(?:Errno 12|WinError 1455)\]",
        OutOfMemory,
        "The machine ran out of memory (RAM and swap).",
        "End other programs, add swap (on Windows: enlarge the paging file; Fooocus wants some 8 "
        "GB "
        "of RAM and as much swap), or use a smaller model.",
        "[enforce fail at alloc_cpu.cpp:80] DefaultCPUAllocator: can't allocate memory",
    ),
    exception_rule(
        "no GPU memory",
        all_of(
            rf"OutOfMemoryError|{NO_MEMORY}",
            none_of=r"static TLS|No space left|DataLoader|/dev/shm|shared memory limit",
        ),
        OutOfVRAM,
        "The GPU ran out of memory.",
        "Make smaller images, end other programs on the GPU, or start the engine with "
        "args=['--always-low-vram'] (or '--always-no-vram').",
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        by_vendor={
            "Apple": "Make smaller images and end other programs: a Mac's GPU shares its memory. "
            "env={{'PYTORCH_MPS_HIGH_WATERMARK_RATIO': '0.0'}} takes PyTorch's own limit away; the "
            "Mac may then swap, or end the engine."
        },
    ),
    exception_rule(
        "GPU lost",
        all_of(rf"{DEVICE}|\bdevice", _UNRECOVERABLE, kinds=_OF_DEVICE),
        GPUUnusable,
        "The engine has lost the GPU, and cannot compute any more: {what}",
        "Only a restart of the engine helps: every later generation fails, too. If it comes again, "
        "update the driver, undo overclocking, or start with args=['--attention-split'].",
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        by_vendor={
            "Apple": "Only a restart of the engine helps: every later generation fails, too. If it "
            "comes again, make smaller images, or update macOS and PyTorch.",
            "Intel": "Only a restart of the engine helps: every later generation fails, too. If it "
            "comes again, make smaller images, or update the driver.",
            "DirectML": "Only a restart of the engine helps: every later generation fails, too. If "
            "it comes again, make smaller images, or update the graphics driver.",
        },
        unrecoverable=True,
    ),
    exception_rule(
        "GPU not known to PyTorch",
        all_of(rf"{DEVICE}|\bsm_\d|\bgfx\d", _NOT_BUILT, kinds=_OF_DEVICE),
        GPUUnusable,
        "The engine's PyTorch was not built for this GPU.",
        "Install a PyTorch for it into the engine's environment: a newer one for a new GPU, an "
        "older one for an old GPU.",
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        by_vendor={
            "AMD": "Install a PyTorch for ROCm that knows this card, a newer one for a new card, "
            "or "
            "let it pass for a card that is known: env={{'HSA_OVERRIDE_GFX_VERSION': '10.3.0'}} "
            "for "
            "RDNA 1 and 2, '11.0.0' for RDNA 3."
        },
    ),
    exception_rule(
        "device unknown to PyTorch",
        all_of(
            r"start of device string|'torch' has no attribute '(?:xpu|mps|hip|privateuseone"
            r"|version)'"
            r"|(?:don't|do not|doesn't) know the device|unknown device"
        ),
        GPUUnusable,
        "The engine's PyTorch does not know the kind of device that was chosen.",
        "Install the PyTorch that was made for it (for ROCm, for XPU, torch-directml) into the "
        "engine's environment, or leave out the flag that asks for it.",
        "RuntimeError: Expected one of cpu, cuda, mps device type at start of device string: dml",
    ),
    exception_rule(
        "attention not for this device",
        all_of(
            r"memory_efficient_attention|xformers|(?:flash|sage)[ _-]?att(?:n|ention)|cutlass\w*:"
            r"|no available kernel",
            r"no operator|no kernel found|no available kernel|not supported|requires device|only "
            r"supports|requires .{0,30}\bGPUs?\b",
        ),
        GPUUnusable,
        "The attention of xformers, or another fast one, cannot compute on this GPU.",
        "Start it with args=['--disable-xformers']; if that does not help, with "
        "['--attention-split'].",
        "NotImplementedError: No operator found for `memory_efficient_attention_forward`",
    ),
    exception_rule(
        "number format not for this device",
        all_of(
            rf"{DEVICE}|'(?:Half|BFloat16|Float8\w*)'|\bFloat8_\w+|\b(?:fp|float)(?:8|16|64)"
            rf"|\bon the device"
            r"|\bprecision d?types?\b",
            r"(?:b?float|fp|bf|e[45]m[23])\d\w*|\bdouble\b|\bhalf\b",
            _UNSUPPORTED,
            none_of=r"\bop\b|operator",
            kinds=_OF_DEVICE,
        ),
        GPUUnusable,
        "The device cannot compute with the chosen precision (dtype).",
        "Start it with args=['--all-in-fp32'], and leave out flags that say bf16 or fp8.",
        "RuntimeError: \"LayerNormKernelImpl\" not implemented for 'Half'",
    ),
    exception_rule(
        "operation not for this device",
        all_of(
            rf"{DEVICE}|\bthe device|\bbackend",
            r"operator|aten::|\bop\b|\bapi\b|\bops\b|kernel|backend|operation|\bmode\b|\bMPS|Metal",
            _UNSUPPORTED,
            none_of="torchvision::",
            kinds=_OF_DEVICE,
        ),
        GPUUnusable,
        "The device, or this PyTorch for it, lacks an operation that Fooocus needs: {what}",
        "Install a newer PyTorch for the device; args=['--always-cpu'] runs without a GPU, slowly.",
        "NotImplementedError: Could not run 'aten::_efficient' with arguments from the 'CUDA' "
        "backend.",
        by_vendor={
            "Apple": "env={{'PYTORCH_ENABLE_MPS_FALLBACK': '1'}} lets the processor do what the "
            "GPU "
            "cannot; a newer PyTorch, and macOS, know more.",
            "DirectML": "Start it with args=['--directml'], which has Fooocus do such things on "
            "the "
            "processor; a newer torch-directml knows more.",
        },
    ),
    exception_rule(
        "GPU unusable",
        all_of(
            rf"{DEVICE}|\bdevice id\b",
            _NO_DEVICE,
            none_of=r"_STATUS_|torchvision::|'\w+' object",
            kinds=_OF_DEVICE,
        ),
        GPUUnusable,
        "The engine's PyTorch cannot use the GPU: {what}",
        "Check the driver with nvidia-smi (after an update of it, restart the machine), the gpu= "
        "index, and that PyTorch was installed with CUDA; args=['--always-cpu'] runs without a "
        "GPU, "
        "slowly.",
        "RuntimeError: Found no NVIDIA driver on your system.",
        by_vendor={
            "AMD": "Check the driver with rocminfo, that this user is in the groups render and "
            "video, the gpu= index, and that PyTorch was installed for ROCm; args=['--always-cpu'] "
            "runs without a GPU, slowly.",
            "Intel": "Check the driver of the graphics card, and that PyTorch was installed for "
            "XPU; "
            "args=['--always-cpu'] runs without a GPU, slowly.",
            "Apple": "PyTorch uses the GPU of an Apple processor from macOS 12.3 on, and only in a "
            "Python for arm64; args=['--always-cpu'] runs without it, slowly.",
            "DirectML": "Update the graphics driver, and install torch-directml into the engine's "
            "environment; args=['--always-cpu'] runs without a GPU, slowly.",
        },
    ),
)

#: The least telling of all: it comes after everything else.
GPU_LIBRARY = exception_rule(
    "GPU library failed",
    all_of(
        rf": (?:.*?unable to find an engine|could not create an engine"
        rf"|.*?(?:{DEVICE})\w*.{{0,80}}(?:error|fail|status"
        rf"|incompatib)"
        rf"|.*?(?:error|fail\w*|status).{{0,80}}{DEVICE})",
        none_of="Placeholder storage",
        kinds=_OF_DEVICE,
    ),
    GPUUnusable,
    "A library for the GPU failed: {what}",
    "Usually the GPU's memory was full, or PyTorch and the driver do not fit each other: make "
    "smaller images and end other programs on the GPU; if that does not help, update the driver or "
    "reinstall PyTorch.",
    "RuntimeError: cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
)
