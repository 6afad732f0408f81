"""Reads and checks the ``config.txt`` of a checkout.

Nothing about a version is built in: the settings, their types and defaults are read from the
source of the checkout, of which nothing is run.
"""

from __future__ import annotations

import ast
import enum
import json
import numbers
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.errors import nearest
from fooocus_nb.fooocus.checkout._expressions import Function, Unknown, define, evaluate
from fooocus_nb.fooocus.checkout._limits import Limits, limits_of
from fooocus_nb.fooocus.checkout._source import literal, parse_source
from fooocus_nb.fooocus.plain_files import read_plain_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Problem", "Setting", "Settings", "read_json", "read_settings"]

CONFIG_FILE = "config.txt"
#: Where the versions read their settings.
SOURCES = ("modules/config.py", "modules/path.py")
#: Where they keep the lists of what may be chosen.
CHOICES = "modules/flags.py"
STYLES = "modules/sdxl_styles.py"
STYLE_FILES = "sdxl_styles"
MAX_BYTES = 4_000_000
#: The types that the source may name, and what JSON gives for them.
TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "dict": (dict,),
    "float": (int, float),
    "int": (int,),
    "list": (list,),
    "Number": (int, float),
    "Real": (int, float),
    "str": (str,),
}
_HINTS = (
    ("escape", 'In JSON, a backslash is written twice: "D:\\\\\\\\models".'),
    ("property name", "Is there a comma before the last brace?"),
    ("Illegal trailing comma", "Take away the comma before the last brace."),
    ("delimiter", "Is there a comma missing at the end of the line before?"),
    ("BOM", "Save it as UTF-8 without a byte order mark."),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting that a version reads."""

    #: Its name in ``config.txt``.
    key: str
    #: What it may be; empty where the source does not tell.
    types: tuple[type, ...] = ()
    #: What it is where ``config.txt`` has none; None where that is computed.
    default: Any = None
    #: Whether it names a folder, or several.
    folder: bool = False
    #: Whether Fooocus makes that folder where there is none.
    made: bool = False
    limits: Limits = field(default_factory=Limits)
    #: What the version itself asks of a value; None where the source does not tell.
    validator: Function | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in ``config.txt`` that is not as it should be."""

    #: What, and what to do.
    text: str
    advice: str
    #: Whether the whole file is ignored for it, or Fooocus does not start.
    serious: bool = False


@dataclass(frozen=True)
class Settings:
    """The settings of one checkout."""

    checkout: Path
    #: Its ``config.txt``, which need not be there.
    path: Path
    #: All that this version reads, by key; empty where its source does not tell.
    known: dict[str, Setting] = field(default_factory=dict)
    #: What further settings begin with, whose names the source puts together.
    beginnings: tuple[str, ...] = ()
    #: What ``config.txt`` says, as far as it can be read.
    values: dict[str, Any] = field(default_factory=dict)
    #: What is wrong with it.
    problems: tuple[Problem, ...] = ()

    def folders(self, key: str) -> list[Path]:
        """Return a setting's folders: of ``config.txt`` where all can be used, else the default."""
        setting = self.known.get(key)
        given = [self.checkout / part for part in _texts(self.values.get(key))]
        if given and (all(map(_is_folder, given)) or (setting is not None and setting.made)):
            return given
        default = _texts(setting.default) if setting else []
        return [Path(os.path.normpath(self.checkout / "modules" / part)) for part in default]

    def model_folders(self) -> list[Path]:
        """Return every folder for models, whether it is there or not."""
        keys = [key for key, setting in self.known.items() if setting.folder and not setting.made]
        folders = [folder for key in keys for folder in self.folders(key)]
        return list(dict.fromkeys([*folders, self.checkout / "models"]))


def read_settings(checkout: Path) -> Settings:
    """Read the settings that a checkout knows, and its ``config.txt`` with what is wrong there."""
    # Fooocus itself reads an environment variable of this name.
    path = checkout / (os.environ.get("config_path") or CONFIG_FILE)  # noqa: SIM112
    if not path.exists():
        return Settings(checkout, path, _known(checkout, {}))
    beginnings = _beginnings(checkout)
    values, problems = read_json(path)
    known = _known(checkout, values)
    settings = Settings(checkout, path, known, beginnings, values)
    for key, value in values.items():
        problems += _problems(settings, key, value)
    return Settings(checkout, path, known, beginnings, values, tuple(problems))


def read_json(path: Path) -> tuple[dict[str, Any], list[Problem]]:
    """Read a JSON object from a file, with what is wrong about it in place of exceptions."""
    doubled: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        names = [name for name, _ in pairs]
        doubled.extend(name for name in content if names.count(name) > 1)
        return content

    try:
        if path.stat().st_size > MAX_BYTES:
            return {}, [Problem(f"{path.name} is too large to be one.", "Remove it.", True)]
        content = json.loads(read_plain_file(path, MAX_BYTES).decode(), object_pairs_hook=collect)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        hint = next((hint for word, hint in _HINTS if word in error.msg), "")
        text = f"{path.name} does not parse, so it is ignored: {error.msg} ({where})."
        return {}, [Problem(text, f"Mend {where}. {hint}".strip(), True)]
    except (OSError, ValueError, RecursionError) as error:
        text = f"{path.name} cannot be read, so it is ignored: {error}."
        return {}, [Problem(text, "Save it as plain text in UTF-8.", True)]
    if not isinstance(content, dict):
        text = f"{path.name} is no object of names and values, so it is ignored."
        return {}, [Problem(text, "It begins with { and ends with }.", True)]
    return content, [
        Problem(f"{path.name} has {name!r} twice; the last one counts.", "Remove one of them.")
        for name in dict.fromkeys(doubled)
    ]


def _problems(settings: Settings, key: str, value: Any) -> list[Problem]:
    """Return what is wrong with one value."""
    name, setting = settings.path.name, settings.known.get(key)
    if setting is None:
        if not settings.known or key.startswith(settings.beginnings):
            return []
        text = f"{name}: this version has no setting {key!r}.{nearest(key, settings.known)}"
        return [Problem(text, f"Correct or remove {key!r}.")]
    if setting.folder:
        return _folder_problems(settings, setting, value)
    if value in (None, ""):  # Fooocus takes both for "None", and its default where that is wrong
        return []
    accepted = _accepts(setting, value)
    if accepted is _Verdict.TAKEN:
        return []
    wanted, hint = _wanted(setting, value, accepted)
    if not wanted:
        return []
    advice = "Correct it; until then Fooocus uses its own default."
    if accepted is _Verdict.FATAL:
        advice = "Correct it; until then Fooocus does not start."
    text = f"{name}: {key} is {json.dumps(value)[:80]}, and should be {wanted}.{hint}"
    return [Problem(text, advice, serious=accepted is _Verdict.FATAL)]


class _Verdict(enum.Enum):
    """What a version makes of a value."""

    TAKEN = "taken"
    REFUSED = "refused"
    FATAL = "fatal"
    UNKNOWN = "unknown"


def _accepts(setting: Setting, value: Any) -> _Verdict:
    """Ask the version's own validator."""
    if setting.validator is None:
        return _Verdict.UNKNOWN
    try:
        return _Verdict.TAKEN if setting.validator(value) else _Verdict.REFUSED
    except (TypeError, KeyError, IndexError, ValueError):
        return _Verdict.FATAL  # Fooocus does not catch it
    except Exception:  # noqa: BLE001 - what is not known, and what only a broken source raises
        return _Verdict.UNKNOWN


def _wanted(setting: Setting, value: Any, accepted: _Verdict) -> tuple[str, str]:
    """Say what a value should be instead, with the nearest choice; nothing where it is fine."""
    choices = setting.limits.choices
    if wanted := setting.limits.complaint(value):
        return wanted, nearest(value, map(str, choices)) if isinstance(value, str) else ""
    # What the source names as the type is not always what its validator wants.
    if setting.types and not choices and not _fits(value, setting.types):
        kinds = dict.fromkeys(_WORDS.get(kind, kind.__name__) for kind in setting.types)
        return " or ".join(kinds), ""
    if accepted is _Verdict.UNKNOWN:
        return "", ""
    wrong = [item for item in value if not _is_taken(setting, [item])] if _is_list(value) else []
    if wrong and len(wrong) < len(value):
        return f"without {', '.join(json.dumps(item)[:40] for item in wrong[:6])}", ""
    return f"like its default, {json.dumps(setting.default)[:80]}", ""


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_taken(setting: Setting, value: Any) -> bool:
    return _accepts(setting, value) is _Verdict.TAKEN


_WORDS = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "a text",
}


