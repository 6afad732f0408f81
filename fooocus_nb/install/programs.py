"""Runs git, uv and pip: guarded, so that they end with us, watched, and explained when they fail.

A guardian stands over each as over an engine: an installation that is killed leaves no pip behind
that writes into the folder while the next run does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fooocus_nb._secrets import redact, remember_address, remember_environment
from fooocus_nb.errors import FooocusError, InstallError
from fooocus_nb.supervisor import ChildSpec, Process
from fooocus_nb.supervisor.system import creation_time, without_debugger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fooocus_nb.install.target import Target
    from fooocus_nb.supervisor import Line

__all__ = ["Programs", "clean_environment", "explain"]

#: Without a line, a byte or a second of a processor for so long, a program has come to a halt.
STALL_SECONDS = 600.0
POLL_SECONDS = 0.1
#: For what answers at once; a cold disk may take long to load an interpreter.
ASK_SECONDS = 60.0
WORK_SECONDS = 5.0
GRACE = 2.0
#: Lines of a program that failed which are shown.
SHOWN_LINES = 6
#: What holds an address that pip or uv fetch from.
_ADDRESSED = re.compile(r"INDEX|FIND_LINKS|_PROXY$")
#: They would install somewhere else, or something else, or from what describes another environment.
MISLEADING = frozenset(
    {
        "PIP_CONSTRAINT",
        "PIP_BUILD_CONSTRAINT",
        "PIP_DRY_RUN",
        "PIP_EDITABLE",
        "PIP_IGNORE_INSTALLED",
        "PIP_NO_BINARY",
        "PIP_NO_DEPS",
        "PIP_PREFIX",
        "PIP_PYTHON",
        "PIP_REQUIRE_VIRTUALENV",
        "PIP_REQUIREMENT",
        "PIP_ROOT",
        "PIP_TARGET",
        "PIP_UPGRADE",
        "PYTHONPLATLIB",
        "PYTHONUSERBASE",
        "UV_CONSTRAINT",
        "UV_PROJECT_ENVIRONMENT",
        "UV_PYTHON",
        "UV_SYSTEM_PYTHON",
        "UV_VENV_CLEAR",
        "UV_VENV_SEED",
    }
)
#: All but these of git's variables point it at another repository, as inside of a git hook.
#: GIT_CONFIG by itself names the file that `git config` would write to.
GIT_KEPT = re.compile(r"GIT_(?:SSH|SSL|ASKPASS|PROXY|HTTP|CONFIG_|TRACE|CURL)")


class Fault(NamedTuple):
    """Why a program fails, how that shows, and what helps."""

    pattern: re.Pattern[str]
    cause: str
    remedy: str
    #: How many of the last lines show it: one where the line itself does.
    lines: int = 1


AGAIN = "Then run the same again: it goes on where it was."
NOT_TRUSTED = "the server's certificate is not trusted here, as behind a company's proxy"
NAME_CERTIFICATE = (
    f"Name the proxy's certificate with PIP_CERT, SSL_CERT_FILE and GIT_SSL_CAINFO. {AGAIN}"
)
FAULTS = (
    Fault(
        re.compile(r"No space left on device|ENOSPC|\[Errno 28\]|\[WinError 112\]|Disk quota ex"),
        "the disk is full",
        f"Make room on the disk of the folder, of pip's cache and of temporary files. {AGAIN}",
    ),
    Fault(
        # Before the network: pip tells of both in one line, with "Max retries exceeded".
        re.compile(
            r"(?i)certificate[_ ]verify[_ ]failed|certificate verification failed"
            r"|SSL certificate problem|confirming the ssl certificate|invalid peer certificate"
        ),
        NOT_TRUSTED,
        NAME_CERTIFICATE,
    ),
    Fault(
        re.compile(
            r"(?i)could not resolve (?:host|proxy)|name or service not known|getaddrinfo failed"
            r"|temporary failure in name resolution|nodename nor servname|dns error"
            r"|failed to establish a new connection|connection (?:refused|reset|timed out|aborted)"
            r"|failed to connect|couldn't connect to server|network is unreachable|no route to host"
            r"|max retries exceeded|read timed out|connecttimeout|proxyerror|remote end closed"
            r"|could not read from remote repository|the remote end hung up|early eof"
            r"|operation timed out|tunnel connection failed|error sending request"
        ),
        "there is no network, or something between here and the server blocks it",
        "Check the network; behind a proxy set HTTPS_PROXY, for a mirror of PyPI PIP_INDEX_URL. "
        + AGAIN,
    ),
    Fault(re.compile(r"(?i)SSLError|TLS"), NOT_TRUSTED, NAME_CERTIFICATE),
    Fault(
        re.compile(
            r"(?i)repository .*(?:not found|does not exist)|does not appear to be a git repository"
            r"|not a git repository|could not read Username|Authentication failed"
            r"|Permission denied \(publickey|Host key verification failed|returned error: 40[134]"
        ),
        "there is no such repository, or it wants a login",
        "Check the address of --from; for a private one use ssh, or a token in the URL.",
    ),
    Fault(
        re.compile(r"(?i)couldn't find remote ref|no such remote ref|unable to find remote ref"),
        "the repository has no such branch, tag or commit",
        "Check --ref.",
    ),
    Fault(
        re.compile(r"(?i)dubious ownership"),
        "the repository belongs to another user, and git does not trust it",
        "Where you do: git config --global --add safe.directory PATH",
    ),
    Fault(
        re.compile(r"ResolutionImpossible|conflicting dependencies"),
        "its requirements contradict each other, or the constraints that work today",
        "The lines above name them.",
        12,
    ),
    Fault(
        re.compile(
            r"(?i)failed building wheel|could not build wheels|failed to build|metadata-generation-"
            r"failed|subprocess-exited-with-error|Microsoft Visual C\+\+|unable to execute 'gcc'"
        ),
        "a package has no ready wheel for this system and could not be built",
        "It may need a compiler: build-essential on Debian and Ubuntu, xcode-select --install on "
        f"macOS. {AGAIN}",
        12,
    ),
    Fault(
        re.compile(r"No matching distribution|Could not find a version"),
        "a package is not to be had for this Python and system",
        "Behind a mirror it may lack it; else Fooocus was not made for this system.",
    ),
    Fault(
        re.compile(r"(?i)permission denied|\[Errno 13\]|\[WinError 5\]|read-only file system"),
        "something may not be written",
        "Give a folder that this user may write in.",
    ),
)


def explain(lines: Sequence[str]) -> tuple[str, str, list[str]]:
    """Return the cause and the remedy that the lines of a failed program tell, and the lines."""
    told = [line for line in lines if line.strip() and not line.startswith("Progress ")]
    for fault in FAULTS:
        matching = [line for line in told if fault.pattern.search(line)]
        if matching:
            return fault.cause, fault.remedy, matching[-1:] if fault.lines == 1 else told[-12:]
    errors = [line for line in told if re.match(r"(?i)\s*(?:error|fatal|cause)\b", line)]
    return "", "", (errors or told)[-SHOWN_LINES:]


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what would lead git, uv or pip somewhere else."""
    found = {
        name: value
        for name, value in environment.items()
        if name.upper() not in MISLEADING
        and (not name.upper().startswith("GIT_") or GIT_KEPT.match(name.upper()))
    }
    return found | {
        "GIT_TERMINAL_PROMPT": "0",
        "LC_MESSAGES": "C",  # their messages are read
        "LANGUAGE": "",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        # Not into the user's own site-packages, whatever a configuration file says.
        "PIP_USER": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "UV_NO_PROGRESS": "1",
    }


