"""Whatever is given as a number of seconds, a path or a list ends in an error of ours."""

from __future__ import annotations

import contextlib
import itertools
import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest

import fooocus_nb
from fooocus_nb.engine import manager
from fooocus_nb.errors import (
    ConfigurationError,
    EngineStopped,
    FooocusError,
    MetadataError,
    ParameterError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fooocus_nb import Engine

#: No system has a file of such a name: NUL, half a character, more characters than any takes.
NO_NAMES = ["a\0b", "\ud800", "x" * 5000]
NO_SECONDS = [float("nan"), 10**400, 10**5000, -1, "x", True, [1]]


@pytest.mark.parametrize("name", ["timeout", "grace", "sleep_after", "idle_timeout"])
@pytest.mark.parametrize("value", NO_SECONDS, ids=lambda value: str(type(value).__name__))
def test_what_is_no_number_of_seconds_starts_nothing(name: str, value: Any) -> None:
    given: dict[str, Any] = {name: value}
    with pytest.raises(
        ConfigurationError, match=f"{name}=.* is not possible: give a number of seconds"
    ):
        fooocus_nb.start(demo=True, **given)
    assert not fooocus_nb.running()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "x"),
        ("port", 1.5),
        ("port", True),
        ("port", 10**400),
        ("env", "x"),
        ("env", 5),
        ("args", 5),
        ("args", "--theme dark"),
        ("grace", float("inf")),
    ],
)
def test_what_is_of_another_kind_starts_nothing(name: str, value: Any) -> None:
    given: dict[str, Any] = {name: value}
    with pytest.raises(ConfigurationError, match=f"^{name}="):
        fooocus_nb.start(demo=True, **given)
    assert not fooocus_nb.running()


@pytest.mark.parametrize("path", [*NO_NAMES, 5, b"\xff", object()], ids=lambda path: repr(path)[:9])
def test_a_path_that_no_system_has(path: Any) -> None:
    for call in (
        lambda: fooocus_nb.start(path),
        lambda: fooocus_nb.start(demo=True, output_dir=path),
        lambda: fooocus_nb.start(demo=True, temp_dir=path),
        lambda: fooocus_nb.open_run(path),
    ):
        with pytest.raises(FooocusError):
            call()


@pytest.mark.parametrize("url", [5, b"http://127.0.0.1", None, float("nan"), 10**400])
def test_an_address_that_is_no_text(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="An address is a text"):
        fooocus_nb.connect(url)


@pytest.mark.parametrize("path", NO_NAMES, ids=lambda path: repr(path)[:9])
def test_a_file_that_no_system_has(path: str) -> None:
    with pytest.raises(MetadataError):
        fooocus_nb.read_metadata(path)
    with pytest.raises(MetadataError):
        fooocus_nb.write_metadata(path, {"prompt": "x"})
    with pytest.raises(ParameterError):
        fooocus_nb.replay(path)


@pytest.mark.parametrize("values", ["x", 5, None, [1]])
def test_what_is_no_metadata_is_not_written(values: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"x")
    with pytest.raises(MetadataError):
        fooocus_nb.write_metadata(file, values)
    assert file.read_bytes() == b"x"


class Odd:
    """Whatever is asked of it, it raises."""

    def _refuse(self, *_: object) -> Any:
        raise RuntimeError

    __str__ = __repr__ = __fspath__ = __index__ = __float__ = __iter__ = __len__ = _refuse
    __eq__ = __hash__ = __bool__ = _refuse


DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]
#: What no path, number, name or list of files is.
ODD = [None, True, 5, 1.5, math.nan, 10**400, 10**5000, b"\xff", "a\0b", "\ud800", "x" * 100_000]
ODD += [{}, [[1]], object(), np.float64(1), np.zeros((4, 4)), np.zeros(0), np.array([None])]
ODD += [Odd(), DEEP, 1j, memoryview(b"x"), Decimal("nan"), datetime.now(UTC), int, "~nobody-4711/x"]
#: What may be given to each public call; Odd says by itself that it is nothing.
CALLS: dict[str, Callable[[Any], object]] = {
    "get": fooocus_nb.get,
    "read_metadata": fooocus_nb.read_metadata,
    "read_log": fooocus_nb.read_log,
    "read_metadata(max_bytes=)": lambda odd: fooocus_nb.read_metadata("x.png", max_bytes=odd),
    "write_metadata": lambda odd: fooocus_nb.write_metadata(odd, {"prompt": "x"}),
    "restore_model": fooocus_nb.restore_model,
    "gallery": fooocus_nb.gallery,
    "gallery of a list": lambda odd: fooocus_nb.gallery([odd]),
    "open_run": lambda odd: odd is None or fooocus_nb.open_run(odd),
    "Image": lambda odd: fooocus_nb.Image(odd, seed=None, parameters={}),
    "RestartPolicy": lambda odd: fooocus_nb.RestartPolicy(limit=odd),
    "start(restart=)": lambda odd: odd is None or fooocus_nb.start(demo=True, restart=odd),
    "start(gpu=)": lambda odd: odd is None or fooocus_nb.start(demo=True, gpu=[odd]),  # type: ignore[arg-type]
    "MaskEditor": lambda odd: isinstance(odd, Odd) or fooocus_nb.MaskEditor(odd),
    "Sweep": lambda odd: fooocus_nb.Sweep(prompt=odd),
    "Sweep of a list": lambda odd: fooocus_nb.Sweep(prompt=[odd]),
    "Sweep(base=)": lambda odd: fooocus_nb.Sweep(prompt=["a"], base=odd),
    "Sweep with a seed": lambda odd: fooocus_nb.Sweep(prompt=["a"], base={"seed": odd}),
    "Sweep of images": lambda odd: fooocus_nb.Sweep(prompt=["a"], image=odd),
    "Pool(gpus=)": lambda odd: (
        isinstance(odd, (bytes, memoryview)) or odd is None or fooocus_nb.Pool(gpus=odd, demo=True)
    ),
}


def _begin_nothing(*_: object) -> None:
    """Start no engine for what is taken."""
    msg = "nothing is started here"
    raise EngineStopped(msg)


@pytest.mark.parametrize("call", CALLS)
def test_any_object_is_taken_or_refused_in_our_words(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(manager, "_begin", _begin_nothing)
    for odd in ODD:
        with contextlib.suppress(FooocusError):
            CALLS[call](odd)
    assert not list(tmp_path.iterdir())


def test_gpus_without_end_are_not_counted() -> None:
    with pytest.raises(ConfigurationError, match="gpus="):
        fooocus_nb.Pool(gpus=itertools.count(), demo=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [{"styles": range(10**12)}, {"loras": [1]}, {"seed": 10**5000}])
def test_values_that_no_metadata_holds(values: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    PIL.Image.new("RGB", (8, 8)).save(file)
    before = file.read_bytes()
    with contextlib.suppress(MetadataError):
        fooocus_nb.write_metadata(file, values)
    assert len(file.read_bytes()) < len(before) + 1000


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.chdir(tmp_path)
    with fooocus_nb.start(demo=True) as started:
        yield started


def test_a_wait_of_no_seconds_is_refused_and_the_generation_goes_on(engine: Engine) -> None:
    job = engine.submit("x", image_number=1, steps=1)
    for seconds in NO_SECONDS:
        with pytest.raises(ConfigurationError, match="give a number of seconds"):
            job.result(seconds)
        with pytest.raises(ConfigurationError, match="give a number of seconds"):
            next(job.events(seconds))
        with pytest.raises(ConfigurationError, match="give a number of seconds"):
            engine.wait_ready(seconds)
        with pytest.raises(ConfigurationError, match="give a number of seconds"):
            engine.restart(seconds)
    for number in (-1, 1.5, "x", True, None, 10**400, [1]):
        with pytest.raises(ConfigurationError, match=r"n=.* give a whole number"):
            engine.tail(number)  # type: ignore[arg-type]
    assert len(job.result(float("inf"))) == 1
