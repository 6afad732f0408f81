"""The reference is generated from the code, and current."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from fooocus_nb.demo.page import Page
from fooocus_nb.engine.core import Engine
from fooocus_nb.fooocus.schema import Schema

TOOL = Path(__file__).parent / "tools" / "make_reference.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("make_reference", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_current(tool):
    there = tool.PAGE.read_text(encoding="utf-8")
    assert there == tool.reference(), (
        f"docs/reference.md is not what the code says any more. Run: {tool.COMMAND}"
    )


def test_it_names_every_parameter_and_every_verb(tool):
    page = tool.PAGE.read_text(encoding="utf-8")
    for parameter in Schema.from_config(Page().config).parameters.values():
        if not parameter.name.startswith(("lora_", "ip_", "enhance_")):
            assert f"| `{parameter.name}`" in page
        for alias in parameter.aliases:
            assert f"or `{alias}`" in page
    for group in ("lora_N_model", "ip_N_weight", "enhance_N_mask_sam_model"):
        assert page.count(f"`{group}`") == 1
    for name in dir(Engine):
        assert name.startswith("_") or f"`{name}" in page


def test_every_row_says_what_it_is(tool):
    for line in tool.PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")]
            assert len(cells) in (2, 6), line
            assert all(cells[:2]), line
            if len(cells) == 6:
                assert cells[4].startswith("2."), line
