"""The signal that tells listeners, and the twins of calls."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading

import pytest

from fooocus_nb._background import Signal, async_twin, twins


def test_who_listens_is_told_until_the_subscription_ends() -> None:
    signal: Signal[int] = Signal("numbers")
    first: list[int] = []
    second: list[int] = []
    end = signal.subscribe(first.append)
    signal.subscribe(second.append)
    signal.emit(1)
    end()
    end()  # harmless
    signal.emit(2)
    assert (first, second) == ([1], [1, 2])


def test_the_same_listener_twice_is_two_subscriptions() -> None:
    signal: Signal[int] = Signal("numbers")
    heard: list[int] = []
    end = signal.subscribe(heard.append)
    signal.subscribe(heard.append)
    end()
    signal.emit(1)
    assert heard == [1]


def test_one_that_raises_is_logged_and_the_others_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    signal: Signal[int] = Signal("numbers")
    heard: list[int] = []

    def fail(number: int) -> None:
        raise ValueError(number)

    signal.subscribe(fail)
    signal.subscribe(heard.append)
    with caplog.at_level(logging.ERROR):
        signal.emit(7)
    assert heard == [7]
    assert "a listener for numbers failed" in caplog.text


def test_who_comes_after_the_preparation_is_not_told() -> None:
    signal: Signal[int] = Signal("numbers")
    heard: list[int] = []
    tell = signal.prepare()
    signal.subscribe(heard.append)
    tell(1)
    assert heard == []


class Pending:
    def __init__(self, value: str) -> None:
        self.value = value

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return self.value


def wait(pending: Pending) -> str:
    return f"waited for {pending.value}"


class Machine:
    def _work(self, what: str, *, times: int = 1) -> Pending:
        """Work on something."""
        return Pending(f"{what} x {times}")

    work, awork = twins(_work, wait)

    def rest(self) -> str:
        """Rest on this thread."""
        return threading.current_thread().name

    arest = async_twin(rest)


def test_twins_wait_and_await() -> None:
    machine = Machine()
    assert machine.work("stone", times=2) == "waited for stone x 2"
    assert asyncio.run(machine.awork("stone")) == "stone x 1"
    assert machine.rest() == threading.current_thread().name
    assert asyncio.run(machine.arest()) != threading.current_thread().name


@pytest.mark.parametrize("name", ["work", "rest"])
def test_help_shows_both_twins(name: str) -> None:
    call, twin = getattr(Machine, name), getattr(Machine, f"a{name}")
    assert inspect.iscoroutinefunction(twin)
    assert not inspect.iscoroutinefunction(call)
    assert (call.__name__, twin.__name__) == (name, f"a{name}")
    assert twin.__qualname__ == f"Machine.a{name}"
    assert inspect.signature(call) == inspect.signature(twin)
    assert inspect.signature(call).return_annotation == "str"
    assert f":meth:`{name}`" in twin.__doc__
    assert call.__doc__ in ("Work on something.", "Rest on this thread.")
