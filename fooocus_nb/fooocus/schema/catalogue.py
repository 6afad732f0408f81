"""Names that can be chosen, which show as columns and can be searched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb._html import escape, wrap

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Catalogue"]

_WIDTH = 96


class Catalogue(tuple[str, ...]):
    """The names of styles, models and the like: a tuple that shows in columns."""

    __slots__ = ()

    def __new__(cls, names: Iterable[str] = ()) -> Catalogue:
        """Make one of some names, in their order."""
        return super().__new__(cls, tuple(names))

    def filter(self, text: str) -> Catalogue:
        """Return the names that contain `text`.

        Parameters
        ----------
        text : str
            In any case.

        Returns
        -------
        Catalogue
        """
        wanted = text.casefold()
        return Catalogue(name for name in self if wanted in name.casefold())

    def __repr__(self) -> str:
        if not self:
            return "(none)"
        widest = max(map(len, self)) + 2
        columns = max(_WIDTH // widest, 1)
        rows = (self[start : start + columns] for start in range(0, len(self), columns))
        return "\n".join("".join(name.ljust(widest) for name in row).rstrip() for row in rows)

    def _repr_html_(self) -> str:
        if not self:
            return wrap("(none)")
        items = "".join(f"<li>{escape(name)}</li>" for name in self)
        return wrap(
            '<ul class="fnb-mono" tabindex="0" style="columns:20em auto;max-height:26em;'
            f'overflow:auto;list-style:none;padding:0;margin:0;text-align:left">{items}</ul>'
        )
