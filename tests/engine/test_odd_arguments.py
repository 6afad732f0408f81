"""Whatever is given as a number of seconds, a path or a list ends in an error of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import fooocus_nb
from fooocus_nb.errors import ConfigurationError, FooocusError, MetadataError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator
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
    assert len(job.result(float("inf"))) == 1
