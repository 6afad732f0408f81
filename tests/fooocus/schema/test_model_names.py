"""Models by the names that files and log pages have for them."""

from __future__ import annotations

import pytest

from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.schema.parameters import Parameter

MODELS = Parameter(
    name="base_model",
    label="Base Model",
    type="choice",
    default="a.safetensors",
    choices=("a.safetensors", "one/b.safetensors", "two/b.safetensors", "two/c.v1.0.safetensors"),
)


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("a", "a.safetensors"),
        ("c.v1.0", "two/c.v1.0.safetensors"),
        ("two/b.safetensors", "two/b.safetensors"),
        ("two\\b.safetensors", "two/b.safetensors"),  # as a log page of Windows has it
        ("TWO\\B.safetensors", "two/b.safetensors"),
    ],
)
def test_a_model_by_another_spelling(name: str, choice: str) -> None:
    assert MODELS.check(name) == choice


def test_a_name_that_two_files_share_is_not_guessed() -> None:
    with pytest.raises(ParameterError, match=r"this name: one/b\.safetensors, two/b\.safetensors"):
        MODELS.check("b")


def test_a_folder_that_is_not_there_is_not_guessed() -> None:
    with pytest.raises(ParameterError):
        MODELS.check("three/a.safetensors")
