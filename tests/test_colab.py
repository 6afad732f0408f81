"""What can be held of the Colab notebook without Colab."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "colab.ipynb"
ADDRESS = (
    "https://colab.research.google.com/github/fooocus-nb/fooocus-nb/blob/main/notebooks/colab.ipynb"
)


def test_the_badge_opens_it() -> None:
    for file in (ROOT / "README.md", NOTEBOOK):
        assert ADDRESS in file.read_text(encoding="utf-8"), file


def test_what_is_colabs_own_is_looked_for_first() -> None:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]
    using = [cell for cell in cells if "google.colab" in cell]
    assert len(using) == 3
    assert all("except ImportError" in cell or "if IN_COLAB" in cell for cell in using)
    assert content["metadata"]["accelerator"] == "GPU"