def _fits(value: Any, types: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in types
    # Fooocus takes null and an empty text for "None".
    return value is None or isinstance(value, types) or (value == "" and str in types)


def _folder_problems(settings: Settings, setting: Setting, value: Any) -> list[Problem]:
    name = settings.path.name
    parts = _texts(value)
    if not parts:
        text = f"{name}: {setting.key} is {json.dumps(value)[:80]}, and should be a folder."
        return [Problem(text, "Correct it; until then Fooocus uses its own default.")]
    if setting.made and not any("\0" in part for part in parts):
        return []
    gone = [part for part in parts if not _is_folder(settings.checkout / part)]
    return [
        Problem(
            f"{name}: {setting.key} names {part!r}, which is no folder.",
            "Make it, or correct the path; until then Fooocus uses its own default.",
        )
        for part in gone
    ]


def _texts(value: Any) -> list[str]:
    """Return the texts of a setting that holds one or several; none for any other."""
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, list) and all(isinstance(part, str) and part for part in value):
        return list(value)
    return []


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that no file can have
        return False


# -- the settings in the source --------------------------------------------------------------


def _known(checkout: Path, values: Mapping[str, Any]) -> dict[str, Setting]:
    """Return the settings that a version reads, where some of them have these values."""
    found: dict[str, Setting] = {}
    shared = _shared_names(checkout)
    for source in SOURCES:
        tree = parse_source(checkout / source)
        if tree is None:
            continue
        names = dict(shared)
        define(tree, names)
        readers = _readers(tree)
        for node in ast.walk(tree):
            called = _setting_of(node, readers, names)
            if called is not None:
                found.setdefault(called.key, called)
                if isinstance(node, ast.Assign):
                    _bind(node, called, values, names)
    return found


