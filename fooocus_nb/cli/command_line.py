"""The parser of ``fooocus-nb``: argparse, with parameters of an engine as options."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from fooocus_nb._secrets import redact
from fooocus_nb.cli.command import UsageError
from fooocus_nb.errors import nearest
from fooocus_nb.options.generation import split_options

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CommandParser", "wants_json"]

JSON = "--json"


def wants_json(words: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, also one that is wrong otherwise."""
    before = words[: words.index("--")] if "--" in words else words
    return JSON in before


class CommandParser(argparse.ArgumentParser):
    """Reports bad usage as an error of its own, and leaves unknown options to who knows them."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        settings.setdefault("allow_abbrev", False)
        super().__init__(*args, **settings)
        #: Whether there may be options that only an engine knows, and words in any number.
        self.takes_parameters = False

    def add_json(self) -> None:
        """Add ``--json``, unless the command has its own."""
        if JSON not in self._option_string_actions:
            self.add_argument(
                JSON, action="store_true", help="print one JSON document, and nothing else"
            )

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Read a command line."""
        words = list(sys.argv[1:] if args is None else args)
        if not self.takes_parameters:
            return super().parse_known_args(words, namespace)
        literal: list[str] = []
        if "--" in words:
            place = words.index("--")
            words, literal = words[:place], words[place + 1 :]
        options = {name: action.nargs != 0 for name, action in self._option_string_actions.items()}
        known, others, rest = split_options(words, options, lambda _, text: text)
        found, unknown = super().parse_known_args(known, namespace)
        found.words = [*rest, *literal]
        found.others = tuple(others)
        found.own_options = tuple(options)
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is no choice, with the one most like it."""
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += f".{nearest(str(value), map(str, action.choices or ()))}"
            raise

    def error(self, message: str) -> NoReturn:
        """Raise what ends the program with the usage, in which no secret is shown."""
        raise UsageError(f"{self.prog}: error: {redact(message)}", self.format_usage())

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End the program, as ``--help`` and ``--version`` do."""
        if message:
            sys.stderr.write(message)
        raise SystemExit(status)