def _remember_secrets(environment: Mapping[str, str]) -> None:
    """Mask what is secret in what pip, uv and git take from the environment, and may print."""
    remember_environment(environment)
    for name, value in environment.items():
        if _ADDRESSED.search(name.upper()):
            for address in value.split():
                remember_address(address)


class Programs:
    """Runs one program after the other for one installation.

    Parameters
    ----------
    target : Target
        Where its log is, and where each program is noted while it runs.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        _remember_secrets(os.environ)

    def run(
        self,
        argv: Sequence[str],
        *,
        what: str,
        environment: Mapping[str, str],
        cwd: Path | None = None,
        listener: Callable[[str], None] | None = None,
    ) -> list[str]:
        """Run a program to its end, and return its last lines.

        Parameters
        ----------
        argv : sequence of str
            Its command line; secrets have no place in it.
        what : str
            What it does, for messages: "the packages could not be installed".
        environment : mapping
            Its complete environment.
        cwd : Path, optional
            Its working folder; by default the target.
        listener : callable, optional
            Called with each line, also with those that are redrawn in place, in this thread.

        Raises
        ------
        InstallError
            When it fails, or comes to a halt.
        """
        run_dir = Path(tempfile.mkdtemp(prefix="fnb-"))
        try:
            return self._run(run_dir, argv, what, environment, cwd, listener)
        finally:
            shutil.rmtree(run_dir, ignore_errors=True)

    def ask(self, argv: Sequence[str], *, what: str, environment: Mapping[str, str]) -> list[str]:
        """Run a program that answers at once and changes little, and return its lines.

        Raises
        ------
        InstallError
            When it fails, or does not answer within a minute.
        """
        try:
            with without_debugger():
                done = subprocess.run(
                    list(argv),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=dict(environment),
                    cwd=self._target.path,
                    timeout=ASK_SECONDS,
                    check=False,
                )
        except (OSError, ValueError) as error:
            msg = f"{what}: {argv[0]} could not be started: {error}"
            raise InstallError(msg) from error
        except subprocess.TimeoutExpired as error:
            msg = f"{what}: {argv[0]} did not answer within {ASK_SECONDS:g} s."
            raise InstallError(msg) from error
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        if done.returncode != 0:
            raise InstallError(_failure(what, argv, lines, done.returncode, self._target.log))
        return lines

    def _run(
        self,
        run_dir: Path,
        argv: Sequence[str],
        what: str,
        environment: Mapping[str, str],
        cwd: Path | None,
        listener: Callable[[str], None] | None,
    ) -> list[str]:
        spec = ChildSpec(
            argv=tuple(argv),
            env=environment,
            name=Path(argv[0]).name,
            run_dir=run_dir,
            log_path=self._target.log,
            cwd=cwd or self._target.path,
            grace=GRACE,
            log_bytes=2_000_000,
            log_backups=1,
            cleanup=(run_dir,),
        )
        try:
            process = Process.start(spec)
        except FooocusError as error:
            msg = f"{what}: {argv[0]} could not be started. {error}"
            raise InstallError(msg) from error
        try:
            # Where it cannot be noted, as on a full disk, it may not run either: the next run would
            # not know of it.
            self._target.note(programs=_creation_times(process.pid, process.guardian_pid))
            returncode = self._follow(process, what, listener)
        except BaseException:
            process.stop(grace=GRACE)
            raise
        process.stop(grace=GRACE)  # also what it may have left running
        lines = process.tail(200)
        if returncode != 0:
            # It is noted as running, but by its time of creation it is known to be gone.
            raise InstallError(_failure(what, argv, lines, returncode, self._target.log))
        self._target.note(programs=[])
        return lines

    def _follow(
        self, process: Process, what: str, listener: Callable[[str], None] | None
    ) -> int | None:
        lock = threading.Lock()
        waiting: list[str] = []
        last = time.monotonic()

        def note(line: Line) -> None:
            with lock:
                waiting.append(line.text)

        process.add_listener(note)
        while True:
            returncode = process.wait(POLL_SECONDS)
            ended = returncode is not None or not process.alive()
            with lock:
                lines = waiting[:]
                waiting.clear()
            if lines:
                last = time.monotonic()
            for line in lines:
                if listener is not None:
                    listener(line)
            if ended:
                return returncode
            process.ask_work(WORK_SECONDS)
            if time.monotonic() - max(last, process.last_work or 0.0) > STALL_SECONDS:
                msg = (
                    f"{what}: {process.spec.name} has neither printed nor done anything for "
                    f"{STALL_SECONDS / 60:.0f} minutes, so it was ended. {AGAIN} Its log is "
                    f"{self._target.log}."
                )
                raise InstallError(msg)


def _creation_times(*pids: int) -> list[tuple[int, str]]:
    """Return those of processes that run, each with its creation time."""
    times = ((pid, creation_time(pid)) for pid in pids)
    # One without it has ended already, and none that comes later could be told from it.
    return [(pid, created) for pid, created in times if created is not None]


def _failure(
    what: str, argv: Sequence[str], lines: Sequence[str], returncode: int | None, log: Path
) -> str:
    cause, remedy, shown = explain(lines)
    name = os.path.basename(argv[0])  # noqa: PTH119
    how = "was ended" if returncode is None or returncode < 0 else f"ended with {returncode}"
    parts = [f"{what}: {cause or f'{name} {how}'}."]
    parts += [f"    {redact(line.strip())[:300]}" for line in shown]
    if remedy:
        parts.append(remedy)
    parts.append(f"All that was printed is in {log}.")
    return "\n".join(parts)
