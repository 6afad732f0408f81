"""Who may import whom, held by reading the source; and that importing the package is cheap."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fooocus_nb

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(fooocus_nb.__file__).parent

#: The floors of the house, from the ground up. A room sees its own floor and those below.
FLOORS = (
    {"_frames", "_html", "_version", "errors"},
    {"supervise"},
    {"fooocus"},
    {
        "_cell",
        "_feed",
        "_loop",
        "_orders",
        "_own_lines",
        "_parts",
        "_steered",
        "_thumbnails",
        "album",
        "catalogues",
        "checkup",
        "child",
        "config",
        "engine",
        "failures",
        "found",
        "guard",
        "harvest",
        "health",
        "job",
        "jobrecords",
        "lifecycle",
        "listing",
        "living",
        "logfolders",
        "manager",
        "outputs",
        "questions",
        "recovery",
        "restarting",
        "results",
        "reuse",
        "sharing",
        "snapshot",
        "turns",
        "verbs",
        "views",
        "vitals",
        "watch",
        "watched",
    },
    {"experiment"},
    {"widgets"},
    {
        "_magic_help",
        "_magic_line",
        "_magic_options",
        "_magic_pictures",
        "_transform",
        "completion",
        "magics",
        "server",
    },
    {"_engine_commands", "_terminal", "cli", "quickstart"},
)
#: The one door upwards: `engine.logs()` and its like open a widget, imported when asked for.
UPWARDS = {("views", "widgets")}
LEVEL = {room: level for level, floor in enumerate(FLOORS) for room in floor}
UNKNOWN = "give {!r} a floor in this test: what may it import, and who may import it?"
JUPYTER = {"IPython", "anywidget", "ipykernel", "ipywidgets", "jupyter_server", "tornado"}
HEAVY = JUPYTER | {"PIL", "gradio_client", "httpx", "numpy", "psutil", "websockets"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """The absolute name and line of every import that is not only for types."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for statement in block.body
        for node in ast.walk(statement)
    }
    package = ("fooocus_nb", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join((*base, *(node.module or "").split("."))).rstrip(".")
            yield name, node.lineno
            if name == "fooocus_nb":  # `from fooocus_nb import engine` names a room, too
                for alias in node.names:
                    yield f"fooocus_nb.{alias.name}", node.lineno


def rooms_of(name: str) -> str | None:
    """The room that a module name, or a name at the front door, leads into."""
    parts = name.split(".")
    if parts[0] != "fooocus_nb" or len(parts) == 1:
        return None
    return {"__version__": "_version"}.get(parts[1], fooocus_nb._HOME.get(parts[1], parts[1]))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_downwards(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return  # the front door names everything, and loads it late
    wrong = []
    for name, line in imports_of(path):
        other = rooms_of(name)
        if other is None or other == room:
            continue
        assert other in LEVEL or other == "demo", UNKNOWN.format(other)
        if room == "demo":
            fine = other in {"fooocus", *FLOORS[0]}
        else:
            assert room in LEVEL, UNKNOWN.format(room)
            fine = other != "demo" and LEVEL[other] <= LEVEL[room]
            fine = fine or (room, other) in UPWARDS
        if not fine:
            wrong.append(f"line {line}: {room} imports {name}")
    assert not wrong


@pytest.mark.parametrize("room", ["_frames.py", "errors.py", "supervise"])
def test_the_ground_floor_stands_on_the_standard_library(room: str) -> None:
    place = PACKAGE / room
    for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
        for name, line in imports_of(path):
            top = name.split(".")[0]
            assert top == "fooocus_nb" or top in sys.stdlib_module_names, f"{path}:{line}: {name}"


@pytest.mark.parametrize("room", ["supervise", "fooocus"])
def test_the_engine_rooms_know_nothing_of_jupyter(room: str) -> None:
    for path in sorted((PACKAGE / room).rglob("*.py")):
        wrong = [name for name, _ in imports_of(path) if name.split(".")[0] in JUPYTER]
        assert not wrong, f"{path} imports {wrong}"


def test_the_shim_runs_without_the_package() -> None:
    """It is started with `python -I -S`, where nothing of ours can be found."""
    tops = {name.split(".")[0] for name, _ in imports_of(PACKAGE / "supervise" / "shim.py")}
    assert tops <= sys.stdlib_module_names | {"fooocus_nb"}


def loaded_by(statement: str) -> set[str]:
    """The top-level modules in a fresh interpreter after `statement`."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    return {name.split(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize(
    "statement",
    ["import fooocus_nb", "import fooocus_nb.cli", "import fooocus_nb.supervise"],
)
def test_importing_it_loads_nothing_heavy(statement: str) -> None:
    before = loaded_by("pass")  # a .pth file of the environment may load something by itself
    assert not (loaded_by(statement) - before) & HEAVY


def test_the_engine_loads_no_widgets() -> None:
    before = loaded_by("pass")
    late = {"anywidget", "gradio_client", "ipywidgets"}
    assert not (loaded_by("import fooocus_nb.engine, fooocus_nb.manager") - before) & late


@pytest.mark.parametrize("name", fooocus_nb.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(fooocus_nb, name) is not None
    assert name in dir(fooocus_nb)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        fooocus_nb.nonsense  # noqa: B018


def test_the_public_names_are_sorted() -> None:
    names = [name for name in fooocus_nb.__all__ if not name.startswith("_")]
    assert names == sorted(names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_offers(path: Path) -> None:
    """A renamed function does not leave its old name behind in `__all__`."""
    if path.name in {"__main__.py", "shim.py"} or room_of(path) == "__init__":
        return
    if sys.platform != "win32" and path.name == "_windows.py":
        return
    name = ".".join(("fooocus_nb", *path.relative_to(PACKAGE).with_suffix("").parts))
    module = importlib.import_module(name.removesuffix(".__init__"))
    for public in getattr(module, "__all__", ()):
        assert hasattr(module, public), f"{name}.__all__ names {public!r}"
