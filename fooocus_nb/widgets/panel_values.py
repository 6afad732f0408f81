"""The values of a control panel, checked alike from Python and in the form."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.requests.images import encode_image, encode_masked
from fooocus_nb.fooocus.requests.shorthands import lora_values
from fooocus_nb.fooocus.schema.parameters import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from fooocus_nb.fooocus.schema import Schema
    from fooocus_nb.fooocus.schema.parameters import Parameter

__all__ = ["PanelValues"]


class PanelValues(MutableMapping[str, Any]):
    """The values that are set, by canonical name; all others are the server's defaults.

    Iterating gives only the values that are set, so that ``engine.generate(**panel.values)``
    sends what the form shows. A value is checked when it is set, and shown in the form at once.
    Safe from any thread.

    Parameters
    ----------
    schema : Schema
        The server's parameters.
    changed : callable
        Called after each change with the names that were set or reset.
    """

    def __init__(self, schema: Schema, changed: Callable[[Collection[str]], None]) -> None:
        self._schema = schema
        self._changed = changed
        self._lock = threading.RLock()
        self._given: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<PanelValues {dict(self)!r}>"

    def __getitem__(self, name: str) -> Any:
        """Return the value that is set, or else the server's default.

        Raises
        ------
        ParameterError
            When the server has no such parameter; with the nearest match.
        """
        canonical = self._schema.resolve(name)
        with self._lock:
            if canonical in self._given:
                return self._given[canonical]
        parameter = self._schema.parameters[canonical]
        return _shown(parameter, parameter.default)

    def __setitem__(self, name: str, value: Any) -> None:
        """Set a value; None resets it.

        Raises
        ------
        ParameterError
            When the name, type, choice or range is wrong. Nothing is changed then.
        """
        self.update({name: value})

    def __delitem__(self, name: str) -> None:
        """Reset a value to the server's default."""
        self.update({name: None})

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(list(self._given))

    def __len__(self) -> int:
        return len(self._given)

    def __contains__(self, name: object) -> bool:
        """Whether a value is set."""
        try:
            return isinstance(name, str) and self._schema.resolve(name) in self._given
        except ParameterError:
            return False

    def update(self, other: Any = (), /, **values: Any) -> None:
        """Set several values, all or none of them.

        Parameters
        ----------
        other : mapping or iterable of pairs
            Values by canonical or short name; ``loras`` is a list of names or of pairs of a name
            and a weight.
        **values
            More of them.

        Raises
        ------
        ParameterError
            When one is wrong. Nothing is changed then.
        """
        wanted = self._resolved({**dict(other), **values})
        checked = {name: self.check(name, value) for name, value in wanted.items()}
        with self._lock:
            for name, value in checked.items():
                if value is None:
                    self._given.pop(name, None)
                else:
                    self._given[name] = value
        self._changed(checked)

    def replace(self, values: Mapping[str, Any]) -> None:
        """Set these values and reset all others; see :meth:`update`."""
        self.update({**dict.fromkeys(self), **self._resolved(values)})

    def adopt(self, schema: Schema) -> None:
        """Use another schema of the server, with other defaults."""
        with self._lock:
            self._schema = schema

    def clear(self) -> None:
        """Reset all values to the server's defaults."""
        with self._lock:
            names = list(self._given)
            self._given.clear()
        self._changed(names)

    def check(self, name: str, value: Any) -> Any:
        """Return a checked value as it is stored; None where it is the server's default.

        Parameters
        ----------
        name : str
            A canonical name.
        value : object
            The value that was given.

        Returns
        -------
        object
            An image as it was given, everything else as the server takes it.

        Raises
        ------
        ParameterError
            When the value is wrong.
        """
        if value is None:
            return None
        parameter = self._schema.parameters[name]
        if parameter.is_image:
            encode = encode_masked if parameter.type == "mask image" else encode_image
            encode(name, value)
            return value
        checked = parameter.check(value)
        if parameter.type == "seed":
            return int(checked)  # one that was given is never "draw one", not even 0
        same = type(checked) is type(parameter.default) or not isinstance(checked, bool)
        return None if same and checked == parameter.default else _shown(parameter, checked)

    def _resolved(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values by canonical name, with a list of LoRAs spread over the slots."""
        given = dict(values)
        loras = given.pop("loras", None)
        wanted = {self._schema.resolve(name): value for name, value in given.items()}
        if loras is not None:
            wanted.update(lora_values(self._schema, loras, wanted))
        return wanted


def _shown(parameter: Parameter, value: Any) -> Any:
    """Return a value as it is shown and written."""
    # The page's sizes contain markup, which nobody wants to read or write.
    return plain(value) if parameter.name == "aspect_ratios_selection" else value
