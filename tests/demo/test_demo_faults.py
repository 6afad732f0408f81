"""What is injected into the demo engine is injected in one place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from fooocus_nb.demo import faults
from fooocus_nb.demo.faults import FAULTS, Moment, is_fault

HERE = Path(faults.__file__)


@pytest.mark.parametrize(
    "path", [path for path in HERE.parent.glob("*.py") if path != HERE], ids=lambda path: path.name
)
def test_no_other_module_knows_a_fault_by_name(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert not texts & set(FAULTS)


def test_a_fault_acts_at_a_moment_or_is_asked_for():
    for name, fault in FAULTS.items():
        assert (fault.moment is None) == (fault.act is None), name
        assert fault.text, name
    assert {fault.moment for fault in FAULTS.values()} == {None, *Moment}


def test_an_argument_that_has_a_row_of_its_own_is_no_other_fault():
    assert is_fault("dead-worker")
    assert is_fault("dead-worker=start")
    assert is_fault("exit=4")
    assert not is_fault("exot")
