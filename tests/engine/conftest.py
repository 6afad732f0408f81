"""A demo engine of its own for each test that asks for one."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

import pytest

import fooocus_nb
from fooocus_nb.engine.folders import RUNTIME_VARIABLE, runtime_folder
from fooocus_nb.errors import ConnectionLost
from fooocus_nb.supervisor import Process
from fooocus_nb.supervisor.registry import Registry

from .peers import Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fooocus_nb import Engine

FAST = {"FOOOCUS_DEMO_STEP_SECONDS": "0"}
SLOW = {"FOOOCUS_DEMO_STEP_SECONDS": "0.1"}


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """Start demo engines that are stopped after the test."""
    engines: list[Engine] = []

    def start(*faults: str, slow: bool = False, **options) -> Engine:
        args = [word for fault in faults for word in ("--fault", fault)]
        args += options.pop("args", ())
        options.setdefault("timeout", 30)
        engine = fooocus_nb.start(
            demo=True,
            args=args,
            env=SLOW if slow else FAST,
            output_dir=tmp_path / "images",
            **options,
        )
        engines.append(engine)
        return engine

    yield start
    for engine in engines:
        engine.stop()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry of the test's own; the engines that are in it at the end are stopped."""
    monkeypatch.setenv(RUNTIME_VARIABLE, str(tmp_path / "runtime"))
    monkeypatch.setenv("FOOOCUS_DEMO_STEP_SECONDS", "0")
    found = Registry(runtime_folder())
    yield found
    deadline = time.monotonic() + 60
    while entries := found.entries():
        assert time.monotonic() < deadline, f"these do not end: {entries}"
        for entry in entries:
            with contextlib.suppress(ConnectionLost):  # it is ending already
                Process.attach(entry.run_dir).stop(grace=1)


@pytest.fixture
def peer(registry: Registry, tmp_path: Path) -> Iterator[Callable[[], Peer]]:
    """Start kernels that see the same registry."""
    peers: list[Peer] = []

    def start(**environment: str) -> Peer:
        peers.append(Peer(tmp_path, os.environ | environment))
        return peers[-1]

    yield start
    for started in peers:
        started.close()
