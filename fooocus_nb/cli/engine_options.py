"""Which engine a command uses: the options for it, and the engine that they choose.

Every command that needs an engine takes the same: ``add_engine_options(parser)`` adds them, and
``with chosen_engine(options, output_dir=...) as engine`` starts, attaches or connects, shows the
start on standard error, and releases the engine at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import math
import os
import shlex
import sys
import time
from typing import TYPE_CHECKING, Any

from fooocus_nb.cli.command import NoEngine, UsageError, add_python
from fooocus_nb.errors import ConfigurationError, FooocusError, in_words_of
from fooocus_nb.options.values import positive, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.listing import EngineInfo

__all__ = ["add_engine_options", "chosen_engine", "engine_source", "listed_engine"]

#: Where the login comes from that no option names.
LOGIN_VARIABLE = "FOOOCUS_NB_AUTH"
TERMINAL = "/dev/tty"


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose an engine."""
    group = parser.add_argument_group(
        "engine",
        "Without one of the first four, the Fooocus in $FOOOCUS_HOME is used. One that was started "
        "in the same way and runs already, such as for a notebook, is used and goes on.",
    )
    which = group.add_mutually_exclusive_group()
    which.add_argument("--path", metavar="P", help="start the Fooocus in this folder")
    which.add_argument(
        "--demo", action="store_true", help="start the demo engine, which draws without AI"
    )
    which.add_argument("--url", metavar="U", help="use a Fooocus that somebody else runs")
    which.add_argument(
        "--engine", metavar="NAME", help="use one that `fooocus-nb ps` lists, by name or process id"
    )
    add_python(group)
    group.add_argument("--gpu", metavar="N", help="its index among the visible ones, or its name")
    group.add_argument(
        "--flags",
        metavar="TEXT",
        type=_words,
        default=(),
        help="flags for Fooocus in one text, such as --flags='--always-low-vram'",
    )
    group.add_argument(
        "--auth",
        metavar="USER",
        help=f"log in, and ask for the password here. Without a terminal set {LOGIN_VARIABLE} to "
        "user:secret in the environment; a password never belongs on a command line",
    )
    group.add_argument(
        "--keep",
        metavar="SECONDS",
        nargs="?",
        type=positive,
        const=1800,
        help="keep the engine for the next command, until it idles so long (default: %(const)s)",
    )
    group.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_patience,
        help="give the start up after so long without progress (default: 300)",
    )


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        msg = f"{error} in {text!r}"
        raise argparse.ArgumentTypeError(msg) from None


def _patience(text: str) -> float:
    """Return seconds of a start, which may be endless."""
    return seconds(text, endless=True)


@contextlib.contextmanager
def chosen_engine(
    options: argparse.Namespace, *, output_dir: str | os.PathLike[str], **settings: Any
) -> Iterator[Engine]:
    """Yield the engine that the options choose, and release it at the end.

    `settings` go to :func:`fooocus_nb.start` or :func:`fooocus_nb.connect`. Where there is no such
    engine, NoEngine says why.
    """
    _refuse_contradictions(options)
    login = _login(options)
    try:
        engine = _open(options, output_dir=output_dir, auth=login, **settings)
    except (FooocusError, OSError) as error:
        raise NoEngine(error) from error
    try:
        yield engine
    finally:
        # One that is kept goes on, also one that was kept by whoever started it.
        if engine.lifetime == "detached":
            engine.detach()
        else:
            engine.stop()


def engine_source(options: argparse.Namespace) -> tuple[str, dict[str, str]]:
    """Return a cell that has the chosen engine as ``engine``, and variables that it needs.

    Empty where no option chooses one. A password is a variable and never in the cell.
    """
    _refuse_contradictions(options)
    login = _login(options)
    env = {} if login is None else {LOGIN_VARIABLE: ":".join(login)}
    call, given = _engine_call(options)
    if not call:
        return "", env
    imports = "import fooocus_nb\n"
    if login is not None:
        imports = f"import os\n\n{imports}"
        given["auth"] = f"os.environ[{LOGIN_VARIABLE!r}]"
    words = "".join(f", {name}={value}" for name, value in given.items())
    return f"# Added by `fooocus-nb run`.\n{imports}\nengine = fooocus_nb.{call}{words})", env