def _beginnings(checkout: Path) -> tuple[str, ...]:
    """Return what the settings begin with whose names are put together, as in a loop."""
    trees = [tree for source in SOURCES if (tree := parse_source(checkout / source)) is not None]
    return tuple(
        start
        for tree in trees
        for readers in (_readers(tree),)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id in readers
        for key in [*node.args[:1], *(each.value for each in node.keywords if each.arg == "key")]
        if isinstance(key, ast.JoinedStr) and (start := str(literal(key.values[0]) or ""))
    )


def _setting_of(
    node: ast.AST, readers: Mapping[str, list[str]], names: Mapping[str, Any]
) -> Setting | None:
    """Return the setting that is read there, by a call or to be assigned."""
    call = node.value if isinstance(node, ast.Assign) else node
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        return None
    parameters = readers.get(call.func.id)
    return _setting(call, parameters, names) if parameters else None


def _bind(
    node: ast.Assign, setting: Setting, values: Mapping[str, Any], names: dict[str, Any]
) -> None:
    """Give a setting's names the value that it has, since validators of later ones may use it."""
    value = values.get(setting.key, setting.default)
    if _accepts(setting, value) is not _Verdict.TAKEN:
        value = setting.default
    for target in node.targets:
        if isinstance(target, ast.Name):
            names[target.id] = value


def _shared_names(checkout: Path) -> dict[str, Any]:
    """Return what the modules with lists of choices define, as far as it is known."""
    names: dict[str, Any] = {}
    for source in (STYLES, CHOICES):
        if (tree := parse_source(checkout / source)) is not None:
            define(tree, names)
        if source == STYLES:
            styles = _style_names(checkout, [each for each in names.values() if _is_text(each)])
            names = {"legal_style_names": styles} if styles else {}
    return names


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


class _FoldedNames:
    """Names that are the same whatever their case and punctuation, as those of styles."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {_folded(name) for name in names}

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _folded(name) in self._names


def _folded(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _style_names(checkout: Path, others: Sequence[str]) -> _FoldedNames | None:
    """Return the styles of a checkout's files and the `others`; None where they cannot be read."""
    found: list[str] = []
    for path in sorted((checkout / STYLE_FILES).glob("*.json")):
        try:
            entries = json.loads(read_plain_file(path, MAX_BYTES))
        except (OSError, ValueError, RecursionError):
            return None
        for entry in entries if isinstance(entries, list) else []:
            name = entry.get("name") if isinstance(entry, dict) else None
            found += [name] if isinstance(name, str) else []
    return _FoldedNames([*found, *others]) if found else None


def _readers(tree: ast.Module) -> dict[str, list[str]]:
    """Return the functions that read a setting, by their first parameter, with all parameters."""
    return {
        node.name: [argument.arg for argument in node.args.args]
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and node.args.args
        and node.args.args[0].arg == "key"
        and _looks_up(node)
    }


def _looks_up(function: ast.FunctionDef) -> bool:
    """Whether a function looks something up in a table; others read the environment alone."""
    return any(
        isinstance(node, ast.Subscript)
        or (isinstance(node, ast.Attribute) and node.attr in ("get", "pop", "setdefault"))
        for node in ast.walk(function)
    )


def _setting(call: ast.Call, parameters: list[str], names: Mapping[str, Any]) -> Setting | None:
    given = dict(zip(parameters, call.args, strict=False))
    given |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    key = literal(given.get("key"))
    if not isinstance(key, str):
        return None
    written = given.get("default_value", given.get("default"))
    default = _default(written, names)
    if key.startswith("path_") or key.endswith("_path"):
        made = literal(given.get("make_directory")) is True
        return Setting(key, (), default, folder=True, made=made)
    types = _types(given.get("expected_type"), literal(written))
    validator = given.get("validator")
    asked = Function(validator, names) if isinstance(validator, ast.Lambda) else None
    setting = Setting(key, types, default, limits=limits_of(validator, names), validator=asked)
    if default is not None and _accepts(setting, default) in (_Verdict.REFUSED, _Verdict.FATAL):
        return Setting(key, types, default)  # its author, or we, are wrong about it
    return setting


def _default(node: ast.expr | None, names: Mapping[str, Any]) -> Any:
    """Return what a setting is where nobody sets it; None where that is computed."""
    try:
        found = evaluate(node, names) if node is not None else None
    except Unknown:
        return None
    return found if isinstance(found, bool | int | float | str | list | tuple | dict) else None


def _types(expected: ast.expr | None, default: Any) -> tuple[type, ...]:
    if expected is not None:
        return TYPES.get(ast.unparse(expected).rpartition(".")[2], ())
    if default is None:
        return ()
    # Of a number one cannot tell whether it has to be whole; a text may stand for a choice.
    is_number = isinstance(default, numbers.Number) and not isinstance(default, bool)
    return TYPES["Number"] if is_number else (type(default),)
