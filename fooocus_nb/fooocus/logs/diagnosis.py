"""Log lines turned into explained, typed errors.

A prompt is echoed into the log too, so every pattern is held to where Python and Fooocus write
their own messages: the start of a line, or the exception that ends a traceback.
"""

from __future__ import annotations

import re
import signal
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fooocus_nb.errors import (
    EngineDied,
    EngineError,
    GenerationError,
    ModelNotFound,
    NetworkError,
    OutOfMemory,
    StartError,
    WorkerDead,
)
from fooocus_nb.fooocus.logs._log_events import (
    ANSI,
    MAX_LINE,
    TRACEBACK,
    WORKER_FRAME,
    events_of,
    is_foreign,
)
from fooocus_nb.fooocus.logs._rule_builders import VENDORS
from fooocus_nb.fooocus.logs.dropped_loras import dropped_loras
from fooocus_nb.fooocus.logs.notice_rules import DROPPED
from fooocus_nb.fooocus.logs.package_rules import distribution_of, with_distribution
from fooocus_nb.fooocus.logs.rules import (
    BAD_CONFIG,
    DOWNLOADING,
    INSTALLED,
    MIRROR,
    MIRRORED,
    NOTICES,
    PLACES,
    RULES,
    SIGNALS,
    STOPPED,
    SUCCEEDED,
    UNRECOVERABLE,
    WEB_PACKAGES,
    WINDOWS_CODES,
    WORKER,
)
from fooocus_nb.fooocus.logs.torn_lines import QUOTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fooocus_nb.fooocus.logs._log_events import Event
    from fooocus_nb.fooocus.logs._rule_builders import Rule

__all__ = ["Diagnosis", "Notice", "diagnose", "notices", "stopped", "traceback_of"]

