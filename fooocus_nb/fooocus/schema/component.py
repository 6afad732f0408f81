"""One component of a server's page, as `/config` describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Component"]

_KINDS = {
    "checkbox": "boolean",
    "checkboxgroup": "choices",
    "dropdown": "choice",
    "image": "image",
    "imageeditor": "image",
    "number": "number",
    "radio": "choice",
    "slider": "number",
    "textbox": "text",
}


@dataclass(frozen=True)
class Component:
    """One component of the page, as `/config` describes it.

    Attributes
    ----------
    id : int
        Its number; the page was built in this order.
    type : str
        Such as ``slider`` or ``textbox``.
    props : mapping
        What else is said of it.
    position : int
        Where in the list of components it stands.
    """

    id: int
    type: str
    props: Mapping[str, Any]
    position: int = 0

    @property
    def label(self) -> str:
        """What the page calls it; empty where it has no label."""
        return str(self.props.get("label") or "")

    @property
    def elem_id(self) -> str:
        """Its id in the page, which only few have."""
        return str(self.props.get("elem_id") or "")

    @property
    def kind(self) -> str:
        """The family of its type."""
        if self.type == "dropdown" and self.props.get("multiselect"):
            return "choices"
        return _KINDS.get(self.type, self.type)

    @property
    def choices(self) -> tuple[str, ...]:
        """What can be chosen, as it is sent."""
        given = self.props.get("choices") or ()
        return tuple(
            str(choice[1] if isinstance(choice, (list, tuple)) else choice) for choice in given
        )

    def describe(self) -> str:
        """Say for people which one it is."""
        elem_id = f", elem_id {self.elem_id!r}" if self.elem_id else ""
        return f"the {self.type} {self.label!r} (id {self.id}{elem_id})"
