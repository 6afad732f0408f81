"""The functions of a server that we call, with names for what they take and answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fooocus_nb.fooocus.schema.parameters import Parameter

__all__ = ["CURRENT_TASK", "PRESET", "Call", "Outputs"]

#: The state in which Fooocus keeps what it was told to generate.
CURRENT_TASK = "currentTask"
#: What the calls that load and list presets call theirs.
PRESET = "preset"


@dataclass(frozen=True)
class Call:
    """One function of the server.

    Attributes
    ----------
    fn_index : int
        Its number.
    inputs : tuple of (str or None)
        The name of each input, in order; ``"currentTask"`` and None are states that the server
        keeps, and are sent as null.
    outputs : int
        How many values it answers.
    generator : bool
        Whether it is the one that yields images.
    queued : bool
        Whether the server runs it in its queue.
    targets : tuple of (str or None)
        The name of the parameter that each of its answers is for; None for all else.
    own : mapping
        Its inputs that are no parameters of a generation, by name.
    """

    fn_index: int
    inputs: tuple[str | None, ...]
    outputs: int
    generator: bool = False
    queued: bool = True
    targets: tuple[str | None, ...] = ()
    own: Mapping[str, Parameter] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Outputs:
    """Where in a generation's reply each thing is.

    Attributes
    ----------
    progress, preview, running_gallery, final_gallery : int or None
        The position; None where the server has no such output.
    """

    progress: int | None
    preview: int | None
    running_gallery: int | None
    final_gallery: int
