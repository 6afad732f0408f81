"""Sweep: what is varied, what stays the same, and the cells that follow."""

from __future__ import annotations

import asyncio
import numbers
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fooocus_nb import _html
from fooocus_nb.errors import ParameterError
from fooocus_nb.experiment.axes import Axis, make_axis, values_of, zip_axis
from fooocus_nb.experiment.cells import CellMaker
from fooocus_nb.experiment.conditions import conditions_of
from fooocus_nb.experiment.identity import (
    InputImages,
    parameters_of,
    same_form,
    short_name,
    value_text,
)
from fooocus_nb.experiment.templates import Template
from fooocus_nb.fooocus.given import only_our_errors
from fooocus_nb.fooocus.schema.parameters import MAX_SEED, canonical_name

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from fooocus_nb.experiment.cells import Cell
    from fooocus_nb.experiment.plan import Plan
    from fooocus_nb.experiment.run import Run
    from fooocus_nb.experiment.runner import OnError

__all__ = ["Sweep"]

#: How many values of an axis are shown.
SHOWN_VALUES = 8


class Sweep:
    """Generations that differ in chosen values: every combination of the axes is a cell.

    Parameters
    ----------
    base : mapping, optional
        What is the same in all cells, by the names that ``generate`` takes. An axis of the same
        name goes before it, so ``base=image.parameters`` varies an image.
    zip : mapping, optional
        Axes whose values go together, the first with the first: one axis of pairs. Several of
        them in a list.
    where, exclude, later : callable or mapping, optional
        Which cells there are, which there are not, and which are planned and left for later; also
        several in a list. A function gets the values of a cell, a mapping by both names, with the
        seed as a number; a mapping names values, and a list of them means any.
    sample : int, optional
        How many cells to take at random; the same ones each time.
    sample_seed : int, optional
        Another number takes another sample. Default 0.
    **axes
        By name, one value or many: a list, a range, an array. Everything that
        :meth:`Engine.generate` takes can be an axis, and also ``preset``. ``image`` is what a
        ``task`` begins with: files, a folder, or a pattern such as ``"photos/*.png"``. In prompts
        ``{name}`` is filled in from the axis of that name, and ``{a|b}`` is either. Without a seed,
        or with ``seed=-1``, one is drawn for the whole sweep; ``seed="each"`` gives every cell its
        own.

    Raises
    ------
    ParameterError
        When an axis is empty, a value can be no parameter's, a file is missing, or a prompt names
        what no axis gives.

    Examples
    --------
    >>> sweep = Sweep(
    ...     prompt=["a lighthouse", "a harbour"], guidance_scale=[3, 5, 7], seed=range(4)
    ... )
    >>> sweep.count
    24
    """

    def __init__(
        self,
        *,
        base: Mapping[str, Any] | None = None,
        zip: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,  # noqa: A002
        where: Any = None,
        exclude: Any = None,
        later: Any = None,
        sample: int | None = None,
        sample_seed: int = 0,
        **axes: Any,
    ) -> None:
        self._images = InputImages()
        with only_our_errors("a value of the sweep", ParameterError):
            made = [make_axis(name, value, self._images) for name, value in axes.items()]
            groups = _groups(zip)
            made += [zip_axis(group, self._images) for group in groups]
            _refuse_twice([name for axis in made for name in axis.names])
            fixed, several = self._base(base or {}, {name for axis in made for name in axis.names})
            names = [*(name for axis in (*made, *several) for name in axis.names), *fixed]
            self._maker = CellMaker(
                axes=(*made, *several),
                base=fixed,
                where=conditions_of("where", where, names, self._images),
                exclude=conditions_of("exclude", exclude, names, self._images),
                later=conditions_of("later", later, names, self._images),
                sample=_sample(sample),
                sample_seed=sample_seed,
            )
            self._maker.check()
        #: What seeds follow from where none is given; a run's folder may know an earlier one.
        self._root = secrets.randbelow(MAX_SEED + 1)

    def _base(self, base: Mapping[str, Any], taken: set[str]) -> tuple[dict[str, Any], list[Axis]]:
        """Return what is the same in all cells, and the axes that prompts with places are."""
        fixed: dict[str, Any] = {}
        several: list[Axis] = []
        if not isinstance(base, Mapping):
            msg = f"base={base!r} is not possible: it must be a mapping of names to values."
            raise ParameterError(msg)
        for name, value in base.items():
            canonical = canonical_name(name)
            if canonical in fixed or any(canonical in axis.names for axis in several):
                msg = f"base= has {canonical!r} under two names: give it once."
                raise ParameterError(msg)
            if value is None or canonical in taken:
                continue
            if canonical in ("prompt", "negative_prompt", "image_seed"):
                values = values_of(name, [value], self._images)
                first = values.raw()[0]
                if isinstance(first, Template):
                    several.append(Axis((values,)))
                else:
                    fixed[canonical] = first
            else:
                fixed[canonical] = same_form(name, value, self._images)
        return fixed, several

    # -- what it is -------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many combinations there are, counted without making them.

        Conditions and a sample leave fewer, and equal cells are one.
        """
        return self._maker.count

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """The values of each axis, by canonical name, in order; a zip has several names."""
        return {part.name: part.raw() for axis in self._maker.axes for part in axis.parts}

    @property
    def base(self) -> dict[str, Any]:
        """What is the same in all cells, by canonical name."""
        return dict(self._maker.base)

    @property
    def names(self) -> tuple[str, ...]:
        """All names that it gives, canonical."""
        return tuple(self._maker.names)

    @property
    def draws_seed(self) -> bool:
        """Whether a seed has to be drawn, because none is given or one is -1 or ``each``."""
        given = [*self.axes.get("image_seed", ()), self.base.get("image_seed")]
        return any(isinstance(seed, dict) for seed in given) or "image_seed" not in self.names

    @property
    def drawn_seed(self) -> int:
        """The seed that was drawn for this sweep; the first run in a folder writes it down."""
        return self._root

    def cells(self, seed: int | None = None) -> list[Cell]:
        """Return the cells, in the order of the axes, equal ones once.

        Parameters
        ----------
        seed : int, optional
            In place of the seed that was drawn for this sweep.

        Returns
        -------
        list of Cell
            Each with its identity and its values.

        Raises
        ------
        ParameterError
            When there are more than 100,000, or a condition fails.
        """
        return self._maker.cells(self._root if seed is None else seed)

    def find_image(self, entry: Mapping[str, Any]) -> Any:
        """Return an input image by its entry in the values of a cell.

        Parameters
        ----------
        entry : mapping
            With the image's ``sha256`` or ``url``.

        Returns
        -------
        Path, bytes or str
            The file, the bytes of an image from memory, or the address.
        """
        return self._images.find(entry)

    def parameters(self, cell: Cell) -> dict[str, Any]:
        """Return what :meth:`Engine.generate` is given for a cell.

        Parameters
        ----------
        cell : Cell
            One of :meth:`cells`.

        Returns
        -------
        dict
            By name, with files and images in the place of their hashes.
        """
        return parameters_of(cell.values, self.find_image)

    # -- making it --------------------------------------------------------------------------

    def plan(self, engine: Any = None, folder: str | os.PathLike[str] | None = None) -> Plan:
        """Plan the sweep: a dry run, which sends nothing and writes nothing.

        Parameters
        ----------
        engine : Engine or pool, optional
            Who would make it. Without one, values are not checked and times are not known.
        folder : path-like, optional
            The folder of the run: what is made there already is not made again.

        Returns
        -------
        Plan
            How many cells and images, in which order, how long, how much disk space, and what is
            wrong; shows as a table.

        Raises
        ------
        RunError
            When there is something else in the folder.
        """
        from fooocus_nb.experiment.launch import plan_sweep

        return plan_sweep(self, engine, folder)

    def run(
        self,
        engine: Any,
        folder: str | os.PathLike[str],
        *,
        on_error: OnError | str = "continue",
        mix: bool = False,
        limit: int | None = None,
        show: bool | None = None,
    ) -> Run:
        """Make the cells that are missing, and record them in a run.

        Run again, also in another kernel, it makes what is still missing. A cell that failed is
        not tried again before :meth:`Run.retry`, but for one that ran out of memory or whose engine
        died: that is tried once more at once.

        Parameters
        ----------
        engine : Engine, pool, or executor
            Who makes them.
        folder : path-like
            The run's folder, which is made where there is none.
        on_error : {"continue", "stop"} or callable
            What follows a cell that fails: the next one, or the end of the sweep with its error. A
            function gets the cell and the error, and ends the sweep by returning False. Default
            ``"continue"``.
        mix : bool
            Whether to go on where the engine is another one than made the run's cells so far: in
            version, preset, flags, model files or defaults. Each manifest says which. Default
            False.
        limit : int, optional
            How many cells to make now at most; the others are left for later.
        show : bool, optional
            Whether to show the grid that fills. By default in a notebook.

        Returns
        -------
        Run
            With the images, and with the failures.

        Raises
        ------
        ParameterError
            When the plan has problems. Nothing has been sent then.
        RunError
            When the folder holds another sweep or something else, when another kernel writes to
            it, or when the engine differs.
        EngineError
            When the engine is of no use any more, and a restart did not help.
        KeyboardInterrupt
            After Ctrl-C, or Stop. What is made is in the run.
        """
        from fooocus_nb.experiment.launch import Options, prepare

        options = Options(on_error=on_error, mix=mix, limit=limit, show=show)
        return prepare(self, engine, folder, options).finish()

    async def arun(
        self,
        engine: Any,
        folder: str | os.PathLike[str],
        *,
        on_error: OnError | str = "continue",
        mix: bool = False,
        limit: int | None = None,
        show: bool | None = None,
    ) -> Run:
        """Do the same as :meth:`run` without blocking the event loop.

        In a notebook Skip works as well then, where :meth:`run` has Stop only. It has the same
        parameters, and raises the same.
        """
        from fooocus_nb.experiment.launch import Options, prepare

        options = Options(on_error=on_error, mix=mix, limit=limit, show=show, awaited=True)
        launch = await asyncio.to_thread(prepare, self, engine, folder, options)
        return await launch.awaited()

    def describe(self) -> dict[str, Any]:
        """Return the sweep as plain data, as a run's folder keeps it.

        Returns
        -------
        dict
            Axes and base with all their values; of conditions only how many there are.
        """
        maker = self._maker
        return {
            "axes": [
                {part.name: [_plain(value) for value in part.raw()] for part in axis.parts}
                for axis in maker.axes
            ],
            "base": dict(maker.base),
            "conditions": len(maker.where) + len(maker.exclude) + len(maker.later),
            "sample": maker.sample,
            "sample_seed": maker.sample_seed,
            "drawn_seed": str(self._root) if self.draws_seed else None,
        }

    @property
    def title(self) -> str:
        """How many cells it has, and by which axes: ``12 cells: guidance_scale (3) × seed (4)``."""
        maker = self._maker
        parts = [
            f"{' + '.join(map(short_name, axis.names))} ({axis.count:,})"
            for axis in maker.axes
            if axis.count > 1
        ]
        given = (("where", maker.where), ("exclude", maker.exclude), ("later", maker.later))
        limits = [f"{word}=" for word, found in given if found]
        if maker.sample is not None:
            limits.append(f"sample={maker.sample}")
        cells = "1 cell" if self.count == 1 else f"{self.count:,} cells"
        axes = f": {' × '.join(parts)}" if parts else ""
        return f"{cells}{axes}{', with ' if limits else ''}{', '.join(limits)}"

    def __repr__(self) -> str:
        return f"<Sweep: {self.title}>"

    def _repr_html_(self) -> str:
        rows = [
            (short_name(name) if place == 0 else "", text)
            for name, values in self.axes.items()
            for place, text in enumerate(_listed(values))
        ]
        rows += [(short_name(name), value_text(value, 200)) for name, value in self.base.items()]
        return _html.wrap(
            _html.data_table(("parameter", "values"), rows, title=f"Sweep: {self.title}"),
            label="Sweep",
        )


def _plain(value: Any) -> Any:
    return value.text if isinstance(value, Template) else value


def _listed(values: Sequence[Any]) -> list[str]:
    shown = [value_text(_plain(value)) for value in values[:SHOWN_VALUES]]
    more = len(values) - len(shown)
    return [*shown, f"… {more:,} more"] if more > 0 else shown


def _refuse_twice(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            msg = f"{name!r} is given twice, or under two names: an axis has one."
            raise ParameterError(msg)


def _groups(given: Any) -> list[Any]:
    """Return what was given as zip= as a list; a table of pandas is a mapping of its columns."""
    if given is None:
        return []
    several = list(given) if isinstance(given, (list, tuple)) else [given]
    return [
        {name: each[name] for name in each.keys()}  # noqa: SIM118 - the names of its columns
        if hasattr(each, "keys")
        else each
        for each in several
    ]


def _sample(number: Any) -> int | None:
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, numbers.Integral) or number < 1:
        msg = f"sample={number!r} is not possible: it must be a whole number above 0."
        raise ParameterError(msg)
    return int(number)
