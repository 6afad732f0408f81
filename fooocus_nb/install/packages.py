"""Makes the engine's environment and fills it: pip's own tools, PyTorch, Fooocus's packages."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from fooocus_nb._secrets import redact
from fooocus_nb.doctor.report import format_bytes
from fooocus_nb.errors import InstallError
from fooocus_nb.fooocus.checkout.command import environment_for
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.install import _whole
from fooocus_nb.install.constraints import (
    BUILD_TOOLS,
    constraints_for,
    pins_of,
    requirements_of,
)
from fooocus_nb.install.programs import clean_environment
from fooocus_nb.install.progress import Progress
from fooocus_nb.install.pythons import find_base

if TYPE_CHECKING:
    from collections.abc import Callable

    from fooocus_nb.install.hardware import Torch
    from fooocus_nb.install.programs import Programs
    from fooocus_nb.install.progress import Observer
    from fooocus_nb.install.pythons import Base
    from fooocus_nb.install.target import Target

__all__ = ["FOLDER", "Environment", "needs_torch"]

#: Where the environment is, in the checkout; a start finds it there by itself.
FOLDER = "venv"
#: A download that is smaller is not told by a line of its own.
WORTH_A_LINE = 20_000_000
#: What a checkout requires, and how it starts, is read whole.
MAX_SOURCE_BYTES = 1_000_000
_DOWNLOADING = re.compile(r"\s*(?:Downloading|Using cached) (\S+?)(?: \(([\d.]+) ([kMG]?)B\))?\s*$")
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)$")
_STAGES = re.compile(
    r"\s*(Collecting|Building wheel for|Installing collected packages|Preparing metadata)[: ]*(.*)"
)
_TORCH = ("torch", "torchvision")
_INSTALLS_TORCH = re.compile(
    r"(?m)install torch\b|is_installed\([\"']torch[\"']|^\s*import torch\b"
)
_NAMED = re.compile(r"(?m)^\s*torch")
_UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}
#: pip options that say where to install; in a configuration file they would hold for us, too.
_ELSEWHERE = re.compile(r"(?:global|install|:env:)\.(target|prefix|root|python)=")
#: Asked of the environment's own interpreter.
_VERSIONS = (
    "import importlib.metadata as m, json, sys; print(json.dumps([sys.prefix, '.'.join(map(str, "
    "sys.version_info[:3])), {d.metadata['Name'].lower(): d.version for d in m.distributions() "
    "if d.metadata['Name']}]))"
)


def needs_torch(checkout: Path) -> bool:
    """Whether a checkout wants PyTorch: its launch.py installs it, or its requirements name it."""
    for name, wanting in (("launch.py", _INSTALLS_TORCH), (requirements_of(checkout).name, _NAMED)):
        try:
            text = read_plain_file(checkout / name, MAX_SOURCE_BYTES).decode("utf-8", "replace")
        except OSError:
            continue
        if wanting.search(text):
            return True
    return False


class Environment:
    """The environment in the target's folder.

    Parameters
    ----------
    target : Target
        The folder.
    programs : Programs
        What runs uv and pip.
    observer : Observer
        Who is told.
    """

    def __init__(self, target: Target, programs: Programs, observer: Observer) -> None:
        self._target = target
        self._programs = programs
        self._observer = observer
        self.folder = target.path / FOLDER
        bin_folder = "Scripts/python.exe" if os.name == "nt" else "bin/python"
        self.python = self.folder / bin_folder

    # -- making it ----------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether it was made, and runs; an InstallError says that it does not answer in time."""
        if self._target.step("Environment") is None:
            return False
        try:
            prefix, version, _ = self._versions()
        except InstallError as error:
            if isinstance(error.__cause__, subprocess.TimeoutExpired):
                raise  # it may be whole, on a slow disk, and it would be removed to be made anew
            return False  # the folder was moved, or the interpreter that it links to is gone
        same = Path(prefix).resolve() == self.folder.resolve()
        return same and version == self._target.step("Environment")

    def base_for(self, python: str | os.PathLike[str] | None) -> Base | None:
        """Return what it is to be made from; None where it is there, and has the Python wanted."""
        ready = self.ready()
        if ready and python is None:
            return None
        base = find_base(python)
        return None if ready and base.version == self._target.step("Environment") else base

    def make(self, base: Base) -> None:
        """Make it anew; what an earlier run has made of it is removed."""
        if self.folder.exists() and not self._target.get("environment"):
            msg = (
                f"{str(self.folder)!r} is there already, and was not made by this. Remove it, or "
                "give another folder."
            )
            raise InstallError(msg)
        for step in ("Environment", "PyTorch", "Packages"):
            self._target.begin(step)
        self._target.note(environment=FOLDER)
        self._target.remove(FOLDER)
        self._tell("Environment", f"Making an environment with Python {base.version}")
        what = "The environment could not be made"
        if base.uv is not None:
            argv = [base.uv, "venv", "--no-project", "--no-config", "--seed"]
            argv += ["--python", base.python, str(self.folder)]
        else:
            argv = [base.python, "-I", "-m", "venv", str(self.folder)]
        self._run(argv, what, clean_environment(environment_for(Path(base.python))))
        self._check_configuration()
        tools = [f"{name}=={version}" for name, version in BUILD_TOOLS.items()]
        self._tell("Environment", f"Installing {' and '.join(tools)}")
        self._pip("Environment", ["install", *tools], "pip could not be installed")
        _, version, _ = self._versions()
        self._target.finish("Environment", version)

    def _check_configuration(self) -> None:
        """Refuse to go on where pip's configuration would have it install somewhere else."""
        lines = self._pip("Environment", ["config", "list"], "pip's configuration can't be read")
        for line in lines:
            if match := _ELSEWHERE.match(line):
                msg = (
                    f"pip's configuration sets {match[1]!r} ({redact(line.strip())}), so packages "
                    "would be installed there and not into the engine's environment. Take it out "
                    "for this: pip config debug shows the file."
                )
                raise InstallError(msg)

    # -- filling it ---------------------------------------------------------------------------

    def install_torch(self, torch: Torch) -> None:
        """Install PyTorch, unless some PyTorch is there already."""
        key = " ".join(torch.requirements) or "none"
        if self._target.step("PyTorch") == key:
            return
        self._mend("PyTorch")
        there = self._versions()[2].get("torch")
        if there is not None and (torch.way or self._target.step("PyTorch") is not None):
            self._tell("PyTorch", f"PyTorch {there} is there, and stays")
        elif torch.way:
            command = torch.way.format(python=self.python)
            msg = (
                f"This machine has {torch.why}. Which PyTorch works on it depends on its model and "
                "driver, so this step is yours:\n"
                f"    {command}\n"
                "Then run the same again, and it goes on from there. To do without the GPU: "
                "--torch cpu"
            )
            raise InstallError(msg)
        elif torch.requirements:
            self._target.begin("PyTorch")
            self._tell("PyTorch", f"PyTorch {torch.why}: {', '.join(torch.requirements)}")
            # Another build may be there, of a run that was ended: this one takes its place.
            words = ["install", *torch.requirements, *self._constrained(torch_stays=False)]
            words += ["--extra-index-url", torch.index] if torch.index else []
            self._pip("PyTorch", words, "PyTorch could not be installed")
        self._target.finish("PyTorch", key)

    def install_packages(self) -> None:
        """Install what the checkout requires, with the constraints that work today."""
        requirements = requirements_of(self._target.path)
        constrained = self._constrained(torch_stays=True)
        try:
            wanted = read_plain_file(requirements, MAX_SOURCE_BYTES)
        except OSError as error:
            msg = f"{requirements} cannot be read: {error.strerror or error}."
            raise InstallError(msg) from error
        text = wanted + Path(constrained[1]).read_bytes()
        key = hashlib.sha256(text).hexdigest()[:16]
        if self._target.step("Packages") == key:
            return
        self._mend("Packages")
        self._target.begin("Packages")
        pins = constraints_for(pins_of(requirements))
        self._tell("Packages", f"Packages of {requirements.name}, with {len(pins)} constraints")
        words = ["install", "-r", str(requirements), *constrained]
        self._pip("Packages", words, "The packages could not be installed")
        self._target.finish("Packages", key)

    def _constrained(self, *, torch_stays: bool) -> list[str]:
        """Write the constraints that hold here, and return the options that name them."""
        pins = constraints_for(pins_of(requirements_of(self._target.path)))
        lines = [f"# {pin.reason}\n{pin}\n" for pin in pins]
        if torch_stays:
            versions = self._versions()[2]
            lines += [f"{name}=={versions[name]}\n" for name in _TORCH if name in versions]
        path = self._write("constraints.txt", "".join(lines))
        tools = [f"setuptools=={BUILD_TOOLS['setuptools']}\n"]
        return ["-c", path, "--build-constraint", self._write("build.txt", "".join(tools))]

    def _write(self, name: str, text: str) -> str:
        path = self._target.notes / name
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            msg = f"{str(path)!r} cannot be written: {error.strerror or error}."
            raise InstallError(msg) from error
        return str(path)

    def _mend(self, step: str) -> None:
        """Take away what an interrupted pip has left half, so that it is installed again."""
        source = Path(_whole.__file__).read_text(encoding="utf-8")
        lines = self._programs.ask(
            [str(self.python), "-I", "-B", "-c", source, "--mend"],
            what="The packages that are there could not be checked",
            environment=self._environment(),
        )
        for line in lines:
            if line.startswith(_whole.MARK):
                name, reason = json.loads(line.removeprefix(_whole.MARK))
                self._tell(step, f"{name} was left half ({reason}): it is installed again")

    # -- running pip --------------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        return clean_environment(environment_for(self.python))

    def _pip(self, step: str, words: list[str], what: str) -> list[str]:
        argv = [str(self.python), "-I", "-m", "pip", *words]
        if words[0] == "install":
            argv += ["--no-warn-script-location"]
            argv += ["--progress-bar", "raw"] if self._target.step("Environment") else []
        return self._run(argv, what, self._environment(), self._follower(step))

    def _run(
        self,
        argv: list[str],
        what: str,
        environment: dict[str, str],
        listener: Callable[[str], None] | None = None,
    ) -> list[str]:
        return self._programs.run(argv, what=what, environment=environment, listener=listener)

    def _follower(self, step: str) -> Callable[[str], None]:
        """Return what turns pip's lines into progress."""
        file = ""

        def follow(line: str) -> None:
            nonlocal file
            if match := _PROGRESS.match(line):
                told = Progress(step, f"Downloading {file}", int(match[1]), int(match[2]))
                self._observer.update(told)
            elif match := _DOWNLOADING.match(line):
                file = redact(match[1]).rsplit("/", 1)[-1]
                if match[2]:
                    number = float(match[2]) * _UNITS[match[3]]
                    if number >= WORTH_A_LINE and "cached" not in line:
                        self._observer.say(f"Downloading {file} ({format_bytes(number)})")
                self._observer.update(Progress(step, line.strip()))
            elif match := _STAGES.match(line):
                self._observer.update(Progress(step, redact(line.strip())[:120]))

        return follow

    def _tell(self, step: str, text: str) -> None:
        self._observer.update(Progress(step, text))
        self._observer.say(text)

    def _versions(self) -> tuple[str, str, dict[str, str]]:
        """Return the environment's prefix, its Python and its packages."""
        lines = self._programs.ask(
            [str(self.python), "-I", "-B", "-c", _VERSIONS],
            what=f"{self.python} does not run",
            environment=self._environment(),
        )
        try:
            prefix, version, packages = json.loads(lines[-1])
        except (ValueError, IndexError, TypeError) as error:
            msg = f"{self.python} does not answer as a Python would: {lines[-1:]}."
            raise InstallError(msg) from error
        return str(prefix), str(version), dict(packages)
