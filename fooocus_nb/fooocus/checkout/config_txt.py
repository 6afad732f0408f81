"""Reads and checks the ``config.txt`` of a checkout.

Nothing about a version is built in: the settings, their types and defaults are read from the
source of the checkout, of which nothing is run.
"""

from __future__ import annotations

import ast
import json
import numbers
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fooocus_nb.errors import nearest
from fooocus_nb.fooocus.checkout._limits import Limits, limits_of, literals_of
from fooocus_nb.fooocus.checkout._source import literal, parse_source
from fooocus_nb.fooocus.plain_files import read_plain_file

__all__ = ["Problem", "Setting", "Settings", "read_json", "read_settings"]

CONFIG_FILE = "config.txt"
#: Where the versions read their settings.
SOURCES = ("modules/config.py", "modules/path.py")
#: Where they keep the lists of what may be chosen.
CHOICES = "modules/flags.py"
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


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in ``config.txt`` that is not as it should be."""

    #: What, and what to do.
    text: str
    advice: str
    #: Whether the whole file is ignored for it.
    serious: bool = False


@dataclass(frozen=True)
class Settings:
    """The settings of one checkout."""

    checkout: Path
    #: Its ``config.txt``, which need not be there.
    path: Path
    #: All that this version reads, by key; empty where its source does not tell.
    known: dict[str, Setting] = field(default_factory=dict)
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
    known = _known(checkout)
    # Fooocus itself reads an environment variable of this name.
    path = checkout / (os.environ.get("config_path") or CONFIG_FILE)  # noqa: SIM112
    if not path.exists():
        return Settings(checkout, path, known)
    values, problems = read_json(path)
    settings = Settings(checkout, path, known, values)
    for key, value in values.items():
        problems += _problems(settings, key, value)
    return Settings(checkout, path, known, values, tuple(problems))


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
        if not settings.known:
            return []
        text = f"{name}: this version has no setting {key!r}.{nearest(key, settings.known)}"
        return [Problem(text, f"Correct or remove {key!r}.")]
    if setting.types and not _fits(value, setting.types):
        expected = " or ".join(
            dict.fromkeys(_WORDS.get(kind, kind.__name__) for kind in setting.types)
        )
        text = f"{name}: {key} is {json.dumps(value)[:80]}, and should be {expected}."
        return [Problem(text, "Correct it; until then Fooocus uses its own default.")]
    if setting.folder:
        return _folder_problems(settings, setting, value)
    if value not in (None, "") and (wanted := setting.limits.complaint(value)):
        hint = nearest(value, map(str, setting.limits.choices)) if isinstance(value, str) else ""
        text = f"{name}: {key} is {json.dumps(value)[:80]}, and should be {wanted}.{hint}"
        return [Problem(text, "Correct it; until then Fooocus uses its own default.")]
    return []


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
    if setting.made:
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


def _known(checkout: Path) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    flags = parse_source(checkout / CHOICES)
    choices = literals_of(flags) if flags else {}
    for source in SOURCES:
        tree = parse_source(checkout / source)
        if tree is None:
            continue
        literals = choices | literals_of(tree)
        readers = _readers(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                parameters = readers.get(node.func.id)
                setting = _setting(node, parameters, literals) if parameters else None
                if setting is not None:
                    found.setdefault(setting.key, setting)
    return found


def _readers(tree: ast.Module) -> dict[str, list[str]]:
    """Return the functions that read a setting, by their first parameter, with all parameters."""
    return {
        node.name: [argument.arg for argument in node.args.args]
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.args.args and node.args.args[0].arg == "key"
    }


def _setting(
    call: ast.Call, parameters: list[str], literals: dict[str, tuple[object, ...]]
) -> Setting | None:
    given = dict(zip(parameters, call.args, strict=False))
    given |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    key = literal(given.get("key"))
    if not isinstance(key, str):
        return None
    default = literal(given.get("default_value", given.get("default")))
    if key.startswith("path_") or key.endswith("_path"):
        made = literal(given.get("make_directory")) is True
        return Setting(key, (), default, folder=True, made=made)
    types = _types(given.get("expected_type"), default)
    return Setting(key, types, default, limits=limits_of(given.get("validator"), literals))


def _types(expected: ast.expr | None, default: Any) -> tuple[type, ...]:
    if expected is not None:
        return TYPES.get(ast.unparse(expected).rpartition(".")[2], ())
    if default is None:
        return ()
    # Of a number one cannot tell whether it has to be whole; a text may stand for a choice.
    is_number = isinstance(default, numbers.Number) and not isinstance(default, bool)
    return TYPES["Number"] if is_number else (type(default),)
