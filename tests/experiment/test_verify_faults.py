"""Does verify name what made an image another one? A table of engines that differ, for real."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import fooocus_nb
from fooocus_nb.experiment.causes import NO_EFFECT, NOT_IN_MANIFESTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fooocus_nb import Verification

#: What differs (those after the first change no image), what is generated, and the cause.
INJECTED = [
    (("torch",), "", "torch"),
    (("cuda",), "", "CUDA"),
    (("xformers",), "", "xformers"),
    (("attention",), "", "attention"),
    (("vae-attention",), "", "attention"),
    (("vae-dtype",), "", "precision"),
    (("vram",), "", "VRAM state"),
    (("offload",), "", "VRAM state"),
    (("gpu",), "", "GPU"),
    (("gpu-noise",), "gpu-noise", "GPU noise"),
    (("gpu-noise",), "hyper", "GPU noise"),
    (("older",), "", "version"),
    (("newer",), "", "version"),
    (("fork",), "", "fork"),
    (("commit",), "", "commit"),
    (("changed-files",), "", "changed files"),
    (("checkpoint",), "", "model hash"),
    (("lora",), "lora", "model hash"),
    (("prompt-lora",), "prompt-lora", "model hash"),
    (("refiner",), "refiner", "model hash"),
    (("flag-attention",), "", "flag"),
    (("flag-unet",), "", "flag"),
    (("flag-vram",), "", "flag"),
    (("flag-vae",), "", "flag"),
    (("driver",), "", "driver"),
    (("expansion",), "expansion", "prompt expansion"),
    (("no-expansion",), "no-expansion", "prompt expansion"),
    (("wildcards",), "wildcards", "wildcard file"),
    (("no-wildcards",), "no-wildcards", "wildcard file"),
    (("no-sharpness",), "no-sharpness", "parameter missing here"),
    (("no-freeu",), "no-freeu", "parameter missing here"),
]
PAIRS = [
    (("checkpoint", "driver"), "", "model hash"),
    (("driver", "checkpoint"), "", "driver"),
    (("torch", "fork"), "", "torch"),
    (("gpu-noise", "fork"), "gpu-noise", "GPU noise"),
    (("fork", "idle-gpu"), "", "fork"),
    (("lora", "idle-torch"), "lora", "model hash"),
    (("wildcards", "checkpoint"), "wildcards", "wildcard file"),
    (("expansion", "driver"), "expansion", "prompt expansion"),
    (("flag-attention", "fork"), "", "flag"),
    (("no-sharpness", "idle-torch"), "no-sharpness", "parameter missing here"),
]
NOTHING_TOLD = [
    (("quiet-much",), "", NOT_IN_MANIFESTS),
    (("quiet-much",), "gpu-noise", NOT_IN_MANIFESTS),
    (("quiet-little",), "expansion", NOT_IN_MANIFESTS),
    (("quiet-varying",), "", NOT_IN_MANIFESTS),
    (("quiet-much",), "wildcards", NOT_IN_MANIFESTS),
]
NOTHING_CHANGED = [
    (("idle-torch",), "", NO_EFFECT),
    (("idle-gpu",), "", NO_EFFECT),
    (("idle-version",), "", NO_EFFECT),
    (("nothing", "checkpoint"), "", NO_EFFECT),
    (("idle", "fork"), "", NO_EFFECT),
]
FIRST_DRIVER, SECOND_DRIVER = "550.10", "560.10"


class Lab:
    """A run for each recipe, made by one engine, and engines that differ from it."""

    def __init__(self, folder: Path, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.module = module
        monkeypatch.setenv("PATH", str(folder / "bin"), prepend=":")
        module.set_driver(folder / "bin", FIRST_DRIVER)
        self._made: set[str] = set()
        self._number = 0

    def make(self, *recipes: str) -> None:
        with self.module.engine_of(self.folder / "first") as engine:
            for recipe in recipes:
                self.module.make_run(engine, self.folder / f"run-{recipe}", recipe)

    def verify(self, names: tuple[str, ...], recipe: str) -> Verification:
        self._number += 1
        first, *others = names
        driver = SECOND_DRIVER if "driver" in names else FIRST_DRIVER
        self.module.set_driver(self.folder / "bin", driver)
        told = [name for name in others if name.startswith("idle")]
        silent = tuple(name for name in others if name not in told)
        place = self.folder / f"engine-{self._number}"
        with self.module.engine_of(place, first, *told, silent=silent) as engine:
            run = fooocus_nb.open_run(self.folder / f"run-{recipe}", readonly=True)
            return run.verify(engine)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    path = Path(__file__).with_name("lab.py")
    spec = importlib.util.spec_from_file_location("lab", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patched:
        yield Lab(tmp_path, module, patched)


def missed(lab: Lab, cases: list[tuple[tuple[str, ...], str, str]]) -> list[Any]:
    """Return the cases whose cause was not named first."""
    wrong = []
    for names, recipe, kind in cases:
        found = lab.verify(names, recipe)
        if [row.causes[0].kind for row in found.rows if row.causes] != [kind]:
            wrong.append((names, recipe, kind, str(found)))
    return wrong


def test_two_differences_and_one_of_none_are_told_apart(lab: Lab) -> None:
    lab.make("", "wildcards")
    found = lab.verify(("wildcards", "checkpoint"), "wildcards")
    assert (found.rows[0].level, found.rows[0].causes[0].kind) == ("different", "wildcard file")
    assert found.rows[0].causes[0].proven
    assert [cause.kind for cause in found.rows[0].causes[1:]] == ["model hash"]
    assert not found.ok
    found = lab.verify(("quiet-varying",), "")
    assert found.rows[0].cause == f"{NOT_IN_MANIFESTS}: this engine makes another image each time"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("cases", "allowed"),
    [(INJECTED, 2), (PAIRS, 0), (NOTHING_TOLD, 0), (NOTHING_CHANGED, 0)],
    ids=["injected", "pairs", "nothing told", "nothing changed"],
)
def test_causes_are_named(lab: Lab, cases: list[Any], allowed: int) -> None:
    lab.make(*dict.fromkeys(recipe for _, recipe, _ in cases))
    wrong = missed(lab, cases)
    assert len(wrong) <= allowed, wrong


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_position_in_the_request_is_named(lab: Lab) -> None:
    with lab.module.engine_of(lab.folder / "first", "batch") as engine:
        run = fooocus_nb.open_run(lab.module.make_run(engine, lab.folder / "run", "batch"))
        found = run.verify(engine)
        run.close()
    kinds = [row.causes[0].kind if row.causes else "" for row in found.rows]
    assert kinds == ["position in request"] * 2
