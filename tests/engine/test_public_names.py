"""The public names of Engine, Job, Image and Result are those of 0.1.0, and no others."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fooocus_nb import Engine, Image, Job, Result

if TYPE_CHECKING:
    from collections.abc import Callable

#: What `dir()` said of each class before its parts were composed.
NAMES = json.loads(Path(__file__).with_name("public_names.json").read_text(encoding="utf-8"))
#: What an instance has beside that, as the docstrings of the classes say.
ATTRIBUTES = {
    Engine: {
        "allow_private_urls",
        "allow_urls",
        "last_result",
        "name",
        "owned",
        "stall_timeout",
    },
    Job: {"engine", "request"},
    Image: {"seed"},
    Result: {"elapsed", "engine", "log", "parameters", "prompt", "stopped"},
}


def public(names: list[str] | dict[str, object]) -> set[str]:
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("kind", list(ATTRIBUTES))
def test_the_names_of_a_class(kind: type) -> None:
    assert public(dir(kind)) == set(NAMES[kind.__name__])


def test_the_attributes_of_an_instance(start_demo: Callable[..., Engine]) -> None:
    engine = start_demo()
    job = engine.submit("x", image_number=1, steps=1, width=64, height=64)
    result = job.result(60)
    for thing in (engine, job, result, result[0]):
        assert public(vars(thing)) == ATTRIBUTES[type(thing)]
    assert engine.last_result is result
    assert job.engine is engine


@pytest.mark.parametrize("name", NAMES["Engine"])
def test_a_twin_says_what_it_takes_and_gives(name: str) -> None:
    twin = getattr(Engine, f"a{name}", None)
    if not callable(twin) or name == "wait_ready":
        return
    assert inspect.iscoroutinefunction(twin)
    assert twin.__name__ == f"a{name}"
    assert twin.__doc__
    assert inspect.signature(twin) == inspect.signature(getattr(Engine, name))
