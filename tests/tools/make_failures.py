"""Write docs/failures.md from the code: what can go wrong, and what it is called.

python tests/tools/make_failures.py          writes it
python tests/tools/make_failures.py --check  fails where it is not current
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from fooocus_nb.fooocus.logs.diagnosis import diagnose, notices
from fooocus_nb.fooocus.logs.notice_rules import DROPPED
from fooocus_nb.fooocus.logs.rules import (
    BAD_CONFIG,
    NOTICES,
    PLACES,
    RULES,
    SIGNALS,
    STOPPED_ELSEWHERE,
    WEB_PACKAGES,
    WORKER,
    Rule,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "failures.md"
COMMAND = "python tests/tools/make_failures.py"
#: Above the example of a rule for what is raised within a package.
IN_A_PACKAGE = (
    "Traceback (most recent call last):",
    '  File "/opt/Fooocus/launch.py", line 1, in <module>',
    '  File "/env/lib/python3.10/site-packages/x/y.py", line 1, in z',
)

HEAD = f"""# What can go wrong, and what it is called

Made by `{COMMAND}`; change the rules in `fooocus_nb/fooocus/logs/`, not this page.

Fooocus reports success for many a failure, so its log is read beside its answer. What the log says
is raised as one of the exceptions below, all from `fooocus_nb.errors` and all of them an
`EngineError`, with the engine's own traceback cut to what matters. Of what happens while an engine
starts, every exception is a `StartError`, too. `fooocus-nb doctor` finds much of it beforehand.
"""
ENDS = """
## How a process ends

One that was ended from outside has said nothing. Then its exit status tells.
"""
NOTICED = """
## No failures, but worth knowing
"""


def main() -> int:
    """Write the page or check it, and return the exit status."""
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text(encoding="utf-8") == page() else 1
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
    return 0


def page() -> str:
    """Return the page."""
    failures = [explained(rule) for rule in RULES]
    failures += [
        (rule.title, code(rule.example), code(rule.error.__name__), rule.cause, rule.remedy)
        for rule in (
            dataclasses.replace(BAD_CONFIG, cause=BAD_CONFIG.cause.format(what="…")),
            *PLACES,
            dataclasses.replace(WEB_PACKAGES, cause=WEB_PACKAGES.cause.format(what="…")),
            WORKER,
            STOPPED_ELSEWHERE,
        )
    ]
    ends = [
        (code(name), code(error.__name__), cause, remedy)
        for name, (error, cause, remedy) in SIGNALS.items()
    ]
    # Of a LoRA that is left out, what follows tells.
    said = [*(rule.example for rule in NOTICES), DROPPED.example, "Requested to load SDXL"]
    noticed = notices(said)
    rows = [(code(notice.line), notice.meaning, notice.remedy) for notice in noticed]
    parts = (
        HEAD,
        *table(("what", "a line of the log", "exception", "cause", "remedy"), failures),
        ENDS,
        *table(("ended by", "exception", "cause", "remedy"), ends),
        NOTICED,
        *table(("a line of the log", "meaning", "remedy"), rows),
    )
    return "\n".join(parts) + "\n"


def explained(rule: Rule) -> tuple[str, ...]:
    """Return the row of a rule, with what it makes of its own example."""
    found = diagnose([*(IN_A_PACKAGE if rule.foreign else ()), rule.example])
    if found is None or found.error is not rule.error:
        msg = f"{rule.title!r} does not know its own example"
        raise ValueError(msg)
    return rule.title, code(rule.example), code(found.error.__name__), found.cause, found.remedy


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table."""
    return [row(head), row(("---",) * len(head)), *map(row, rows)]


def row(cells: tuple[str, ...]) -> str:
    """Return a line of a table."""
    return "| " + " | ".join(cell.strip().replace("|", "\\|") for cell in cells) + " |"


def code(text: str) -> str:
    """Return a piece of code for Markdown."""
    text = text.strip()
    # Two around a text that has one itself, and a blank where it ends in one.
    return f"`` {text} ``" if "`" in text else f"`{text}`"


if __name__ == "__main__":
    sys.exit(main())
