"""Every exception that a public call raises.

Each message says what happened, in which engine, with the log lines that matter,
and what to do next. All derive from :class:`FooocusError`.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import inspect
import sys
import traceback
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from fooocus_nb._advice import Reader, in_words_of
from fooocus_nb._html import clean
from fooocus_nb._secrets import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "PROCESS_LIMIT",
    "BadConfigFile",
    "ConfigurationError",
    "ConnectionLost",
    "CorruptedModel",
    "DiskFull",
    "EngineDied",
    "EngineError",
    "EngineStopped",
    "EngineTimeout",
    "EngineUnresponsive",
    "FooocusError",
    "GPUUnusable",
    "GenerationError",
    "GenerationStopped",
    "IgnoredParameter",
    "IncompleteMetadata",
    "InstallError",
    "LoginError",
    "MetadataError",
    "MissingDependency",
    "ModelNotFound",
    "NetworkError",
    "OutOfMemory",
    "OutOfVRAM",
    "OutputError",
    "ParameterError",
    "PortTaken",
    "RestoreError",
    "RunError",
    "RunLocked",
    "RunWarning",
    "StartError",
    "StartTimeout",
    "UnknownFlag",
    "UnknownParameter",
    "UnsupportedParameter",
    "UnsupportedServer",
    "WorkerDead",
    "WrongInterpreter",
    "in_words_of",
    "is_process_limit",
    "nearest",
    "show_plainly",
    "warn_user",
    "while_starting",
]

#: A message may quote what a server, a log or a file holds, in which there may be anything.
MAX_MESSAGE = 4000
MAX_LOG_LINE = 500
MAX_WITH_LOG = 12_000

_PACKAGE = __name__.partition(".")[0]
_EVERYTHING = "Verbose"
_MESSAGE_ONLY = "Minimal"


class FinishedImage(Protocol):
    """An :class:`~fooocus_nb.Image`, as an error knows it."""

    seed: int | None

    @property
    def path(self) -> Path:
        """Its file."""

    @property
    def parameters(self) -> Mapping[str, object]:
        """All that decided the outcome."""

    def __fspath__(self) -> str:
        """Return its path."""


class PartialResult(Protocol):
    """A :class:`~fooocus_nb.Result` of what was finished, as an error knows it."""

    elapsed: float
    prompt: str
    stopped: bool
    engine: str

    @property
    def log(self) -> Sequence[str]:
        """The engine's log lines of the generation."""

    @property
    def parameters(self) -> Mapping[str, object]:
        """What was asked for."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of all images."""

    @property
    def seed(self) -> int:
        """The seed that was sent."""

    def __len__(self) -> int:
        """Return how many images there are."""

    def __iter__(self) -> Iterator[FinishedImage]:
        """Iterate the images."""

    def __getitem__(self, index: int, /) -> FinishedImage:
        """Return an image."""


class FooocusError(Exception):
    """Base of all exceptions of this package."""

    _longest = MAX_MESSAGE

    # Whatever it quotes, no message holds a secret or steers a terminal, and none is longer than a
    # screen or two.
    def __init__(self, *args: object) -> None:
        fitting = (_fit(each, self._longest) if isinstance(each, str) else each for each in args)
        super().__init__(*fitting)

    def _render_traceback_(self) -> list[str]:
        """Show the message below the user's own lines; IPython asks for this."""
        return rendered(self)


class ConfigurationError(FooocusError):
    """A setting is missing or contradicts another one."""


class InstallError(FooocusError):
    """The folder is no Fooocus checkout, or its interpreter cannot be used."""


class MetadataError(FooocusError, ValueError):
    """A file's embedded parameters are missing, broken or too large."""


class ParameterError(FooocusError, ValueError):
    """A generation parameter has a wrong name, type, choice or range."""


class RestoreError(FooocusError):
    """A renamed model file cannot get its own name back."""


class RunError(FooocusError):
    """A run of an experiment cannot be opened or read, or not be written to."""


class RunLocked(RunError):
    """A run cannot be written to here, because somebody else writes to it."""


class UnknownParameter(ParameterError, KeyError):
    """There is no parameter of that name."""

    __str__ = Exception.__str__  # a KeyError puts quotes around its message


class IgnoredParameter(UserWarning):
    """A value was given that has no effect; the warning says why."""


class IncompleteMetadata(UserWarning):
    """Parameters come from an image's metadata that doesn't tell all that decided the image."""


class RunWarning(UserWarning):
    """Something of a run is damaged, was changed by hand, or could not be recorded."""


class UnsupportedParameter(ParameterError):
    """The parameter exists in Fooocus, but not on this server."""


