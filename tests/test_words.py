"""One word for one thing: names and phrases that were replaced don't come back."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fooocus_nb

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(fooocus_nb.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
TEXTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
        *PACKAGE.rglob("static/*.js"),
        *(ROOT / "notebooks").glob("*.ipynb"),
    ]
)
#: Parts of names that were replaced, with what is said now.
NAMES = {
    "abandon": "terminate",
    "album": "image history",
    "attend": "serve",
    "entrance": "methods",
    "evil": "refusal",
    "farewell": "close timeout",
    "forsake": "release",
    "goodbye": "shut down",
    "harvest": "image collector",
    "ill": "needs restart",
    "instruct": "handshake",
    "lend": "display backend",
    "living": "lifecycle",
    "muster": "drop dead clients",
    "obey": "handle command",
    "overpower": "kill tree",
    "poke": "wake",
    "pulse": "heartbeat",
    "questions": "queries",
    "resting": "terminal",
    "slumber": "asleep",
    "spoken": "known",
    "steered": "control",
    "turns": "queue",
    "vitals": "resource usage",
    "vocabulary": "template",
    "watched": "watchdog",
    "picture": "image",
    "pictures": "image",
}
#: Whole names, where a part alone would be too common a word.
WHOLE_NAMES = {
    "ail": "mark_unresponsive",
    "get_well": "mark_recovered",
    "let_go": "release",
    "settle_in": "attach",
    "settled_in": "attached",
    "leave_word": "write_record",
    "bring_home": "copy_image",
    "own_lines": "job_log",
    "take_back": "static fallback",
}
#: Phrases in docstrings, comments, messages and pages.
PHRASES = {
    r"\bat home\b": "copied",
    r"\bbr(?:ings?|ought|inging) home\b": "copy to the output folder",
    r"\bfalls? ill\b": "becomes unresponsive",
    r"\bforsak\w+": "release",
    r"\bharvest(?:s|ed|er|ing)\b": "collect images",
    r"\bhearsay\b": "what others report",
    r"\bl(?:et|ets|etting) go\b": "release",
    r"\bl(?:eave|eaves|eft) word\b": "write the job's record",
    r"\bmuster\w*": "drop dead clients",
    r"\boverpower\w*": "kill",
    r"\bpictures?\b": "image",
    r"\bthe end of it\b": "how it ends",
    r"\bvitals\b": "resource usage",
    r"\bwhat (?:has )?becomes? of\b": "what happens to",
    r"\bWhat you hold\b": "the engine",
    r"\bwhose turn\b": "queue",
}
#: Public names and other people's words that keep what is refused elsewhere.
KEPT = re.compile(r"\bPicture-in-picture\b")


def _parts(name: str) -> set[str]:
    """The words of a name: `_LeaveWord_at` has leave, word and at."""
    return {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().strip("_")


def test_names_are_split_into_words() -> None:
    assert _parts("_LeaveWord_at") == {"leave", "word", "at"}
    assert _parts("EngineVITALS") == {"engine", "vitals"}
    assert _snake("_OwnLines") == "own_lines"


def defined_names(path: Path) -> Iterator[tuple[int, str]]:
    """Every name that a module gives to something: itself, classes, functions, variables."""
    yield 1, path.stem
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


@cache
def prose(path: Path) -> tuple[tuple[int, str], ...]:
    """The lines of a page; of a module, its strings and comments."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return tuple(enumerate(text.splitlines(), 1))
    found = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT) or token.type == getattr(
            tokenize, "FSTRING_MIDDLE", -1
        ):
            found.append((token.start[0], token.string))
    return tuple(found)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: "/".join(path.parts[-3:]))
def test_names_follow_the_glossary(path: Path) -> None:
    wrong = []
    for line, name in defined_names(path):
        for old in (_parts(name) & set(NAMES)) | ({_snake(name)} & set(WHOLE_NAMES)):
            now = NAMES.get(old) or WHOLE_NAMES[old]
            wrong.append(f"line {line}: {name} (we say: {now})")
    assert not wrong


@pytest.mark.parametrize("path", [*SOURCES, *TEXTS], ids=lambda path: "/".join(path.parts[-3:]))
def test_texts_follow_the_glossary(path: Path) -> None:
    wrong = []
    for line, text in prose(path):
        for pattern, now in PHRASES.items():
            for match in re.finditer(pattern, KEPT.sub("", text)):
                start = line + text[: match.start()].count("\n")
                wrong.append(f"line {start}: {match.group(0)!r} (we say: {now})")
    assert not wrong
