"""Log lines turned into explained, typed errors.

A prompt is echoed into the log too, so every pattern is held to where Python and Fooocus write
their own messages: the start of a line, or the last line of a traceback.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fooocus_nb.errors import (
    CorruptedModel,
    EngineDied,
    EngineError,
    GenerationError,
    GenerationStopped,
    ModelNotFound,
    NetworkError,
    OutOfMemory,
    OutOfVRAM,
    PortTaken,
    StartError,
    WorkerDead,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Diagnosis", "Notice", "diagnose", "notices", "traceback_of"]

#: Longer lines are looked at, and shown, only up to here.
MAX_LINE = 2000
#: How many frames of the engine's own code a shown traceback keeps, the innermost ones.
MAX_FRAMES = 4


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What went wrong, for people and for ``except``.

    Attributes
    ----------
    error : type of EngineError
        The exception to raise.
    cause : str
        What happened.
    remedy : str
        What to do next.
    lines : tuple of str
        The log lines that show it, cut to what matters.
    """

    error: type[EngineError]
    cause: str
    remedy: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """A log line that is no failure but worth knowing.

    Attributes
    ----------
    meaning : str
        What it means.
    remedy : str
        What can be done about it.
    line : str
        The line.
    """

    meaning: str
    remedy: str
    line: str


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    error: type[EngineError]
    cause: str  # may name the pattern's groups
    remedy: str


def _rule(pattern: str, error: type[EngineError], cause: str, remedy: str) -> _Rule:
    return _Rule(re.compile(pattern), error, cause, remedy)


_EXCEPTION = r"^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*: (?:.*\b)?"
_MODEL_FILE = r"[^\"'\n]*\.(?:safetensors|ckpt|pth?|bin|gguf|onnx|patch)"

