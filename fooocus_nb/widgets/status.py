"""The output of ``%fooocus status``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fooocus_nb._html import data_table
from fooocus_nb.widgets._html import note, page

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.health import Health

__all__ = ["status_bundle"]


def status_bundle(engines: Iterable[Engine]) -> dict[str, Any]:
    """Return the health and facts of engines as a MIME bundle. Each check takes at most 2 s."""
    checked = [(engine, engine.health()) for engine in engines]
    return {
        "text/html": page(*(_card(engine, health) for engine, health in checked)),
        "text/plain": "\n".join(_text(engine, health) for engine, health in checked),
    }


def _card(engine: Engine, health: Health) -> str:
    title = f"{engine.title[0].upper()}{engine.title[1:]} {engine.name!r}"
    mark = "ok" if health.ok else "bad"
    rows = [("health", str(health)), *_facts(engine)]
    return (
        f'<div style="margin:2px 0 10px">{note(mark, title, (str(health.state),))}'
        f'<div style="margin-left:18px">{data_table(("", ""), rows)}</div></div>'
    )


def _facts(engine: Engine) -> list[tuple[str, str]]:
    facts = [
        ("address", engine.url or ""),
        ("process", str(engine.pid or "")),
        ("log", str(engine.log_path or "")),
        ("images", str(engine.output_dir)),
    ]
    facts += [("note", f"{found.meaning} {found.remedy}") for found in engine.notices()]
    return [(name, value) for name, value in facts if value]


def _text(engine: Engine, health: Health) -> str:
    lines = [f"{engine!r}", f"    {health}"]
    lines += [f"    {name:<8} {value}" for name, value in _facts(engine)]
    return "\n".join(lines)
