"""Whether Fooocus runs in its interpreter, and what PyTorch says there."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fooocus_nb.doctor import _probe
from fooocus_nb.doctor._run import ask
from fooocus_nb.doctor.conflicts import CONFLICTING, conflict_checks
from fooocus_nb.doctor.report import Check, Status, format_bytes
from fooocus_nb.errors import FooocusError
from fooocus_nb.fooocus.checkout.command import build_launch, free_port
from fooocus_nb.fooocus.checkout.installation import Installation
from fooocus_nb.fooocus.checkout.interpreter import find_python
from fooocus_nb.fooocus.plain_files import read_plain_file

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

__all__ = ["interpreter_checks"]

REQUIREMENTS = "requirements_versions.txt"
MAX_BYTES = 1_000_000
#: A requirement by its name; the address of a package or a file is none.
_PINNED = re.compile(
    r"^\s*([A-Za-z0-9][\w.-]*)(?=\s*(?:$|[\[=<>!~;#@]))\s*(?:\[[^\]]*\])?\s*(?:==\s*([\w.+!-]+))?"
)
OLDEST, NEWEST = (3, 10), (3, 11)
PYTHON_ADVICE = (
    "Fooocus wants Python 3.10 or 3.11. Make an environment with one of them, install its "
    "requirements_versions.txt into it, and name it with python=."
)


def interpreter_checks(
    checkout: Path, python: str | os.PathLike[str] | None, timeout: float
) -> Iterator[Check]:
    """Ask the interpreter of a checkout about itself, its packages and its device.

    Parameters
    ----------
    checkout : Path
        The folder of Fooocus, or a link to it.
    python : path-like or None
        The interpreter, where the user named one.
    timeout : float
        Seconds for its answer: importing PyTorch can take a minute on a slow disk.

    Yields
    ------
    Check
        ``interpreter``, and where it answers ``packages`` and ``torch``.
    """
    title = "interpreter"
    try:
        found = find_python(checkout, python)
    except FooocusError as error:
        yield Check("interpreter", title, Status.FAILURE, str(error), PYTHON_ADVICE)
        return
    pinned = _requirements(checkout)
    launch = build_launch(
        Installation(checkout, "", found), port=free_port(), temp_dir=Path(tempfile.gettempdir())
    )
    # As the engine will be run, but for -B: nothing is written, not even bytecode.
    names = dict.fromkeys([*pinned, *CONFLICTING])
    argv = [*launch.argv[: launch.argv.index("launch.py")], "-B", "-c", _source(), *names]
    try:
        answer = ask(argv, timeout, env=launch.env, cwd=checkout)
    except OSError as error:
        text = f"{found} cannot be run: {error.strerror or error}."
        yield Check("interpreter", title, Status.FAILURE, text, PYTHON_ADVICE)
        return
    facts = _facts(answer.output)
    if "version" not in facts:
        last = (answer.errors.strip().splitlines() or ["nothing"])[-1]
        text = f"{found} does not answer as a Python would; it said: {last[:200]}"
        yield Check("interpreter", title, Status.FAILURE, text, PYTHON_ADVICE)
        return
    yield _version_check(found, facts)
    if "packages" in facts:
        yield _package_check(facts, pinned)
        yield from conflict_checks(facts["packages"], pinned)
    yield _torch_check(facts, answer.returncode, timeout)


def _source() -> str:
    return Path(_probe.__file__).read_text(encoding="utf-8")


def _facts(output: str) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for line in output.splitlines():
        if line.startswith(_probe.MARK):
            # The last one is cut where the interpreter was ended while it wrote it.
            with contextlib.suppress(ValueError, TypeError):
                facts |= json.loads(line.removeprefix(_probe.MARK))
    return facts


def _requirements(checkout: Path) -> dict[str, str | None]:
    """Return the packages that the checkout wants, with the version where one is pinned."""
    try:
        text = read_plain_file(checkout / REQUIREMENTS, MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return {}
    matches = [match for line in text.splitlines() if (match := _PINNED.match(line))]
    return {match[1]: match[2] for match in matches}


def _version_check(python: Path, facts: dict[str, Any]) -> Check:
    version = facts["version"]
    told = {"path": str(python), "version": version, "bits": facts["bits"]}
    text = f"Python {version} in {python}"
    number = tuple(int(part) for part in version.split(".")[:2])
    if number < OLDEST or facts["bits"] != 64:
        what = "which is too old" if number < OLDEST else "which is a 32-bit one"
        status, text, advice = Status.FAILURE, f"{text}, {what}", PYTHON_ADVICE
    elif number > NEWEST:
        text += ", which is newer than what Fooocus's pinned packages were made for"
        status, advice = Status.WARNING, PYTHON_ADVICE
    else:
        status, advice = Status.OK, ""
    return Check("interpreter", "interpreter", status, text, advice, told)


def _package_check(facts: dict[str, Any], pinned: dict[str, str | None]) -> Check:
    found: dict[str, str | None] = facts["packages"]
    missing = [name for name in pinned if not found.get(name)]
    other = [
        f"{name} {found[name]} for {version}"
        for name, version in pinned.items()
        if version and found.get(name) not in (None, version)
    ]
    told = {"missing": missing, "other_version": other, "pip": facts["pip"]}
    check = ("packages", "packages")
    if not pinned:
        text = f"The checkout names none: it has no {REQUIREMENTS}."
        return Check(*check, Status.WARNING, text, "Is the checkout complete?", told)
    if not missing and not other:
        text = f"all {len(pinned)} that Fooocus pins are there"
        return Check(*check, Status.OK, text, "", told)
    parts = [f"missing: {', '.join(missing)}"] if missing else []
    parts += [f"of another version: {', '.join(other)}"] if other else []
    text = "; ".join(parts)
    if not facts["pip"] or facts["managed"]:
        why = "it has no pip" if not facts["pip"] else "it belongs to the operating system"
        advice = f"launch.py cannot install them into this Python: {why}. {PYTHON_ADVICE}"
        return Check(*check, Status.FAILURE, text, advice, told)
    advice = "launch.py installs the pinned versions at the first start. That needs the network."
    return Check(*check, Status.WARNING, text, advice, told)


def _torch_check(facts: dict[str, Any], returncode: int | None, timeout: float) -> Check:
    names = ("device", "device_name", "device_memory")
    told = {"version": facts.get("torch")} | {name: facts.get(name) for name in names}
    check = ("torch", "PyTorch")
    if "torch" not in facts and returncode is None:
        text = f"It was not imported within {timeout:g} s."
        advice = "A cold disk may be that slow: look again. Else a driver may hang."
        return Check(*check, Status.WARNING, text, advice, told)
    if "torch" not in facts:
        text = f"Importing it ended the interpreter with {returncode}."
        advice = "It does not fit the driver, the processor or the other packages: reinstall it."
        return Check(*check, Status.FAILURE, text, advice, told)
    if facts["torch"] is None and not facts.get("error"):
        advice = "launch.py installs it at the first start: some 3 GB. That needs pip and network."
        status = Status.WARNING if facts["pip"] and not facts["managed"] else Status.FAILURE
        return Check(*check, status, "not installed", advice, told)
    if facts["torch"] is None:
        advice = "Install Fooocus's requirements into an environment of their own."
        text = f"cannot be imported: {facts['error'][:300]}"
        return Check(*check, Status.FAILURE, text, advice, told)
    status, text, advice = _device(facts)
    return Check(*check, status, text, advice, told)


def _device(facts: dict[str, Any]) -> tuple[Status, str, str]:
    version, device = facts["torch"], facts["device"]
    if device is None:
        text = f"{version}, but its device cannot be used: {facts['device_error'][:300]}"
        return Status.FAILURE, text, "Check the driver; args=['--always-cpu'] works without it."
    if device == "cpu":
        advice = (
            "Generating takes minutes per step that way. For a GPU, install a driver and a PyTorch "
            "made for it; to do without, start with args=['--always-cpu']."
        )
        return Status.WARNING, f"{version}, without a GPU", advice
    memory = f", {format_bytes(facts['device_memory'])}" if facts.get("device_memory") else ""
    text = f"{version}, on {facts['device_name']}{memory}"
    if facts.get("device_fits") is False:
        advice = "This PyTorch was not built for this GPU: install one that was."
        return Status.FAILURE, text, advice
    return Status.OK, text, ""
