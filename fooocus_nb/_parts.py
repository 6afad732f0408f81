"""What the mixins of an Engine use of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from fooocus_nb.child import ChildSettings
    from fooocus_nb.fooocus.client import Client
    from fooocus_nb.lifecycle import EngineState
    from fooocus_nb.results import Result

__all__ = ["EngineParts"]


class EngineParts:
    """Base of the mixins: nothing but the types of what Engine itself has."""

    if TYPE_CHECKING:
        name: str
        owned: bool
        stall_timeout: float
        allow_urls: bool
        allow_private_urls: bool
        _slot: asyncio.Lock
        _connected: Client | None
        _settings: ChildSettings | None

        @property
        def _client(self) -> Client: ...
        @property
        def state(self) -> EngineState: ...
        def tail(self, n: int = 40) -> list[str]: ...
        def _listen(self, listener: Callable[[str], None]) -> Callable[[], None]: ...
        def generate(self, prompt: str = "", **parameters: Any) -> Result: ...
        async def agenerate(self, prompt: str = "", **parameters: Any) -> Result: ...
