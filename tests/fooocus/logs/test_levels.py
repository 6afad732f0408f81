"""How serious the lines of the log are taken to be."""

from __future__ import annotations

import pytest

from fooocus_nb.fooocus.logs.levels import Classifier


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("Total time: 12.3 seconds", "info"),
        ("[Prompt Expansion] a bear, error: not found, Warning: deprecated", "info"),
        ("", "info"),
        ("User stopped", "warning"),
        ("UserWarning: this is odd", "warning"),
        ("Failed to load config file config.txt", "warning"),
        ("torch.cuda.OutOfMemoryError: CUDA out of memory", "error"),
        ("ValueError: 'Warp' is not a valid Performance", "error"),
        ("Exception in thread Thread-3 (worker):", "error"),
        ("ERROR: it broke", "error"),
    ],
)
def test_a_line(line: str, level: str) -> None:
    assert Classifier().level(line) == level


def test_a_traceback_is_one_error() -> None:
    lines = [
        "before",
        "Traceback (most recent call last):",
        '  File "x.py", line 1, in <module>',
        "    boom()",
        "",
        "    ^^^^^^",
        "Unusual: broken",
        "after",
    ]
    classifier = Classifier()
    levels = [classifier.level(line) for line in lines]
    assert levels == ["info", *["error"] * 6, "info"]