#: How many frames of the engine's own code a shown traceback keeps, the innermost ones.
MAX_FRAMES = 4
#: How many lines of an exception's message are shown.
MAX_SHOWN = 12
#: A log may be full of exceptions, and each is held against every rule.
MAX_CHAINS = 50
MAX_RAISED = 30
#: A LoRA that does not fit has a line for each of its hundreds of parts.
MAX_OF_A_KIND = 20
#: A process that crashes in native code says why just before, if at all.
LAST_WORDS = 15


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
    unrecoverable : bool
        Whether the engine cannot compute any more until it is restarted.
    because : Diagnosis or None
        What ended the worker, where that is what happened.
    """

    error: type[EngineError]
    cause: str
    remedy: str
    lines: tuple[str, ...] = ()
    unrecoverable: bool = False
    because: Diagnosis | None = None


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


def diagnose(
    lines: Sequence[str], *, returncode: int | None = None, answered: bool = False
) -> Diagnosis | None:
    """Say what the engine's log lines mean.

    Parameters
    ----------
    lines : sequence of str
        The lines of one generation, or the last lines of an engine that died; oldest first.
    returncode : int, optional
        How the process ended: negative for a signal, as `subprocess` has it.
    answered : bool
        Whether the page has answered with images. A request that failed was another one then.

    Returns
    -------
    Diagnosis or None
        What went wrong; None where the lines tell of no failure.
    """
    clean = _cleaned(lines)
    events = events_of(clean)
    if returncode is not None:
        return _of_death(events, clean, returncode)
    found = _of_failure(events, answered=answered)
    if any(event.ended_worker for event in events):
        return _of_worker(found)
    if found is None:
        stop = next((line for line in reversed(clean) if STOPPED.pattern.match(line)), None)
        return Diagnosis(STOPPED.error, STOPPED.cause, STOPPED.remedy, (stop,)) if stop else None
    return found


def stopped(lines: Sequence[str]) -> bool:
    """Return whether the log says that a generation was stopped, by whomever."""
    return any(STOPPED.pattern.match(line) for line in lines)


def notices(lines: Sequence[str]) -> tuple[Notice, ...]:
    """Return what is worth knowing in the log although nothing failed.

    Parameters
    ----------
    lines : sequence of str
        Log lines, oldest first.

    Returns
    -------
    tuple of Notice
        In the order of the lines; each line once, and the first twenty of a kind.
    """
    found: dict[str, Notice] = {}
    of_kind: Counter[str] = Counter()
    clean = _cleaned(lines)
    dropped = dropped_loras(clean)
    for line in clean:
        quoted = QUOTED.match(line) is not None
        if names := dropped.get(line):
            meaning = DROPPED.meaning.format(name=", ".join(names))
            found.setdefault(line, Notice(meaning, DROPPED.remedy, line))
        for rule in NOTICES:
            if quoted and not rule.quoted:
                continue
            if match := rule.pattern.match(line):
                values = _Values(match.groupdict(default=""))
                meaning, remedy = (text.format_map(values) for text in (rule.meaning, rule.remedy))
                if line not in found and of_kind[rule.meaning] < MAX_OF_A_KIND:
                    of_kind[rule.meaning] += 1
                    found[line] = Notice(meaning, remedy, line)
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
    raised = [event for event in events_of(_cleaned(lines)) if event.frames]
    return _shown(raised[-1]) if raised else ()


def _cleaned(lines: Iterable[str]) -> list[str]:
    return [ANSI.sub("", line[:MAX_LINE]).rstrip() for line in lines]


# -- what is shown --------------------------------------------------------------------------


def _shown(event: Event) -> tuple[str, ...]:
    """Return an exception with the frames that matter."""
    message = [line for line in event.lines if line.strip()]
    if not event.frames:
        return tuple(message[:MAX_SHOWN])
    kept = [line for frame in _matter(event.frames) for line in frame]
    return (TRACEBACK, *kept, *message[:MAX_SHOWN])


def _matter(frames: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    own = [frame for frame in frames if not is_foreign(frame[0])][-MAX_FRAMES:]
    for frame in frames:
        if any(frame is kept for kept in own) or frame is frames[-1]:
            # The rows of ^^^^ point into a line that may be broken differently here.
            yield [line for line in frame if line.strip(" ~^")]


# -- what went wrong ------------------------------------------------------------------------


def _of_failure(
    events: Sequence[Event], *, died: bool = False, answered: bool = False
) -> Diagnosis | None:
    """Explain the last failure in a log.

    An earlier failure's words must not explain a later one's traceback, so one chain of exceptions
    is looked at after the other, with the lines after it, from the last on. What the web server
    prints when a browser leaves is passed over, and what an image was finished after.
    """
    ours = [event for event in events if not event.aside]
    begins = [i for i, event in enumerate(ours) if event.frames and not event.chained]
    end = len(ours)
    for begin in reversed(begins[-MAX_CHAINS:]):
        part, end = ours[begin:end], begin
        if _went_on(part) or (answered and any(event.of_request for event in part)):
            continue
        if found := _of_chain(part, events, died):
            return found
    return _of_chain(_not_overcome(ours[:end]), events, died)


def _went_on(part: Sequence[Event]) -> bool:
    """Whether the worker has finished an image after what it has printed there."""
    return any(SUCCEEDED.match(event.text) for event in part) and all(
        any(WORKER_FRAME.match(frame[0]) for frame in event.frames)
        for event in part
        if event.frames and not event.chained
    )


def _not_overcome(part: Sequence[Event]) -> Sequence[Event]:
    """Return the lines after the last one with which pip has reached its end after all."""
    last = max((i for i, each in enumerate(part) if INSTALLED.match(each.text)), default=-1)
    return part[last + 1 :]


def _of_chain(part: Sequence[Event], events: Sequence[Event], died: bool) -> Diagnosis | None:
    """Explain one chain of exceptions, or lines without any; None for what is nobody's failure."""
    raised = [event for event in part if event.frames]
    last = raised[-1] if raised else None
    known = _known(part)
    if known is not None:
        rule, event = known
        if not died and _was_caught(rule, event):
            return None
        found = _explain(rule, event, part, events)
        if found.error not in (EngineError, GenerationError):
            return found
        shown = event if event.frames else last
        return (shown and _of_config(shown)) or found
    if last is None:
        return None
    if died and _innermost(last, WEB_PACKAGES):
        return _explain(WEB_PACKAGES, last, part, events)
    return _of_config(last) or _unknown(last)


def _was_caught(rule: Rule, event: Event) -> bool:
    """Whether it is what a package prints that goes on without another one."""
    kinds = (StartError, NetworkError)  # such as a package's search for its own new versions
    return bool(event.frames) and not event.own and issubclass(rule.error, kinds)


