"""The doctor's report: one line for each check, and how it is shown."""

from __future__ import annotations

import enum
import json
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fooocus_nb import __version__, _html
from fooocus_nb._secrets import redact
from fooocus_nb.errors import in_words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fooocus_nb._advice import Reader

__all__ = ["Check", "Report", "Status", "format_bytes"]

#: Raised when what is there changes its meaning or goes; new names and facts are no change.
FORMAT = 1
WIDTH = 100
_COLOURS = {"ok": "\x1b[32m", "warning": "\x1b[33m", "failure": "\x1b[31m"}
_MARKS = {"ok": "✓", "warning": "!", "failure": "✗"}


class Status(enum.StrEnum):
    """How a line of the report came out."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report.

    Attributes
    ----------
    name : str
        What it is called in programs, such as ``config``; stable.
    title : str
        What it is called for people.
    status : Status
        How it came out.
    text : str
        What was found.
    advice : str
        What to do; empty where nothing is to be done.
    facts : mapping
        The same for programs: numbers in bytes, paths as texts. Goes into JSON as it is.
    """

    name: str
    title: str
    status: Status
    text: str
    advice: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    # Settings, addresses and what programs say may hold a password; a report is shown to others.
    def __post_init__(self) -> None:
        for name in ("text", "advice", "facts"):
            object.__setattr__(self, name, _masked(getattr(self, name)))


def _masked(value: Any) -> Any:
    """Return a text, or what holds texts, without secrets."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _masked(each) for key, each in value.items()}
    return [_masked(each) for each in value] if isinstance(value, list | tuple) else value


class Report:
    """The result of :func:`fooocus_nb.doctor`; in a notebook it shows as a table.

    Parameters
    ----------
    checks : sequence of Check
        The lines.
    reader : {"python", "magic", "shell"}
        Where it is read, for what it advises. Default ``python``.

    Attributes
    ----------
    checks : tuple of Check
        The lines, in the order in which they matter.
    """

    def __init__(self, checks: Sequence[Check], reader: Reader = "python") -> None:
        self.checks = tuple(checks)
        self._reader: Reader = reader

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks)

    def __len__(self) -> int:
        return len(self.checks)

    def __getitem__(self, name: str) -> Check:
        """Return the first line of a name.

        Raises
        ------
        KeyError
            When there is none: what needs a checkout is not looked at without one.
        """
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    @property
    def status(self) -> Status:
        """The worst status of all lines."""
        found = {check.status for check in self.checks}
        worst_first = (Status.FAILURE, Status.WARNING)
        return next((status for status in worst_first if status in found), Status.OK)

    @property
    def ok(self) -> bool:
        """Whether nothing failed; warnings are no failures."""
        return self.status is not Status.FAILURE

    @property
    def exit_code(self) -> int:
        """What ``fooocus-nb doctor`` exits with: 0, or 1 after a failure."""
        return 0 if self.ok else 1

    def in_words_of(self, reader: Reader) -> Report:
        """Return the report with its advice for Python, magics or the shell.

        Parameters
        ----------
        reader : {"python", "magic", "shell"}
            Where it is read.
        """
        return Report(self.checks, reader)

    # -- shown --------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the report for programs, as ``fooocus-nb doctor --json`` prints it.

        Returns
        -------
        dict
            ``format`` (1), ``fooocus_nb`` (our version), ``status`` and ``checks``: of each, the
            ``name``, ``title``, ``status``, ``text``, ``advice`` and ``facts``.
        """
        return {
            "format": FORMAT,
            "fooocus_nb": __version__,
            "status": str(self.status),
            "checks": [
                {
                    "name": check.name,
                    "title": check.title,
                    "status": str(check.status),
                    "text": check.text,
                    "advice": check.advice,
                    "facts": dict(check.facts),
                }
                for check in self.checks
            ],
        }

    def to_json(self) -> str:
        """Return the same as :meth:`to_dict`, as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def __repr__(self) -> str:
        return self.to_text()

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, *, colour: bool = False) -> str:
        """Return the report for a terminal.

        Parameters
        ----------
        colour : bool
            Whether to colour the status. Default False.

        Returns
        -------
        str
            A line or more for each check, advice below it, and a summary at the end.
        """
        lines = []
        margin = max((len(check.title) for check in self.checks), default=0)
        indent = " " * (margin + 11)
        for check in self.checks:
            status = f"{check.status:<7}"
            if colour:
                status = f"{_COLOURS[check.status]}{status}\x1b[0m"
            text = _wrapped(_html.clean(in_words_of(self._reader, check.text)), indent)
            lines.append(f"{status}  {check.title:<{margin}}  {text}")
            if advice := self._advice(check):
                lines.append(f"{indent}{_wrapped('-> ' + _html.clean(advice), indent)}")
        return "\n".join([*lines, "", self._summary()])

    def _advice(self, check: Check) -> str:
        return in_words_of(self._reader, check.advice)

    def _summary(self) -> str:
        count = {status: sum(check.status is status for check in self.checks) for status in Status}
        failures, warnings = count[Status.FAILURE], count[Status.WARNING]
        if not failures and not warnings:
            return "All is well."
        parts = [
            f"{number} {word}{'s' if number > 1 else ''}"
            for number, word in ((failures, "failure"), (warnings, "warning"))
            if number
        ]
        rest = "" if failures else "; it can start all the same"
        return " and ".join(parts) + rest + "."

    def _repr_html_(self) -> str:
        rows = "".join(
            _html_row(check, in_words_of(self._reader, check.text), self._advice(check))
            for check in self.checks
        )
        cell = "text-align:left;padding:2px 10px 2px 0"
        head = "".join(
            f'<th scope="col" style="{cell}">{word}</th>' for word in ("", "what", "found")
        )
        table = f'<table style="border-collapse:collapse"><tr>{head}</tr>{rows}</table>'
        return _html.wrap(
            table, f"<p>{_html.escape(self._summary())}</p>", label="Fooocus doctor report"
        )


def _html_row(check: Check, found: str, advice: str) -> str:
    cell = "text-align:left;vertical-align:top;padding:2px 10px 2px 0"
    text = _html.escape(found, 2000)
    if advice:
        text += f"<br><strong>{_html.escape(advice, 2000)}</strong>"
    mark = f"{_MARKS[check.status]} {check.status}"
    return (
        f'<tr><td style="{cell};white-space:nowrap">{_html.escape(mark)}</td>'
        f'<th scope="row" style="{cell};white-space:nowrap">{_html.escape(check.title)}</th>'
        f'<td style="{cell}">{text}</td></tr>'
    )


def _wrapped(text: str, indent: str) -> str:
    lines = textwrap.wrap(
        text, max(WIDTH - len(indent), 40), break_long_words=False, break_on_hyphens=False
    )
    return f"\n{indent}".join(lines)


def format_bytes(number: float) -> str:
    """Return a number of bytes as people say it."""
    if number < 1e6:
        return f"{number / 1e3:.0f} kB"
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
