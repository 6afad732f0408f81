"""The JSON Schemas of what ``--json`` prints: one file per command, called as the command."""

from __future__ import annotations

import argparse
import importlib.resources
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["add_schema", "schema_text"]


def schema_text(command: str) -> str:
    """Return the schema of a command's document, as JSON."""
    return (importlib.resources.files(__name__) / f"{command}.json").read_text(encoding="utf-8")


def add_schema(parser: argparse.ArgumentParser, command: str) -> None:
    """Add the option that prints the schema."""
    parser.add_argument(
        "--json-schema",
        action=_PrintSchema,
        nargs=0,
        command=command,
        help="print the JSON Schema of what --json prints",
    )


class _PrintSchema(argparse.Action):
    """Prints the schema, and ends."""

    def __init__(self, *args: Any, command: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._command = command

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Print it."""
        sys.stdout.write(schema_text(self._command))
        parser.exit()