def _innermost(event: Event, rule: Rule) -> bool:
    """Whether an exception was raised in a place that a rule names."""
    return rule.where is not None and rule.where.search(event.frames[-1][0]) is not None


def _known(
    part: Sequence[Event], group: Iterable[Rule] = (*PLACES, *RULES)
) -> tuple[Rule, Event] | None:
    """Return the most telling rule that knows something, and what it knows."""
    last: list[Event] = []
    room = {True: MAX_RAISED, False: MAX_RAISED}
    for event in reversed(part):
        if event.raised:
            room[bool(event.frames)] -= 1
        if not event.raised or room[bool(event.frames)] >= 0:
            last.append(event)
    for rule in group:
        for event in last:
            if _knows(rule, event):
                return rule, event
    return None


def _knows(rule: Rule, event: Event) -> bool:
    if not event.raised and QUOTED.match(event.text):
        return False
    if (rule.raised and not event.raised) or (rule.own and event.frames and not event.own):
        return False
    if rule.foreign and not (event.frames and is_foreign(event.frames[-1][0])):
        return False
    if rule.pattern.match(event.text) is None:
        return False
    where = rule.where
    return where is None or any(where.search(line) for frame in event.frames for line in frame)


def _explain(rule: Rule, event: Event, part: Sequence[Event], events: Sequence[Event]) -> Diagnosis:
    """Say what a rule says, and what had gone wrong before and led to it."""
    values = _values(rule, event)
    downloads = [match["url"] for each in events if (match := DOWNLOADING.match(each.text))]
    if not downloads or downloads[-1].startswith(MIRRORED):
        values["mirror"] = MIRROR
    shown = event if event.frames else next((e for e in reversed(part) if e.frames), event)
    lines = _shown(shown)
    unrecoverable = any(_knows(each, other) for each in UNRECOVERABLE for other in part)
    cause = rule.cause.format_map(values)
    remedy = rule.by_vendor.get(_vendor(event.text), rule.remedy).format_map(values)
    found = Diagnosis(rule.error, cause, remedy, lines, unrecoverable)
    before = [other for other in events if other.begin < part[0].begin]
    causes = [each for each in (*RULES, WEB_PACKAGES) if each.group in rule.follows]
    if rule.follows and (known := _known(before, causes)):
        earlier, told = known
        afterwards = rule.afterwards.format_map(values)
        sooner = _values(earlier, told)
        return replace(
            found,
            cause=f"{earlier.cause.format_map(sooner)} {cause}",
            remedy=f"{earlier.remedy.format_map(sooner)} {afterwards}".rstrip(),
            lines=(*told.lines[:MAX_SHOWN], *lines),
        )
    return _in_context(found, events)


def _values(rule: Rule, event: Event) -> _Values:
    match = rule.pattern.match(event.text)
    values = match.groupdict(default="") if match else {}
    named = values.get("module") or values.get("package") or ""
    told = {
        "mirror": "",
        "distribution": distribution_of(named),
        "lacking": with_distribution(named),
    }
    return _Values(values | told | {"what": values.get("what") or _said(event)})


def _said(event: Event) -> str:
    """Return an exception's first line, with the next one that says something where it is empty."""
    first, *rest = event.lines
    if first.endswith(":"):
        return " ".join([first, *(line.strip() for line in rest if re.search(r"\w", line))][:2])
    return first


def _vendor(text: str) -> str:
    """Return whose device a message speaks of: the one that it names first."""
    places = {name: match.start() for name, rx in VENDORS.items() if (match := rx.search(text))}
    return min(places, key=places.__getitem__, default="")


def _of_worker(found: Diagnosis | None) -> Diagnosis:
    """Say that the worker has ended, and by what."""
    if found is None:
        return Diagnosis(WorkerDead, WORKER.cause, WORKER.remedy)
    if not found.remedy:
        advice = "If it ends the same way again, report it where this Fooocus comes from, with: {}"
        found = replace(found, remedy=advice.format(_exception(found)))
    return Diagnosis(
        WorkerDead,
        f"{WORKER.cause} {found.cause}",
        f"{found.remedy} {WORKER.remedy}",
        found.lines,
        found.unrecoverable,
        found,
    )


