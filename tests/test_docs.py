"""README and docs: their links are whole, their commands exist, their magics and blocks parse."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from fooocus_nb.cli import _parser
from fooocus_nb.cli.command import UsageError

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w+|\{code-cell\} ipython3)\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
#: What the site makes at each build.
MADE = ("api/",)
#: Pages that claim nothing by themselves: an index, and what is made or taken from elsewhere.
NO_CLAIMS = ("index", "failures", "reference", "contributing", "changelog")
#: A figure of a benchmark, as it stands in a text.
FIGURE = re.compile(r"\d[\d.,]* (?:ms|MB|s|%)(?!\w)")


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    found = set()
    for heading in HEADING.findall(prose(path.read_text(encoding="utf-8"))):
        plain = re.sub(r"[^\w\- ]", "", heading.lower().replace("`", ""))
        found.add(plain.strip().replace(" ", "-"))
    return found


def blocks(language: str) -> list[object]:
    """The blocks of a language on all pages."""
    return [
        pytest.param(block, id=f"{path.name}-{number}")
        for path in PAGES
        for number, (kind, block) in enumerate(FENCE.findall(path.read_text(encoding="utf-8")))
        if kind == language
    ]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_are_whole(path: Path) -> None:
    for pair in LINK.findall(prose(path.read_text(encoding="utf-8"))):
        target = pair[0] or pair[1]
        if re.match(r"[a-z]+:", target) or target.startswith("<"):
            continue
        name, _, anchor = target.partition("#")
        if path.parent.name == "docs" and name.startswith(MADE):
            continue
        other = (path.parent / name).resolve() if name else path
        assert other.exists(), f"{path.name}: {target} leads nowhere"
        if anchor:
            assert anchor in anchors(other), f"{path.name}: {target}: {sorted(anchors(other))}"


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_a_page_says_where_it_was_tried(path: Path) -> None:
    if path.stem not in NO_CLAIMS:
        text = path.read_text(encoding="utf-8")
        assert re.search(r"^\*(?:Tried|Read|The page itself)", text, re.MULTILINE)


def test_figures_stand_in_the_table_of_the_benchmarks() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    table = re.findall(r"^\|.*\|$", page, re.MULTILINE)
    known = {figure for line in table for figure in FIGURE.findall(line)}
    claims = []
    for path in PAGES:
        text = prose(path.read_text(encoding="utf-8"))
        for claim in re.split(r"(?<=[.:])\s|^\|", text, flags=re.MULTILINE):
            if re.search(r"\(\[benchmarks\]\([\w/]*benchmarks\.md\)\)", claim):
                claims += [(path.name, figure) for figure in FIGURE.findall(claim)]
    assert claims
    assert [claim for claim in claims if claim[1] not in known] == []


def commands() -> list[object]:
    """Every call of our program in the blocks of a shell."""
    found = []
    for path in PAGES:
        for kind, block in FENCE.findall(path.read_text(encoding="utf-8")):
            if kind not in ("console", "bash", "sh"):
                continue
            for line in block.replace("\\\n", " ").splitlines():
                part = re.search(r"(?:fooocus-nb|jupyter fooocus) (.+)", line.removeprefix("$ "))
                # A line with [OPTIONS] in brackets is a summary, not a call.
                if part and "[" not in part[1] and "..." not in part[1]:
                    found.append(pytest.param(part[1], id=f"{path.name}-{part[1][:50]}"))
    return found


@pytest.mark.parametrize("line", commands())
def test_commands_parse(line: str) -> None:
    words = shlex.split(re.split(r"\s(?:\||&&|>|#)", line)[0])
    try:
        _parser("fooocus-nb").parse_args(words)
    except UsageError as error:
        pytest.fail(f"fooocus-nb {line}: {error}")
    except SystemExit as end:  # --help and --version: not a failure
        if end.code:
            pytest.fail(f"fooocus-nb {line} exits with {end.code}")


@pytest.mark.parametrize("block", [*blocks("python"), *blocks("{code-cell} ipython3")])
def test_python_is_python(block: str) -> None:
    from IPython.core.inputtransformer2 import TransformerManager

    body = re.sub(r"^:\w+:.*\n", "", block, flags=re.MULTILINE)
    ast.parse(TransformerManager().transform_cell(body))
