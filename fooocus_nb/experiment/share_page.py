"""The page of a shared run: one HTML file that shows the run, and is its archive as well."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Any, Protocol

from fooocus_nb import __version__, _html
from fooocus_nb.errors import FooocusError
from fooocus_nb.experiment.archive import pack
from fooocus_nb.experiment.grid_data import grid_data
from fooocus_nb.experiment.protocols import RunView

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fooocus_nb.experiment.manifest import Manifest

__all__ = ["PageRun", "run_page"]

#: So many manifests tell how the images of a run were made.
MAX_MANIFESTS = 2000


class PageRun(RunView, Protocol):
    """What is needed of the run that a page shows."""

    @property
    def manifests(self) -> Iterator[Manifest]:
        """Every manifest."""

    def facts(self) -> list[str]:
        """Return what there is to say of it."""


def run_page(
    target: Path, shared: PageRun, records: Mapping[str, bytes], thumbnails: Mapping[str, bytes]
) -> bytes:
    """Return the page of a run.

    Parameters
    ----------
    target : Path
        Where it will be.
    shared : PageRun
        The run as it is shared: all that the page shows is read from it.
    records : mapping of str to bytes
        The text files that the page holds as an archive, by name.
    thumbnails : mapping of str to bytes
        The small images, by the name of the image.

    Returns
    -------
    bytes
        HTML that needs nothing else.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    from fooocus_nb.results._views import run_grid_assets, run_grid_data

    grid, details = run_grid_data(shared)
    grid["title"] = "Images"
    grid["where"] = (
        f"This file is the archive as well: fooocus_nb.open_run({target.name!r}) opens the run."
    )
    script, sheet = run_grid_assets()
    script = f"(() => {{\n{script}\n{_asset('page.js')}\n}})();"
    sheet = f"{sheet}\n{_asset('page.css')}"
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    template = environment.from_string(_asset("run.html.jinja"))
    page = template.render(
        title=_html.clip(target.stem, 80),
        facts=[fact for fact in shared.facts() if not fact.startswith("only to be read")],
        made=_made_rows(shared),
        policy=_policy(script, sheet),
        sheet=Markup(sheet),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own files
        grid=Markup(_inert(grid)),  # noqa: S704 - escaped for a script element
        details=Markup(_base64(pack(_details_files(details)))),  # noqa: S704 - base64
        thumbnails=[
            (name, Markup(_base64(data)))  # noqa: S704 - base64
            for name, data in thumbnails.items()
        ],
        archive=Markup(_base64(pack(records))),  # noqa: S704 - base64
        version=__version__,
    )
    return page.encode("utf-8", "replace")


def _details_files(details: Mapping[str, Any]) -> dict[str, bytes]:
    return {key: json.dumps(value).encode() for key, value in details.items()}


def _asset(name: str) -> str:
    return (package_files("fooocus_nb.experiment") / "page" / name).read_text(encoding="utf-8")


def _inert(value: Any) -> str:
    """Return JSON that nothing in it can end the script element of, or is markup."""
    text = json.dumps(value, allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _policy(script: str, sheet: str) -> str:
    """Return the content security policy: this script, this sheet, and images made of its data."""
    digests = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
        for text in (script, sheet)
    ]
    return (
        f"default-src 'none'; script-src 'sha256-{digests[0]}'; style-src 'sha256-{digests[1]}'; "
        "img-src blob: data:; base-uri 'none'; form-action 'none'"
    )


def _made_rows(shared: PageRun) -> list[tuple[str, str]]:
    """Return what is worth saying of how all images were made, each value once."""
    found: dict[str, dict[str, None]] = {}

    def add(name: str, value: Any) -> None:
        if value not in (None, "", [], ()):
            shown = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            found.setdefault(name, {})[_html.clip(shown, 200)] = None

    for manifest in _some(shared.manifests):
        demo = manifest.engine.get("demo")
        add("Engine", "the demo engine, which draws without AI" if demo else None)
        for label, name in (("Fooocus", "version"), ("Fork", "fork"), ("Commit", "commit")):
            add(label, manifest.fooocus.get(name))
        add("Flags", manifest.fooocus.get("flags"))
        add("Preset", manifest.fooocus.get("preset"))
        for model in manifest.models:
            digest = f" ({model.sha256[:12]})" if model.sha256 else ""
            add("Models", f"{model.name}{digest}")
        for label, name in (("GPU", "gpu"), ("torch", "torch"), ("CUDA", "cuda")):
            add(label, manifest.system.get(name))
        add("Made", manifest.created[:10])
    rows = [(name, ", ".join(list(values)[:8])) for name, values in found.items()]
    fixed = grid_data(shared).fixed
    rows += [(name, _html.clip(text, 400)) for name, text in fixed.items() if name == "prompt"]
    return rows


def _some(manifests: Iterator[Any]) -> Iterator[Any]:
    for number, manifest in enumerate(manifests):
        if number >= MAX_MANIFESTS:
            return
        with contextlib.suppress(FooocusError):
            yield manifest