#: Exceptions and messages, most telling first: a failed load is reported as a corrupted file
#: whatever its reason, so the memory comes before the file.
_RULES = (
    _rule(
        r"^torch\.(?:cuda\.)?OutOfMemoryError\b"
        r"|^(?:RuntimeError|[\w.]*OutOfMemoryError): (?:CUDA|HIP|MPS).*(?:out of memory|alloc)"
        r"|^RuntimeError: .*(?:CUDNN|CUBLAS)_STATUS_ALLOC_FAILED",
        OutOfVRAM,
        "The GPU ran out of memory.",
        "Make smaller images, end other programs on the GPU, or start the engine with "
        "args=['--always-low-vram'] (or '--always-no-vram').",
    ),
    _rule(
        r"^(?:RuntimeError: .*|\[enforce fail.*)?DefaultCPUAllocator: (?:not enough|can't allocate)"
        r"|^(?:\w+\.)*MemoryError\b|^(?:OSError: )?\[(?:Errno 12|WinError 1455)\]"
        r"|^OSError: .*(?:paging file is too small|Cannot allocate memory)",
        OutOfMemory,
        "The machine ran out of memory (RAM and swap).",
        "End other programs, add swap (Fooocus wants some 8 GB of RAM and as much swap), "
        "or use a smaller model.",
    ),
    _rule(
        r"^OSError: Cannot find empty port in range: ?(?P<port>\S*)"
        r"|^(?:OSError: |ERROR: +)?\[(?:Errno (?:48|98)|WinError 10048|Errno 10048)\]",
        PortTaken,
        "Another program listens on the engine's port.",
        "Start it again: without port= a free one is chosen.",
    ),
    _rule(
        r"^(?:\w+\.)*OSError: (?:\[Errno (?:28|122)\]|.*No space left on device)"
        r"|^RuntimeError: .*(?:No space left|unexpected pos)",
        EngineError,
        "The disk is full.",
        "Make room on the disk of the engine's outputs, models and temp folder.",
    ),
    _rule(
        r"^(?:\w+\.)*(?:FileNotFoundError|OSError|ValueError|RuntimeError): (?:\[Errno 2\] )?"
        rf"No such file or directory: [\"'](?P<file>{_MODEL_FILE})[\"']",
        ModelNotFound,
        "The model file {file} does not exist.",
        "See engine.parameters for the models that the engine knows, or put the file there.",
    ),
    _rule(
        r"^(?:\w+\.)*(?:FileNotFoundError|OSError): \[Errno 2\] No such file or directory: "
        r"[\"'](?P<file>[^\"']+)",
        GenerationError,
        "The engine does not find {file}.",
        "Was the file or its folder removed while the engine ran?",
    ),
    _rule(
        rf"^File corrupted: (?P<file>{_MODEL_FILE})",
        CorruptedModel,
        "The model file {file} could not be loaded; Fooocus has renamed it to *.corrupted.",
        "If the file is whole (any failed load renames it, also one for want of memory), "
        "rename it back; else download it anew.",
    ),
    _rule(
        rf"{_EXCEPTION}(?:Error while deserializing header|HeaderTooLarge|HeaderTooSmall"
        r"|InvalidHeader\w*|MetadataIncompleteBuffer|PytorchStreamReader failed|invalid load key)"
        r"|^_pickle\.UnpicklingError\b",
        CorruptedModel,
        "A model file could not be read: it is cut short or no model at all.",
        "Download the file anew. Fooocus may have renamed it to *.corrupted.",
    ),
    _rule(
        r"^(?:\w+\.)*(?:URLError|HTTPError|ConnectionError|ConnectTimeout|MaxRetryError|gaierror)\b"
        r"|^(?:\w+\.)*\w+Error: .*(?:urlopen error|getaddrinfo failed|Name or service not known"
        r"|Temporary failure in name resolution)|^<?urlopen error",
        NetworkError,
        "The engine could not download something.",
        "Check the network or proxy, use a mirror with args=['--hf-mirror', 'URL'], or put the "
        "file into the models folder by hand.",
    ),
    _rule(
        r"^ModuleNotFoundError: No module named '(?P<module>[^']+)'",
        StartError,
        "The engine's Python has no module {module!r}.",
        "Is it the interpreter that Fooocus was installed in? Name the right one with python=, "
        "or install Fooocus's requirements into this one.",
    ),
    _rule(
        r"^(?:AssertionError: Torch not compiled with CUDA|RuntimeError: Found no NVIDIA driver"
        r"|RuntimeError: .*NVIDIA driver on your system is too old"
        r"|RuntimeError: No CUDA GPUs are available"
        r"|RuntimeError: CUDA error: invalid device ordinal)",
        StartError,
        "The engine's PyTorch cannot use the GPU.",
        "Check the driver with nvidia-smi, the gpu= index and that PyTorch was installed with "
        "CUDA; args=['--always-cpu'] runs without a GPU, slowly.",
    ),
    _rule(
        r"^(?:ImportError: .*(?:DLL load failed|cannot open shared object|undefined symbol|"
        r"cannot import name)|AttributeError: module '\w+' has no attribute|SyntaxError:)",
        StartError,
        "A package of the engine's Python does not fit the others or this Python version.",
        "Install Fooocus's pinned requirements into an environment of its own (Python 3.10 or "
        "3.11) and name it with python=.",
    ),
    _rule(
        r"^\S+: error: (?P<what>(?:unrecognized arguments|argument |ambiguous option|expected).*)",
        StartError,
        "This version does not take the given flags: {what}.",
        "Correct args=; the flags of this version are in its readme.md.",
    ),
    _rule(
        r"^Fatal Python error: (?P<what>.+)",
        EngineDied,
        "The engine's Python crashed: {what}.",
        "Mostly a package with native code does not fit the driver or the others.",
    ),
    _rule(
        r"^ValueError: When localhost is not accessible, a shareable link must be created",
        StartError,
        "The engine cannot reach its own web page, mostly because of a proxy.",
        "Set NO_PROXY=127.0.0.1,localhost in env=.",
    ),
    _rule(
        r"^PermissionError: .*?[\"'](?P<file>[^\"']+)",
        EngineError,
        "The engine may not read or write {file}.",
        "Give it the permission, or choose another folder with output_dir= or args=.",
    ),
)

_STOPPED = re.compile(r"^User stopped\b")
_WORKER = re.compile(r"^Exception in thread .*\(worker\)")
_TRACEBACK = "Traceback (most recent call last):"
_CONNECTORS = ("During handling of the above exception", "The above exception was the direct")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_FRAME = re.compile(r'^  File "(?P<file>[^"]*)", line \d+')
_FOREIGN = re.compile(
    r"site-packages|dist-packages|[\\/]lib[\\/]python3|[\\/]Lib[\\/](?!site)|^<frozen"
)
_ERROR_LINE = re.compile(r"^[A-Za-z_][\w.]*(?::|$)")

