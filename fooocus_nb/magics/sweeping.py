"""Make the sweep that a cell of ``%%fooocus`` says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from fooocus_nb.engine.interrupts import interruption_of
from fooocus_nb.errors import ParameterError
from fooocus_nb.fooocus.schema.parameters import canonical_name
from fooocus_nb.options.sweeps import typed_axes

if TYPE_CHECKING:
    from fooocus_nb.engine.core import Engine
    from fooocus_nb.experiment.run import Run
    from fooocus_nb.experiment.sweep import Sweep
    from fooocus_nb.magics.parsing import GenerateOptions
    from fooocus_nb.magics.session import Session

__all__ = ["arun_sweep", "run_sweep"]


def run_sweep(session: Session, engine: Engine, options: GenerateOptions) -> Run:
    """Make a sweep and block until it is done; `options` are resolved."""
    run = _sweep(engine, options).run(engine, options.run_folder, mix=options.mix, show=True)
    session.keep(options.output, run)
    return run


async def arun_sweep(session: Session, engine: Engine, options: GenerateOptions) -> Run:
    """Make a sweep and await it, with the kernel listening meanwhile."""
    sweep = await asyncio.to_thread(_sweep, engine, options)
    try:
        run = await sweep.arun(engine, options.run_folder, mix=options.mix, show=True)
    except asyncio.CancelledError as cancelled:
        raise interruption_of(cancelled) from None
    session.keep(options.output, run)
    return run


def _sweep(engine: Engine, options: GenerateOptions) -> Sweep:
    from fooocus_nb.experiment.sweep import Sweep

    base: dict[str, Any] = dict(options.parameters)
    try:
        axes: dict[str, Any] = dict(typed_axes(options.sweeps, engine.parameters))
        twice = {canonical_name(name) for name in base} & {canonical_name(name) for name in axes}
        if twice:
            msg = f"%fooocus: {twice.pop()} is given as an option and as an axis: give it once."
            raise UsageError(msg)
        if "prompt" not in axes:
            base["prompt"] = options.prompt
        return Sweep(base=base, **axes)
    except ParameterError as error:
        msg = f"%fooocus: {error}"
        raise UsageError(msg) from None