def _exception(found: Diagnosis) -> str:
    """Return the line that names the exception, of the lines that are shown."""
    after = [line for line in found.lines if line != TRACEBACK and not line.startswith("  ")]
    return after[0] if after else ""


def _of_death(events: Sequence[Event], lines: Sequence[str], returncode: int) -> Diagnosis | None:
    """Explain why a process ended."""
    failure = _of_failure(events, died=True)
    if failure is not None and issubclass(failure.error, OutOfMemory):
        return failure
    killed = _by_returncode(returncode)
    if killed is None and lines and lines[-1].endswith("^C"):  # hosted notebooks, out of memory
        killed = Diagnosis(*SIGNALS["SIGKILL"])
    if killed is not None:
        return _of_signal(killed, events, lines)
    if failure is None or returncode == 0:
        return None  # a process that ends without error did not end by an old failure
    if failure.error is GenerationError:
        cause = f"The engine ended: {_exception(failure) or failure.cause}"
        return replace(failure, error=EngineDied, cause=cause)
    return failure


def _of_signal(killed: Diagnosis, events: Sequence[Event], lines: Sequence[str]) -> Diagnosis:
    """Explain an end by a signal, with the last words of what crashed."""
    last = [event for event in events if event.begin >= len(lines) - LAST_WORDS]
    known = _known(last, [rule for rule in RULES if rule.group == "crash"])
    if known is None or issubclass(killed.error, OutOfMemory):
        return replace(killed, lines=tuple(lines[-5:]))
    rule, event = known
    values = _values(rule, event)
    cause = f"{killed.cause} {rule.cause.format_map(values)}"
    error = rule.error if issubclass(rule.error, OutOfMemory) else killed.error
    return Diagnosis(error, cause, rule.remedy.format_map(values), tuple(lines[-5:]))


def _of_config(event: Event) -> Diagnosis | None:
    """Explain a traceback that ends where Fooocus reads its settings."""
    own = [frame[0] for frame in event.frames if not is_foreign(frame[0])]
    if not own or not BAD_CONFIG.pattern.match(own[-1]):
        return None
    cause = BAD_CONFIG.cause.format(what=event.lines[0])
    return Diagnosis(BAD_CONFIG.error, cause, BAD_CONFIG.remedy, _shown(event))


def _in_context(found: Diagnosis, events: Sequence[Event]) -> Diagnosis:
    """Add what earlier lines tell: what was downloaded, and that the settings were ignored."""
    if found.error not in (NetworkError, ModelNotFound):
        return found
    downloads = [match for event in events if (match := DOWNLOADING.match(event.text))]
    if downloads and found.error is NetworkError:
        url, path = downloads[-1]["url"], downloads[-1]["path"].strip()
        found = replace(
            found,
            cause=f"{found.cause} It was to get {url}",
            remedy=f"{found.remedy} It belongs to {path}",
        )
    ignored = NOTICES[0]
    if any(ignored.pattern.match(event.text) for event in events):
        remedy = f"{found.remedy} Perhaps it is there already: {ignored.meaning} {ignored.remedy}"
        found = replace(found, remedy=remedy)
    return found


class _Values(dict[str, str]):
    """Values that come from a log: they may hold braces, but never ask for attributes."""

    def __missing__(self, key: str) -> str:
        return f"({key} not told)"


def _by_returncode(returncode: int) -> Diagnosis | None:
    """Explain an end by a signal; shells and Windows have numbers of their own for it."""
    number = -returncode if returncode < 0 else returncode - 128
    name = WINDOWS_CODES.get(returncode & 0xFFFFFFFF, "")
    if not name and 0 < number < 65:
        try:
            name = signal.Signals(number).name
        except ValueError:
            return None
    if name in SIGNALS:
        return Diagnosis(*SIGNALS[name])
    if name:
        return Diagnosis(EngineDied, f"The engine was ended by {name}.", "")
    return None


def _unknown(event: Event) -> Diagnosis | None:
    """Describe a traceback that no rule knows by its own words.

    One that never went through Fooocus's own code is the web server's, such as for a browser
    that went away, and no failure of ours.
    """
    if not event.own:
        return None
    cause = f"The generation failed in the engine: {event.lines[0]}"
    return Diagnosis(GenerationError, cause, "", _shown(event))