_NOTICES = (
    (
        re.compile(r"^Failed to load config file"),
        "config.txt does not parse, so it is ignored.",
        "Mend the JSON in the checkout's config.txt; config_modification_tutorial.txt shows how.",
    ),
    (
        re.compile(r"^Version mismatch for (?P<name>[^:]+)"),
        "launch.py is about to install a pinned version of {name} into the engine's Python.",
        "This is normal in Fooocus's own environment.",
    ),
    (
        re.compile(r".*\bmoved?\b.* to .*\.corrupted\b"),
        "Fooocus has renamed a model file that it could not load.",
        "If the file is whole, rename it back.",
    ),
    (
        re.compile(r"^Lora file not found: (?P<name>.+)"),
        "The LoRA {name} was not found and left out.",
        "See engine.parameters for the LoRAs that the engine knows.",
    ),
    (re.compile(r"^User skipped\b"), "An image was skipped.", ""),
)

#: What the operating system's ways to end a process mean.
_SIGNALS: dict[str, tuple[type[EngineError], str, str]] = {
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
    "SIGTERM": (EngineDied, "The engine was ended from outside (SIGTERM).", ""),
    "SIGINT": (EngineDied, "The engine was interrupted (SIGINT).", ""),
}
_WINDOWS_CODES = {0xC0000005: "SIGSEGV", 0xC000013A: "SIGINT"}


def diagnose(lines: Sequence[str], *, returncode: int | None = None) -> Diagnosis | None:
    """Say what the engine's log lines mean.

    Parameters
    ----------
    lines : sequence of str
        The lines of one generation, or the last lines of an engine that died; oldest first.
    returncode : int, optional
        How the process ended: negative for a signal, as `subprocess` has it.

    Returns
    -------
    Diagnosis or None
        What went wrong; None where the lines tell of no failure.
    """
    clean = [_ANSI.sub("", line[:MAX_LINE]).rstrip() for line in lines]
    if returncode is not None:
        return _of_death(clean, returncode)
    found = _of_failure(clean)
    if any(_WORKER.match(line) for line in clean):
        cause, remedy, shown = (found.cause, found.remedy, found.lines) if found else ("", "", ())
        return Diagnosis(
            WorkerDead,
            f"The engine's worker thread has ended. {cause}".rstrip(),
            f"{remedy} engine.restart() starts it again.".lstrip(),
            shown,
        )
    if found is None:
        stopped = next((line for line in reversed(clean) if _STOPPED.match(line)), None)
        return _by_stop(stopped) if stopped else None
    return found


def notices(lines: Sequence[str]) -> tuple[Notice, ...]:
    """Return what is worth knowing in the log although nothing failed.

    Parameters
    ----------
    lines : sequence of str
        Log lines, oldest first.

    Returns
    -------
    tuple of Notice
        In the order of the lines; each line once.
    """
    found: dict[str, Notice] = {}
    for raw in lines:
        line = _ANSI.sub("", raw[:MAX_LINE]).rstrip()
        for pattern, meaning, remedy in _NOTICES:
            if match := pattern.match(line):
                found.setdefault(line, Notice(meaning.format(**match.groupdict()), remedy, line))
                break
    return tuple(found.values())


