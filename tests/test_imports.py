"""Who may import whom, held by reading the source; and that importing the package is cheap."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import json
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fooocus_nb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PACKAGE = Path(fooocus_nb.__file__).parent
PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"

#: The floors of the house, from the ground up. A room sees itself and the floors below its own.
FLOORS: tuple[set[str], ...] = (
    {"_advice", "_secrets"},
    {"_html"},
    {"errors"},
    {"_background"},
    {"fooocus", "supervisor"},
    {"results"},
    {"engine"},
    {"experiment"},
    {"doctor", "options", "widgets"},
    {"install"},
    {"cli", "magics", "server"},
)
#: Rooms that issues name and that do not stand yet; an entry fails once its room exists.
TO_COME: set[str] = set()
#: The floors inside a room or a folder of it, from the ground up: a module (or a folder) sees those
#: before it, and those that stand beside it on the same floor as long as they make no circle.
INSIDE: Mapping[str, tuple[set[str], ...]] = {
    "supervisor": (
        {"_debugger", "_windows", "_masking", "_rotate", "protocol", "log_files"},
        {"_platform"},
        {"_drain", "_place", "_watcher", "_resources", "system", "guardian_handle"},
        {"guardian", "process", "registry"},
    ),
    "fooocus": (
        {"given", "limits", "performance", "plain_files", "whole_files"},
        {"transport"},
        {"events"},
        {"outputs"},
        {"schema"},
        {"metadata", "logs", "checkout"},
        {"requests"},
        {"client"},
    ),
    "fooocus.transport": ({"data_uris", "login"}, {"http"}, {"__init__"}, {"gradio3", "gradio4"}),
    "fooocus.schema": (
        {"_alignment", "_report", "_template", "config"},
        {"parameters"},
        {"named_values"},
        {"naming", "calls"},
        {"__init__"},
        {"named_api", "updates"},
    ),
    "fooocus.requests": ({"images", "tasks"}, {"shorthands"}, {"lint"}, {"__init__"}),
    "fooocus.checkout": (
        {"_expressions", "_limits", "_source", "interpreter"},
        {"installation", "config_txt", "login_file", "model_files"},
        {"command", "downloads"},
    ),
    "results": (
        {"file_names", "thumbnails"},
        {"output_folder"},
        {"cell"},
        {"_views"},
        {"__init__"},
        {"history"},
    ),
    "engine": (
        {"free_memory", "interrupts", "names"},
        {"config"},
        {"old_logs"},
        {"folders", "unmanaged"},
        {"page_records"},
        {"grants", "log_pages"},
        {"state"},
        {"queue"},
        {"child_process"},
        {"asleep_records", "sleeping"},
        {"sharing"},
        {"health"},
        {"failures"},
        {"watchdog", "log_follower"},
        {"lifecycle"},
        {"liveness"},
        {"facts"},
        {"jobs"},
        {"presenters", "submission"},
        {"portable"},
        {"queries"},
        {"image_tasks"},
        {"core"},
        {"manager"},
        {"listing"},
    ),
    "engine.jobs": (
        {"control"},
        {"stream"},
        {"job_log"},
        {"unchanged"},
        {"image_collector"},
        {"observers"},
        {"records"},
        {"cell_requests"},
        {"context"},
        {"recovery"},
        {"job"},
        {"found_job"},
    ),
    "experiment": (
        {"folder", "hashing", "opened", "privacy", "templates", "text_forms"},
        {"archive", "lease", "manifest", "identity", "relevance", "similarity"},
        {
            *("index", "inputs", "members", "provenance", "axes", "conditions", "estimates"),
            "causes",
        },
        {"attempts", "cells", "completion"},
        {"adoption", "order", "progress"},
        {"recorder"},
        {"sweep_protocols", "fonts", "protocols"},
        {"checks", "resume", "labels", "sheet_layout"},
        {"workers", "grid_data", "table"},
        {"runner", "contact_sheet", "measures", "pool", "replay", "verification", "remote"},
        {"dask", "grid_plan", "remaking", "share_page"},
        {"executor", "plan"},
        {"sweep_workers"},
        {"making", "compare", "run_table", "share", "verify"},
        {"run"},
        {"launch"},
        {"sweep"},
        {"plan_file"},
    ),
    "widgets": (
        {"_assets", "_byte_cache", "_html", "_requests"},
        {
            "_gallery_items",
            "_run_source",
            "monitor_widget",
            "panel_form",
            "panel_values",
            "sweep_widget",
        },
        {"renderer", "status", "display_backends"},
        {"layouts"},
        {"base", "job_monitor", "sweep_monitor"},
        {
            "gallery",
            "install_monitor",
            "log_view",
            "mask_editor",
            "page",
            "run_grid",
            "start_monitor",
        },
        {"engine_monitor"},
        {"panel"},
    ),
    "install": (
        {"_whole", "constraints", "hardware", "progress", "release", "room", "target"},
        {"programs"},
        {"packages", "pythons", "source"},
        {"installer"},
        {"__init__"},
    ),
    "options": ({"parameters", "values"}, {"generation"}, {"sweeps"}),
    "magics": (
        {"variables", "saved_notebook"},
        {"sweep_options"},
        {"verb", "image_options", "session", "loop_monitor"},
        {"resuming"},
        {"verbs"},
        {"parsing"},
        {"sweeping"},
        {"generation"},
        {"dispatch"},
        {"completion", "magic", "transform"},
        {"__init__"},
    ),
    "cli": (
        {"command", "executing", "progress_bar", "quickstart", "report", "run_folder", "schemas"},
        {"command_line", "engine_options", "input_files", "notebook_run"},
        {"generating"},
        {"commands"},
        {"__init__"},
        {"__main__"},
    ),
    "server": (
        {"_proxy_rewrite", "base_url", "byte_range", "server_record", "versions"},
        {"_proxy_pages", "commands", "directory", "image_list", "thumbnail_cache"},
        {"backstop", "events", "services"},
        {"base", "watch"},
        {"engines", "images", "logs", "page_answers", "status"},
        {"_proxy"},
        {"ui"},
        {"routes"},
        {"app"},
        {"__init__"},
    ),
}
#: The one door upwards: engine and results open every view through it.
DOOR = ("results._views", "widgets")
#: These two types know each other, and no others do.
PAIR = {"fooocus_nb.engine.core", "fooocus_nb.engine.jobs.job"}
#: What is private to its folder and may still be imported from elsewhere, each with the reason.
OPEN_PRIVATES = {"fooocus_nb.results._views": "the one door upwards, for engine and results"}
UNKNOWN = "give {!r} a floor in this test: what may it import, and who may import it?"
JUPYTER = {"IPython", "anywidget", "ipykernel", "ipywidgets", "jupyter_server", "tornado"}
HEAVY = JUPYTER | {"PIL", "gradio_client", "httpx", "numpy", "psutil", "websockets"}
#: Hard dependencies that nothing imports yet, with the room that will.
UNTIL_A_ROOM_STANDS: dict[str, str] = {}
IMPORT_NAMES = {"ipython": "IPython", "jupyter-server": "jupyter_server", "pillow": "PIL"}


@dataclass(frozen=True)
class Import:
    """One import statement's target. `kind` is module, lazy (in a function) or types."""

    source: str
    target: str
    line: int
    kind: str


