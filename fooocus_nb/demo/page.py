"""What ``GET /config`` answers: the page of Fooocus 2.5.5 from page.json, as flags change it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "BASE_MODELS",
    "LORAS",
    "PRESETS",
    "REMOVED_BY_FLAG",
    "STYLES",
    "VERSION",
    "Function",
    "Page",
    "Performance",
]

VERSION = "2.5.5"
#: Fooocus's own flags that take components off the page, and which.
REMOVED_BY_FLAG: Mapping[str, Sequence[str]] = {
    "disable_metadata": ("save_metadata", "metadata_scheme"),
    "disable_image_log": ("save_final_only",),
    "disable_preset_selection": ("preset",),
}


@dataclass(frozen=True)
class Component:
    """One component of the page; only one that a function refers to has a key."""

    kind: str
    props: Mapping[str, Any]
    key: str = ""


@dataclass(frozen=True)
class Function:
    """A function of the page, and what triggers it."""

    #: What it does in the demo engine; a function without a name does nothing there.
    name: str = ""
    #: The component that triggers it; empty for the loading of the page.
    target: str = ""
    #: What must happen to the component; ``then`` is the end of the function before.
    trigger: str = ""
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    #: None is the page's default, which is to queue.
    queue: bool | None = False
    #: Whether it answers more than once.
    generator: bool = False


class Performance(Enum):
    """How much work goes into an image."""

    QUALITY = "Quality"
    SPEED = "Speed"
    EXTREME_SPEED = "Extreme Speed"
    LIGHTNING = "Lightning"
    HYPER_SD = "Hyper-SD"

    @property
    def steps(self) -> int:
        """The number of sampling steps."""
        return {"Quality": 60, "Speed": 30, "Extreme Speed": 8}.get(self.value, 4)

    @property
    def distilled(self) -> bool:
        """Whether it has a sampler, guidance and sharpness of its own, as distilled models do."""
        return self.steps < 30


_SOURCE = json.loads(Path(__file__).with_name("page.json").read_text(encoding="utf-8"))
#: In the page's order. Of what lays it out there is only what functions show and hide.
_COMPONENTS = [Component(**row) for row in _SOURCE["components"]]
_FUNCTIONS = [Function(**row) for row in _SOURCE["functions"]]
#: Gradio's names of how it serializes each kind of component.
_SERIALIZERS: Mapping[str, str] = _SOURCE["serializers"]
#: What each preset sets, by the keys of components; all else becomes the page's own default.
PRESETS: Mapping[str, Mapping[str, Any]] = _SOURCE["presets"]


def _choices(key: str) -> list[str]:
    """Return what can be chosen in a component."""
    props = next(item.props for item in _COMPONENTS if item.key == key)
    return [item if isinstance(item, str) else item[1] for item in props["choices"]]


STYLES = _choices("styles")
BASE_MODELS = _choices("base_model")
LORAS = _choices("lora_1_model")


class Page:
    """The page that begins with a preset, without the components that flags remove."""

    def __init__(
        self, preset: str = "", without: Iterable[str] = (), version: str | None = None
    ) -> None:
        removed = set(without)
        self._components = [item for item in _COMPONENTS if not item.key or item.key not in removed]
        #: The numbers of components by their keys; Gradio counts from 1, without gaps.
        self.ids = {item.key: number for number, item in enumerate(self._components, 1) if item.key}
        #: By their number; their inputs and outputs are only those that are there.
        self.functions = [
            self._without_removed(function)
            for function in _FUNCTIONS
            if not function.target or function.target in self.ids
        ]
        values = {**PRESETS[preset], "preset": preset} if preset in PRESETS else {}
        #: What ``GET /config`` answers.
        self.config: dict[str, Any] = {
            "version": "3.41.2",
            "mode": "blocks",
            "enable_queue": True,
            "show_error": False,
            "show_api": True,
            "title": f"Fooocus {version or VERSION} {preset}".strip(),
            "components": [
                _component(number, item, values) for number, item in enumerate(self._components, 1)
            ],
            "dependencies": list(self._dependencies()),
        }

    def index(self, name: str) -> int:
        """Return the number of a function."""
        return next(i for i, function in enumerate(self.functions) if function.name == name)

    def default(self, key: str) -> Any:
        """Return the value that a component begins with."""
        return self.config["components"][self.ids[key] - 1]["props"].get("value")

    def _without_removed(self, function: Function) -> Function:
        inputs = [key for key in function.inputs if key in self.ids]
        outputs = [key for key in function.outputs if key in self.ids]
        return replace(function, inputs=inputs, outputs=outputs)

    def _dependencies(self) -> Iterator[dict[str, Any]]:
        for number, function in enumerate(self.functions):
            yield {
                "targets": [self.ids[function.target]] if function.target else [],
                "trigger": function.trigger,
                "inputs": [self.ids[key] for key in function.inputs],
                "outputs": [self.ids[key] for key in function.outputs],
                "backend_fn": True,
                "queue": function.queue,
                "api_name": None,
                "batch": False,
                "cancels": [],
                "trigger_after": number - 1 if function.trigger == "then" else None,
                "trigger_only_on_success": False,
                "types": {"continuous": False, "generator": function.generator},
            }


def _component(number: int, item: Component, values: Mapping[str, Any]) -> dict[str, Any]:
    props = {"show_label": True, **item.props}
    if item.key in values:
        props["value"] = values[item.key]
    described: dict[str, Any] = {"id": number, "type": item.kind, "props": props}
    if item.kind in _SERIALIZERS:
        described["serializer"] = _SERIALIZERS[item.kind]
    return described