def traceback_of(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the last Python traceback, cut to what matters.

    Frames of installed packages and of the standard library are left out, but for the innermost
    one; of an exception that was raised while another was handled, the last one is shown.

    Parameters
    ----------
    lines : sequence of str
        Log lines, oldest first.

    Returns
    -------
    tuple of str
        The heading, the frames and the exception; empty where there is no whole traceback.
    """
    for start in range(len(lines) - 1, -1, -1):
        if lines[start].rstrip().endswith(_TRACEBACK):
            cut = _cut(lines, start)
            if cut:
                return cut
    return ()


def _cut(lines: Sequence[str], start: int) -> tuple[str, ...]:
    frames: list[list[str]] = []
    for index in range(start + 1, len(lines)):
        line = lines[index][:MAX_LINE].rstrip()
        if _FRAME.match(line):
            frames.append([line])
        elif line.startswith("  ") and frames:
            frames[-1].append(line)
        elif line.startswith("  "):  # the marks of a syntax error, or frames cut off before
            continue
        elif _ERROR_LINE.match(line):
            kept = [line for frame in _matter(frames) for line in frame]
            return (_TRACEBACK, *kept, line)
        else:
            return ()
    return ()


def _matter(frames: list[list[str]]) -> Iterator[list[str]]:
    own = [frame for frame in frames if not _is_foreign(frame)]
    own = own[-MAX_FRAMES:]
    for frame in frames:
        if any(frame is kept for kept in own) or frame is frames[-1]:
            # The rows of ^^^^ point into a line that may be broken differently here.
            yield [line for line in frame if line.strip(" ~^")]


def _is_foreign(frame: list[str]) -> bool:
    match = _FRAME.match(frame[0])
    return bool(match and _FOREIGN.search(match["file"]) and "fooocus_nb" not in match["file"])


def _of_failure(lines: Sequence[str]) -> Diagnosis | None:
    """Explain the last failure in the log of a process that lives."""
    shown = traceback_of(lines)
    # An earlier failure's words must not explain a later one's traceback.
    found = _known(lines[_last_chain(lines) :]) or _unknown(shown)
    return replace(found, lines=shown or found.lines) if found else None


def _of_death(lines: Sequence[str], returncode: int) -> Diagnosis | None:
    """Explain why a process ended."""
    failure = _of_failure(lines)
    if failure is not None and issubclass(failure.error, OutOfMemory):
        return failure
    killed = _by_returncode(returncode)
    if killed is None and lines and lines[-1] == "^C":  # what hosted notebooks do out of memory
        killed = Diagnosis(*_SIGNALS["SIGKILL"])
    if killed is not None:
        return replace(killed, lines=tuple(lines[-5:]))
    if failure is None or returncode == 0:
        return None  # a process that ends without error did not end by an old failure
    if failure.error is GenerationError:
        return replace(failure, error=EngineDied, cause=f"The engine ended: {failure.lines[-1]}")
    return failure


def _last_chain(lines: Sequence[str]) -> int:
    """Return where the last traceback begins, with those of the exceptions that led to it."""
    first = 0
    for index in range(len(lines) - 1, -1, -1):
        if not lines[index].endswith(_TRACEBACK):
            continue
        first = index
        before = index - 1
        while before >= 0 and not lines[before].strip():
            before -= 1
        if before < 0 or not lines[before].startswith(_CONNECTORS):
            break
    return first


def _known(lines: Sequence[str]) -> Diagnosis | None:
    """Return what the most telling rule says about the last failure."""
    for rule in _RULES:
        for line in reversed(lines):
            if match := rule.pattern.match(line):
                values = {name: value or "" for name, value in match.groupdict().items()}
                cause = rule.cause.format_map(_Reprs(values))
                return Diagnosis(rule.error, cause, rule.remedy, (line,))
    return None


class _Reprs(dict[str, str]):
    """Values that come from a log: they may hold braces, but never ask for attributes."""

    def __missing__(self, key: str) -> str:
        return f"({key} not told)"


def _by_returncode(returncode: int) -> Diagnosis | None:
    """Explain an end by a signal; shells and Windows have numbers of their own for it."""
    number = -returncode if returncode < 0 else returncode - 128
    name = _WINDOWS_CODES.get(returncode & 0xFFFFFFFF, "")
    if not name and 0 < number < 65:
        try:
            name = signal.Signals(number).name
        except ValueError:
            return None
    if name in _SIGNALS:
        return Diagnosis(*_SIGNALS[name])
    if returncode < 0 and name:
        return Diagnosis(EngineDied, f"The engine was ended by {name}.", "")
    return None


def _unknown(shown: tuple[str, ...]) -> Diagnosis | None:
    """Describe a traceback that no rule knows by its own words.

    One that never went through Fooocus's own code is the web server's, such as for a browser
    that went away, and no failure of ours.
    """
    if not any(_FRAME.match(line) and not _is_foreign([line]) for line in shown):
        return None
    return Diagnosis(GenerationError, f"The generation failed in the engine: {shown[-1]}", "")


def _by_stop(line: str) -> Diagnosis:
    return Diagnosis(GenerationStopped, "The generation was stopped.", "", (line,))