@functools.cache
def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(("fooocus_nb", *path.relative_to(PACKAGE).with_suffix("").parts))
        found[name.removesuffix(".__init__")] = path
    return found


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _statements(node: ast.AST, kind: str) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, kind
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for statement in child.body:
                yield from _statements(ast.Module([statement], []), "types")
            for statement in child.orelse:
                yield from _statements(ast.Module([statement], []), kind)
        else:
            late = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _statements(child, "lazy" if late and kind == "module" else kind)


def _names(path: Path, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    package = ("fooocus_nb", *path.relative_to(PACKAGE).parts[:-1])
    base = package[: len(package) - node.level + 1] if node.level else ()
    name = ".".join((*base, *(node.module or "").split("."))).rstrip(".")
    for alias in node.names:
        yield f"{name}.{alias.name}"


def _home(name: str) -> str:
    """The module that a dotted name leads into: names at the front door lead to their homes."""
    parts = name.split(".")
    if parts[0] != "fooocus_nb":
        return name
    if len(parts) == 2 and name not in modules():
        name = fooocus_nb._homes().get(parts[1], name)
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name


@functools.cache
def imports() -> tuple[Import, ...]:
    found = []
    for source, path in modules().items():
        for node, kind in _statements(tree_of(path), "module"):
            for name in _names(path, node):
                found.append(Import(source, _home(name), node.lineno, kind))
    return tuple(found)


def inner_imports() -> list[Import]:
    """Those of our own modules, the front door's left out: it names everything, and loads late."""
    return [
        found
        for found in imports()
        if found.target.startswith("fooocus_nb.")
        and found.source not in ("fooocus_nb", found.target)
    ]


def room_of(module: str) -> str:
    return module.split(".")[1]


LEVEL = {room: level for level, floor in enumerate(FLOORS) for room in floor}


def _is_the_door(found: Import) -> bool:
    return (found.source.removeprefix("fooocus_nb."), room_of(found.target)) == DOOR


def test_imports_between_rooms_go_down() -> None:
    wrong = []
    for found in inner_imports():
        room, other = room_of(found.source), room_of(found.target)
        if room == other or _is_the_door(found):
            continue
        if room == "demo":
            fine = other == "fooocus" or LEVEL[other] < LEVEL["fooocus"]
        else:
            assert room in LEVEL, UNKNOWN.format(room)
            assert other in LEVEL or other == "demo", UNKNOWN.format(other)
            fine = other != "demo" and LEVEL[other] < LEVEL[room]
        if not fine:
            wrong.append(f"{found.source}:{found.line} imports {found.target} ({found.kind})")
    assert not wrong


def _place(module: str, folder: str) -> str | None:
    """What of a folder a module is, or is in; None for a module of another folder."""
    parts, home = module.split("."), ["fooocus_nb", *folder.split(".")]
    if parts[: len(home)] != home:
        return None
    return parts[len(home)] if len(parts) > len(home) else "__init__"


@pytest.mark.parametrize("room", sorted(INSIDE))
def test_imports_inside_a_room_go_down(room: str) -> None:
    level = {name: number for number, floor in enumerate(INSIDE[room]) for name in floor}
    there = {place for module in modules() if (place := _place(module, room)) is not None}
    assert set(level) - {"__init__"} == there - {"__init__"}, UNKNOWN.format(room)
    wrong = []
    for found in inner_imports():
        source, target = _place(found.source, room), _place(found.target, room)
        if source is None or target is None:
            continue
        if "__init__" in (source, target) and "__init__" not in level:
            continue  # a folder's own list of names
        if {found.source, found.target} == PAIR and found.kind == "types":
            continue
        if source != target and level[target] > level[source]:
            wrong.append(f"{found.source}:{found.line} imports {found.target} ({found.kind})")
    assert not wrong


def test_every_room_stands() -> None:
    for room in (*LEVEL, *INSIDE):
        path = PACKAGE.joinpath(*room.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), room
    for room in TO_COME:
        assert not (PACKAGE / room).exists(), f"{room!r} stands now: give it a floor"
    rooms = {room_of(f"{name}.") for name in modules() if name != "fooocus_nb"}
    assert rooms == {*LEVEL, "demo"}


def circles(edges: Iterable[tuple[str, str]]) -> list[set[str]]:
    """Sets of two and more that can all reach each other (Tarjan's strongly connected sets)."""
    after: dict[str, set[str]] = {}
    for source, target in edges:
        after.setdefault(source, set()).add(target)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in after.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            place = stack.index(node)
            ring = set(stack[place:])
            del stack[place:]
            if len(ring) > 1:
                found.append(ring)

    for node in list(after):
        if node not in index:
            visit(node)
    return found


def test_circles_are_found() -> None:
    assert circles([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")]) == [{"a", "b", "c"}]
    assert circles([("a", "b"), ("b", "c"), ("a", "c")]) == []


def test_no_circle_between_modules() -> None:
    edges = [(found.source, found.target) for found in inner_imports() if found.kind == "module"]
    assert circles(edges) == []


def test_no_circle_between_rooms_not_even_with_lazy_imports() -> None:
    edges = {
        (room_of(found.source), room_of(found.target))
        for found in inner_imports()
        if found.kind != "types" and not _is_the_door(found)
    }
    assert circles(edges) == []


def test_no_circle_with_type_imports_but_engine_and_job() -> None:
    edges = [
        (found.source, found.target)
        for found in inner_imports()
        if not _is_the_door(found) and {found.source, found.target} != PAIR
    ]
    assert circles(edges) == []


def test_the_door_is_the_only_way_to_the_widgets_from_below() -> None:
    below = {room for room, level in LEVEL.items() if level < LEVEL["widgets"]}
    ways = {
        found.source.removeprefix("fooocus_nb.")
        for found in inner_imports()
        if room_of(found.target) == "widgets" and room_of(found.source) in below
    }
    assert ways == {DOOR[0]}


def _private_part(module: str) -> str | None:
    """The folder in which a private module may be imported; None for a public one."""
    parts = module.split(".")
    for place, part in enumerate(parts):
        if part.startswith("_") and not part.startswith("__"):
            return ".".join(parts[:place])
    return None


def test_nobody_imports_the_privates_of_another_folder() -> None:
    wrong = []
    for found in inner_imports():
        home = _private_part(found.target)
        inside = home is None or found.source == home or found.source.startswith(f"{home}.")
        if not inside and found.target not in OPEN_PRIVATES:
            wrong.append(f"{found.source}:{found.line} imports {found.target}")
    for source, path in modules().items():
        for node, _ in _statements(tree_of(path), "module"):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("foo"):
                continue
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                dunder = alias.name.startswith("__")
                if alias.name.startswith("_") and not dunder and name not in modules():
                    wrong.append(f"{source}:{node.lineno} imports {name}")
    assert not wrong


def _owners(function: ast.AST) -> set[str]:
    return {"self", "cls", "super()", "type(self)"} | {
        argument.arg
        for node in ast.walk(function)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for argument in node.args.args
        if argument.annotation is not None and "Self" in ast.unparse(argument.annotation)
    }


def test_nobody_reaches_into_the_privates_of_another_object() -> None:
    """As ruff's SLF001, and for names that only another module's classes have, without excuses."""
    wrong = []
    for module, path in modules().items():
        tree = tree_of(path)
        owners = _owners(tree)
        own = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in ("self", "cls")
        } | {
            name.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            for name in node.body
            if isinstance(name, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or not node.attr.startswith("_"):
                continue
            if node.attr.startswith("__") or ast.unparse(node.value) in owners:
                continue
            if node.attr not in own and ast.unparse(node) not in DOCUMENTED:
                wrong.append(f"{module}:{node.lineno} {ast.unparse(node)}")
    assert not wrong


#: Names that begin with an underscore and are documented: of the standard library, and those that
#: IPython asks any object for.
DOCUMENTED = {"mask._repr_jpeg_", "mask._repr_png_", "os._exit"}


@pytest.mark.parametrize("room", ["_html", "_secrets", "errors", "supervisor"])
def test_the_ground_floor_stands_on_the_standard_library(room: str) -> None:
    for found in imports():
        if found.source != "fooocus_nb" and room_of(f"{found.source}.") == room:
            top = found.target.split(".")[0]
            fine = top == "fooocus_nb" or top in sys.stdlib_module_names
            assert fine, f"{found.source}:{found.line} imports {found.target}"


@pytest.mark.parametrize("room", ["supervisor", "fooocus"])
def test_the_engine_rooms_know_nothing_of_jupyter(room: str) -> None:
    wrong = [
        f"{found.source}:{found.line} imports {found.target}"
        for found in imports()
        if found.source != "fooocus_nb"
        and room_of(f"{found.source}.") == room
        and found.target.split(".")[0] in JUPYTER
    ]
    assert not wrong


def test_every_hard_dependency_is_imported() -> None:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    named = {found.target.split(".")[0] for found in imports()}
    for requirement in project["dependencies"]:
        name = requirement.split(";")[0].split("[")[0]
        for sign in "<>=!~ ":
            name = name.split(sign)[0]
        if name in UNTIL_A_ROOM_STANDS:
            room = UNTIL_A_ROOM_STANDS[name]
            assert not (PACKAGE / room).exists(), f"{room}/ stands now: {name} is to be imported"
        else:
            assert IMPORT_NAMES.get(name, name) in named, f"nothing imports {name}"


def loaded_by(statement: str) -> set[str]:
    """The top-level modules in a fresh interpreter after `statement`."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    return {name.split(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize(
    "statement",
    ["import fooocus_nb", "import fooocus_nb.cli", "import fooocus_nb.supervisor"],
)
def test_importing_it_loads_nothing_heavy(statement: str) -> None:
    before = loaded_by("pass")  # a .pth file of the environment may load something by itself
    assert not (loaded_by(statement) - before) & HEAVY


def test_the_engine_loads_no_widgets() -> None:
    before = loaded_by("pass")
    late = {"anywidget", "gradio_client", "ipywidgets"}
    loaded = loaded_by("import fooocus_nb.engine.core, fooocus_nb.engine.manager")
    assert not (loaded - before) & late


@pytest.mark.parametrize("name", fooocus_nb.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(fooocus_nb, name) is not None
    assert name in dir(fooocus_nb)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        fooocus_nb.nonsense  # noqa: B018


def test_every_exception_is_at_the_front_door() -> None:
    errors = importlib.import_module("fooocus_nb.errors")
    kinds = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, Exception) and not name.startswith("_")
    }
    assert kinds - set(fooocus_nb.__all__) == set()


def test_a_public_name_wins_over_a_room_of_the_same_name() -> None:
    code = (
        "import fooocus_nb.doctor.report, fooocus_nb.doctor, fooocus_nb\n"
        "assert callable(fooocus_nb.doctor), fooocus_nb.doctor"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("module", list(modules()))
def test_every_module_says_what_it_offers(module: str) -> None:
    """A renamed function does not leave its old name behind in `__all__`."""
    if module.endswith("__main__") or module in ("fooocus_nb", "fooocus_nb.supervisor.guardian"):
        return
    if sys.platform != "win32" and module.endswith("._windows"):
        return
    found = importlib.import_module(module)
    for public in getattr(found, "__all__", ()):
        assert hasattr(found, public), f"{module}.__all__ names {public!r}"