class UnsupportedServer(FooocusError):
    """The server is not shaped as any Fooocus that we can speak to."""


class LoginError(UnsupportedServer, ConfigurationError):
    """The server wants a login, and none was given or it is wrong."""


class EngineError(FooocusError):
    """Something went wrong in, or on the way to, one engine.

    Parameters
    ----------
    message : str
        What happened and in which engine.
    log : sequence of str, optional
        The engine's log lines that matter, oldest first. They become part of the message.
    remedy : str, optional
        What to do next.

    Attributes
    ----------
    result : Result or None
        The images that a generation had finished before it failed; their files are safe in the
        output folder. None where no generation was involved.
    """

    result: PartialResult | None = None
    _longest = MAX_WITH_LOG

    def __init__(self, message: str, *, log: Sequence[str] = (), remedy: str | None = None) -> None:
        self.message = _fit(message)
        self.log = tuple(_fit(line, MAX_LOG_LINE) for line in log)
        self.remedy = remedy
        parts = [self.message]
        if self.log:
            parts.append("The engine's log says:\n" + "\n".join(f"    {line}" for line in self.log))
        if remedy:
            parts.append(in_words_of("python", remedy))
        super().__init__("\n".join(parts))


class EngineTimeout(EngineError, TimeoutError):
    """Something was waited for and did not come in time."""


class StartError(EngineError):
    """The engine could not be started."""


class StartTimeout(StartError, EngineTimeout):
    """The engine stopped making progress before it was ready."""


class EngineDied(EngineError):
    """The engine's process ended by itself."""


class EngineStopped(EngineError):
    """The engine has been stopped, so it cannot do this."""


class ConnectionLost(EngineError):
    """The engine's web server does not answer, or broke the connection.

    Attributes
    ----------
    handed_in : bool
        Whether the server had what was asked of it by then, so that it may be at work on it.
    timed_out : bool
        Whether it is only slow, as far as we can tell.
    """

    handed_in: bool = False
    timed_out: bool = False


class EngineUnresponsive(EngineError):
    """The engine's process runs, but nothing is heard of it: its guardian is stopped."""


class WorkerDead(EngineError):
    """The engine's worker thread has ended while its web server still answers."""


class PortTaken(StartError):
    """Another program listens on the engine's port."""


class BadConfigFile(StartError):
    """A setting in Fooocus's config.txt cannot be used."""


class MissingDependency(StartError):
    """The engine's Python, or the system, lacks something that Fooocus needs."""


class UnknownFlag(StartError):
    """A flag was given that this version of Fooocus does not take."""


class WrongInterpreter(StartError):
    """Fooocus does not run in this Python: its version or its packages do not fit."""


class GPUUnusable(EngineError):
    """The engine's PyTorch cannot compute on this device."""


class OutputError(EngineError):
    """A finished image could not be copied into the output folder; the original is not lost."""


class DiskFull(EngineError):
    """There is no room left where the engine, or we, write images and temporary files."""


class NetworkError(EngineError):
    """The engine could not download something."""


class GenerationError(EngineError):
    """A generation failed in the engine. Its `result` has the images that were finished before."""


class GenerationStopped(GenerationError):
    """The generation was stopped before it had finished a single image."""


class OutOfMemory(GenerationError):
    """The engine ran out of system memory."""


class OutOfVRAM(OutOfMemory):
    """The engine ran out of the GPU's memory."""


class ModelNotFound(GenerationError):
    """A checkpoint, LoRA or VAE file is not where the engine looks for it."""


class CorruptedModel(GenerationError):
    """A model file could not be loaded; Fooocus renames such a file to ``*.corrupted``."""