def _engine_call(options: argparse.Namespace) -> tuple[str, dict[str, str]]:
    """Return the begin of the call that has the chosen engine, and its further arguments."""
    url = options.url
    if options.engine:
        url = listed_engine(options.engine).url
    if url:
        return f"connect({url!r}", {}
    if not (options.demo or options.path):
        return "", {}
    call = "start(demo=True" if options.demo else f"start({options.path!r}"
    given = {
        name: repr(value)
        for name, value in (
            ("python", options.python),
            ("gpu", options.gpu),
            ("args", tuple(options.flags)),
        )
        if value
    }
    if options.timeout is not None:
        endless = math.isinf(options.timeout)  # which has no literal in Python
        given["timeout"] = "float('inf')" if endless else repr(options.timeout)
    if options.keep:
        given |= {"lifetime": "'detached'", "idle_timeout": repr(options.keep)}
    return call, given


def _open(options: argparse.Namespace, **settings: Any) -> Engine:
    from fooocus_nb.engine import manager

    if options.url:
        return manager.connect(options.url, **settings)
    if options.engine:
        found = listed_engine(options.engine)
        # Called as here, and its log explains what fails, as that of one which is started here.
        name = found.name if found.name not in manager.running() else None
        return manager.connect_logged(found.url, found.log_path, name=name, **settings)
    kept: dict[str, Any] = {}
    if options.keep:
        kept = {"lifetime": "detached", "idle_timeout": options.keep}
    if not (options.demo or options.path):
        _require_default()
    with _shown_start() as show:
        return manager.start(
            options.path,
            demo=options.demo,
            python=options.python,
            gpu=options.gpu,
            args=options.flags,
            timeout=options.timeout,
            on_progress=show,
            **kept,
            **settings,
        )


def listed_engine(name: str, found: Sequence[EngineInfo] | None = None) -> EngineInfo:
    """Return what is known of a running engine, of those found or of all; NoEngine says why not."""
    from fooocus_nb.engine.listing import engines, named

    try:
        return named(name, engines() if found is None else found)
    except FooocusError as error:
        raise NoEngine(error) from error


def _require_default() -> None:
    """Say which engines there are, where nothing says which one to use."""
    from fooocus_nb.engine.config import configuration
    from fooocus_nb.engine.listing import engines

    if os.environ.get("FOOOCUS_HOME") or configuration().path:
        return
    names = [info.name for info in engines()]
    running = f" These run: {', '.join(names)}." if names else ""
    msg = (
        "Which engine? --path DIR starts a Fooocus (as does FOOOCUS_HOME in the environment), "
        "--engine NAME uses one that runs, --url URL one that somebody else runs, and --demo "
        f"starts the demo engine, which draws without AI.{running}"
    )
    raise ConfigurationError(msg)


def _refuse_contradictions(options: argparse.Namespace) -> None:
    if not (options.url or options.engine):
        return
    given = [name for name in ("python", "gpu", "flags", "keep") if getattr(options, name)]
    if given:
        which = "--url" if options.url else "--engine"
        msg = f"--{given[0]} is for an engine that is started here, and {which} names a running one"
        raise UsageError(msg)


def _login(options: argparse.Namespace) -> tuple[str, str] | None:
    """Return the login that is asked for here; what stands on a command line is no secret."""
    visible = (
        "a password on the command line can be read by everybody on this machine, and stays in the "
        f"shell's history. Give --auth USER and type it here, or set {LOGIN_VARIABLE}=user:secret; "
        "and change the one that was given"
    )
    if options.url and _holds_password(options.url):
        raise UsageError(f"--url: {visible}")
    if options.auth is None:
        return None
    if ":" in options.auth:
        raise UsageError(f"--auth: {visible}")
    if not _has_terminal():
        msg = f"--auth: no terminal can be asked for the password: set {LOGIN_VARIABLE}=user:secret"
        raise UsageError(msg)
    return options.auth, getpass.getpass(f"Password of {options.auth}: ")


def _holds_password(url: str) -> bool:
    from fooocus_nb.fooocus.transport.login import split_login

    return split_login(url)[1] is not None


def _has_terminal() -> bool:
    # Where there is none, getpass would read the prompts on standard input as a password.
    if sys.platform == "win32":
        return sys.stdin is not None and sys.stdin.isatty()
    try:
        os.close(os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _shown_start() -> Iterator[Callable[[Engine], None]]:
    """Yield what shows on standard error how far a start is."""
    from fooocus_nb.cli.progress_bar import ProgressBar

    began, bar = time.monotonic(), ProgressBar(sys.stderr)

    def show(engine: Engine) -> None:
        detail = in_words_of("shell", engine.stage_detail)
        bar.show(0, 1, time.monotonic() - began, f"Starting {engine.name}", detail)

    try:
        yield show
    finally:
        bar.close()
