"""Whether the checkout is whole, its settings are sound, and Fooocus may write where it writes."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fooocus_nb.doctor.machine import existing
from fooocus_nb.doctor.report import Check, Status, format_bytes
from fooocus_nb.errors import FooocusError
from fooocus_nb.fooocus.checkout.downloads import find_downloads
from fooocus_nb.fooocus.checkout.installation import read_version
from fooocus_nb.fooocus.checkout.login_file import AUTH_FILE, logins_of
from fooocus_nb.fooocus.checkout.model_files import find_renamed_models
from fooocus_nb.fooocus.plain_files import read_plain_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fooocus_nb.fooocus.checkout.config_txt import Settings
    from fooocus_nb.fooocus.checkout.downloads import Download

__all__ = [
    "config_checks",
    "corrupted_check",
    "login_checks",
    "models_check",
    "permission_check",
    "version_check",
    "written_folders",
]

SHOWN = 6
#: Users and their passwords: a large one is none.
MAX_AUTH_BYTES = 1_000_000


def version_check(checkout: Path) -> Check:
    """Say which Fooocus it is."""
    told = {"path": str(checkout), "version": None}
    try:
        version = read_version(checkout)
    except FooocusError as error:
        advice = "Get it anew with: git clone https://github.com/lllyasviel/Fooocus"
        return Check("checkout", "checkout", Status.FAILURE, str(error), advice, told)
    text = f"Fooocus {version} in {checkout}"
    return Check("checkout", "checkout", Status.OK, text, "", told | {"version": version})


def config_checks(settings: Settings) -> Iterator[Check]:
    """Yield a line ``config`` for each thing that is wrong with ``config.txt``, or a good one."""
    told = {"path": str(settings.path), "settings": len(settings.values)}
    check = ("config", "config.txt")
    if (settings.checkout / "user_path_config.txt").exists():
        text = "user_path_config.txt, of an early version, makes Fooocus ask a question at start"
        advice = "Move its folders into config.txt and remove it."
        yield Check(*check, Status.WARNING, text, advice, told)
    if not settings.path.exists():
        text = "none yet; Fooocus writes one at its first start"
        yield Check(*check, Status.OK, text, "", told)
    elif not settings.problems:
        text = f"{settings.path} is sound, with {len(settings.values)} settings"
        yield Check(*check, Status.OK, text, "", told)
    for problem in settings.problems:
        status = Status.FAILURE if problem.serious else Status.WARNING
        yield Check(*check, status, problem.text, problem.advice, told)


def login_checks(checkout: Path) -> Iterator[Check]:
    """Yield a line ``login`` where the checkout has its engine ask for user and password."""
    path = checkout / AUTH_FILE
    if not path.is_file():
        return
    text = f"{AUTH_FILE} in the checkout has the engine ask for a login, also on this machine"
    advice = "We log in with the user and the password in it."
    users = _users(path)
    if users and not logins_of(checkout):
        advice = f'{AUTH_FILE} holds no password, only its hash: give auth=("user", "secret").'
    if users is None:
        text = (
            f"{AUTH_FILE} in the checkout cannot be read, so it has no effect: nobody need log in"
        )
        advice = 'It is a list of objects with "user" and "pass", as JSON.'
    if users == 0:
        text = f"{AUTH_FILE} in the checkout names no user with a password, so nobody can log in"
        advice = 'Give each of its objects a "user" and a "pass", or remove the file.'
    told = {"path": str(path), "users": users}
    yield Check("login", "login", Status.WARNING, text, advice, told)


def _users(path: Path) -> int | None:
    """Return how many users with a password a file names; None where Fooocus leaves it."""
    try:
        content = json.loads(read_plain_file(path, MAX_AUTH_BYTES).decode())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, list) or not content:
        return None
    if not all(isinstance(entry, dict | str | list) for entry in content):
        return None
    return sum(
        isinstance(entry, dict) and "user" in entry and bool({"pass", "hash"} & set(entry))
        for entry in content
    )


def written_folders(settings: Settings) -> list[Path]:
    """Return where Fooocus writes: outputs and models, beside its own folder and the temp one."""
    made = [key for key, setting in settings.known.items() if setting.folder and setting.made]
    outputs = [folder for key in made or ["path_outputs"] for folder in settings.folders(key)]
    return list(dict.fromkeys([*(outputs or [settings.checkout / "outputs"])]))


def permission_check(settings: Settings) -> Check:
    """Look whether the folders in which Fooocus writes can be written in; nothing is tried."""
    folders = [
        settings.checkout,
        *written_folders(settings),
        *settings.model_folders(),
        Path(tempfile.gettempdir()),
    ]
    barred = [folder for folder in dict.fromkeys(folders) if not _writable(folder)]
    told = {"not_writable": [str(folder) for folder in barred]}
    if barred:
        text = f"may not write in {_some([str(folder) for folder in barred])}"
        advice = "Give this user the right to, or name other folders in config.txt."
        return Check("permissions", "permissions", Status.FAILURE, text, advice, told)
    text = "outputs, models and temporary files can be written"
    return Check("permissions", "permissions", Status.OK, text, "", told)


def _writable(folder: Path) -> bool:
    there = existing(folder)
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def models_check(settings: Settings) -> tuple[Check, list[Download]]:
    """Say what will be downloaded at the first start.

    Returns
    -------
    tuple of (Check, list of Download)
        The line ``models``, and the models that are missing.
    """
    wanted = find_downloads(settings)
    missing = [model for model in wanted if not model.present]
    told = {
        "wanted": len(wanted),
        "missing": [
            {"name": model.name, "url": model.url, "size": model.size} for model in missing
        ],
    }
    check = ("models", "models")
    if not wanted:
        text = "the checkout does not say which it downloads"
        return Check(*check, Status.OK, text, "", told), missing
    if not missing:
        text = f"all {len(wanted)} that it would download are there"
        return Check(*check, Status.OK, text, "", told), missing
    named = [
        f"{model.name} ({'size unknown' if model.size is None else format_bytes(model.size)})"
        for model in missing
    ]
    text = f"{len(missing)} of {len(wanted)} will be downloaded: {_some(named)}"
    advice = "The first start takes as long as that. Files that you have can be put there by hand."
    return Check(*check, Status.WARNING, text, advice, told), missing


def corrupted_check(settings: Settings) -> Check:
    """Look for model files that Fooocus has renamed to ``*.corrupted``."""
    found = find_renamed_models(settings.model_folders())
    told = {
        "files": [
            {"path": str(file.path), "whole": file.whole, "reason": file.reason} for file in found
        ]
    }
    check = ("corrupted", "renamed models")
    if not found:
        return Check(*check, Status.OK, "no *.corrupted", "", told)
    text = "; ".join(f"{file.path}: {file.reason}" for file in found[:SHOWN])
    advice = "Download anew what is cut short, and remove the renamed file."
    if any(file.whole is not False for file in found):
        advice = f"fooocus-nb doctor --restore renames back what is whole. {advice}"
    return Check(*check, Status.WARNING, text, advice, told)


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + more