def _fit(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return a text for any screen and without secrets, its middle left out where too long."""
    text = clean(redact(text))
    if len(text) <= limit:
        return text
    end = limit // 4
    left_out = len(text) - limit
    return f"{text[: limit - end]} [... {left_out:,} characters left out ...] {text[-end:]}"


def while_starting(kind: type[EngineError]) -> type[StartError]:
    """Return the class of an error that came while an engine started: it has both names.

    Parameters
    ----------
    kind : type of EngineError
        What happened, such as :class:`NetworkError`.

    Returns
    -------
    type of StartError
        `kind` itself where it is a :class:`StartError`; else one that is caught as either.
    """
    if issubclass(kind, StartError):
        return kind
    members = {"__doc__": kind.__doc__, "__module__": kind.__module__, "__reduce__": _reduced}
    return type(kind.__name__, (StartError, kind), members)


def _reduced(error: EngineError) -> tuple[object, ...]:
    """Pickle an error whose class is made when it is needed."""
    kind = type(error).__mro__[2]
    return _made_again, (kind, error.message, error.log, error.remedy), error.__dict__


def _made_again(
    kind: type[EngineError], message: str, log: tuple[str, ...], remedy: str | None
) -> StartError:
    return while_starting(kind)(message, log=log, remedy=remedy)


# Two cells that give the same value in vain are both told, not only the first.
warnings.simplefilter("always", IgnoredParameter, append=True)
warnings.simplefilter("always", IncompleteMetadata, append=True)
warnings.simplefilter("always", RunWarning, append=True)
warnings.filterwarnings("always", "portable: ", UserWarning, append=True)


#: What helps where :func:`is_process_limit` is true.
PROCESS_LIMIT = (
    "The limit of processes and threads is reached: end others of yours, such as kernels, or raise "
    "it, with ulimit -u where the kernel is started or --pids-limit of its container."
)


def is_process_limit(error: BaseException) -> bool:
    """Return whether an error says that there can be no further process or thread.

    Parameters
    ----------
    error : BaseException
        What was raised.
    """
    if isinstance(error, OSError):
        return error.errno == errno.EAGAIN
    return isinstance(error, RuntimeError) and "can't start new thread" in str(error)


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn, and name the line of the user's code and not one of ours.

    Parameters
    ----------
    message : str
        What is wrong.
    category : type of Warning
        Its kind.
    """
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == "fooocus_nb":
        level, frame = level + 1, frame.f_back
    warnings.warn(_fit(message), category, stacklevel=level)


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return a hint that names the choice most like `word`, or an empty string.

    Parameters
    ----------
    word : str
        What was given.
    choices : iterable of str
        What would have been allowed.

    Returns
    -------
    str
        ``" Did you mean 'x'?"`` with its leading space, or ``""`` where nothing is near.
    """
    by_folded = {choice.casefold(): choice for choice in choices}
    found = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.5)
    return f" Did you mean {by_folded[found[0]]!r}?" if found else ""


def show_plainly(error: BaseException, reader: Reader = "magic") -> None:
    """Let IPython show only the message of an error, in the words of who reads it."""
    kind, message = type(error).__name__, clean(in_words_of(reader, str(error)))
    lines = f"\x1b[31m{kind}\x1b[39m: {message}".splitlines()
    error._render_traceback_ = lambda: lines  # type: ignore[attr-defined]


def rendered(error: BaseException) -> list[str]:
    """Return what IPython shows of an exception: the user's own lines, and what happened.

    Where in this package a wrong name was noticed is of no use to somebody who mistyped it, and
    five of our frames push the message out of sight. ``%xmode Verbose`` shows everything, and
    nothing is taken from the exception itself: debuggers and logs see all of it.
    """
    ipython: Any = sys.modules.get("IPython")  # where IPython asks for this, it is imported
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        return traceback.format_exception(error)
    renderer = shell.InteractiveTB
    if renderer.mode == _EVERYTHING:
        return list(renderer.structured_traceback(type(error), error, error.__traceback__))
    kept, hidden = _users_part(error.__traceback__)
    with _apart_from_our_causes(error):
        lines = list(renderer.structured_traceback(type(error), error, kept))
    if hidden and renderer.mode != _MESSAGE_ONLY:
        frames = "1 frame" if hidden == 1 else f"{hidden} frames"
        lines.append(f"[{frames} of {_PACKAGE} left out: %xmode {_EVERYTHING} shows them]")
    return lines


def _is_ours(step: TracebackType) -> bool:
    name = str(step.tb_frame.f_globals.get("__name__", ""))
    return name.partition(".")[0] == _PACKAGE


def _users_part(first: TracebackType | None) -> tuple[TracebackType | None, int]:
    """Return a traceback that ends where this package was called, and how much came after."""
    steps = []
    step = first
    while step is not None:
        steps.append(step)
        step = step.tb_next
    count = next((place for place, step in enumerate(steps) if _is_ours(step)), len(steps))
    kept = None
    for step in reversed(steps[:count]):
        kept = TracebackType(kept, step.tb_frame, step.tb_lasti, step.tb_lineno)
    return kept, len(steps) - count


@contextlib.contextmanager
def _apart_from_our_causes(error: BaseException) -> Iterator[None]:
    """Let an exception stand alone for a while, unless what led to it is the user's own."""
    before = error.__cause__ or error.__context__
    if before is None or before.__traceback__ is None or not _is_ours(before.__traceback__):
        yield
        return
    kept = error.__cause__, error.__context__, error.__suppress_context__
    error.__cause__ = error.__context__ = None
    try:
        yield
    finally:
        error.__cause__, error.__context__, error.__suppress_context__ = kept
