"""Start engines, connect to them, and find them by name."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from fooocus_nb._background import async_twin
from fooocus_nb._secrets import (
    redact_words,
    remember_environment,
    remember_secret,
    secrets_in,
)
from fooocus_nb.engine.config import (
    Lifetime,
    ProcessSettings,
    checked_seconds,
    configuration,
    configured_path,
)
from fooocus_nb.engine.folders import resolved, runtime_paths
from fooocus_nb.engine.names import unique_name
from fooocus_nb.engine.sleeping import checked_sleep_after
from fooocus_nb.engine.state import RUNNING, EngineState
from fooocus_nb.errors import ConfigurationError, FooocusError, nearest, warn_user
from fooocus_nb.fooocus.checkout.login_file import logins_of
from fooocus_nb.fooocus.given import shown
from fooocus_nb.fooocus.transport.login import login_from_environment, parse_login, split_login
from fooocus_nb.results.file_names import NamePattern
from fooocus_nb.results.output_folder import OutputFolder
from fooocus_nb.supervisor.protocol import DEFAULT_GRACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from fooocus_nb.engine.core import Engine
    from fooocus_nb.engine.lifecycle import EngineLifecycle
    from fooocus_nb.engine.watchdog import RestartPolicy
    from fooocus_nb.fooocus.checkout.installation import Installation
    from fooocus_nb.fooocus.transport.login import Login

__all__ = [
    "aconnect",
    "astart",
    "connect",
    "current",
    "get",
    "name_to_say",
    "reattach",
    "running",
    "start",
]


@dataclass(frozen=True)
class _Started:
    """An engine of this kernel, and what starts it."""

    engine: Engine
    lifecycle: EngineLifecycle
    outputs: OutputFolder


_lock = threading.RLock()
_engines: dict[str, _Started] = {}
#: The names of those that other threads are starting.
_starting: set[str] = set()

#: It becomes part of the names of files.
MAX_NAME = 100
DEFAULT_OUTPUT_DIR = "fooocus-outputs"
#: The environment variables that say the same as flags of Fooocus that may hold a secret. The
#: environment of a process can be read by its own user alone.
_VARIABLES = {"--hf-mirror": "HF_MIRROR"}
#: How long a detached engine may be idle without a kernel.
IDLE_TIMEOUT = 1800.0


def start(
    path: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    python: str | os.PathLike[str] | None = None,
    args: Sequence[str] = (),
    demo: bool = False,
    port: int | None = None,
    output_dir: str | os.PathLike[str] | None = None,
    names: str | None = None,
    temp_dir: str | os.PathLike[str] | None = None,
    gpu: int | str | None = None,
    env: Mapping[str, str] | None = None,
    restart: RestartPolicy | str | None = None,
    grace: float = DEFAULT_GRACE,
    timeout: float | None = None,
    share: bool | None = None,
    lifetime: Lifetime = "kernel",
    idle_timeout: float = IDLE_TIMEOUT,
    sleep_after: float | None = None,
    auth: tuple[str, str] | str | None = None,
    on_progress: Callable[[Engine], None] | None = None,
) -> Engine:
    """Start Fooocus and wait until it can generate.

    Where one runs already that was started in the same way (checkout and version, interpreter,
    flags, GPU, environment), by another kernel or by this one, that one is used: it would not fit
    into the GPU's memory twice. ``engine.attached`` tells. It ends with the last kernel that uses
    it, however that ends.

    Parameters
    ----------
    path : path-like, optional
        The folder of the Fooocus checkout. By default ``FOOOCUS_HOME``, then ``c.Fooocus.path``
        of the IPython configuration.
    name : str, optional
        What to call the engine. By default ``fooocus`` or ``demo``, with a number when taken.
    python : path-like, optional
        The interpreter that Fooocus is installed in. By default ``c.Fooocus.python``, then a
        virtual environment or an embedded Python in or beside the checkout. Never the kernel's.
    args : sequence of str
        Further flags for Fooocus, such as ``("--always-low-vram",)``.
    demo : bool
        Start the bundled demo engine, which draws images without AI and needs no GPU.
    port : int, optional
        The port of its web server. By default a free one.
    output_dir : path-like, optional
        Where images are copied to. Default ``fooocus-outputs`` in the working directory.
    names : str, optional
        How the copies are called, such as ``"{date}/{seed}-{prompt:.40}"``: fields in braces,
        formatted as Python does, a ``/`` for folders, and no ending. There are ``date``, ``time``,
        ``seed``, ``prompt``, ``index`` (of the image in its generation, from 1), ``number`` (of the
        image in this kernel, from 1), ``name`` (what the engine calls it), ``engine``, and every
        parameter by its name. Characters, words and lengths that a file system refuses are
        replaced; nothing is overwritten. Default: the engine's own names.
    temp_dir : path-like, optional
        The engine's own temporary folder; Fooocus empties it at every start. By default a new one.
    gpu : int or str, optional
        The GPU to use: its index, from 0, among those that ``CUDA_VISIBLE_DEVICES`` lets the kernel
        see, or its name as ``nvidia-smi -L`` shows it, such as ``GPU-8932f937-...``; so also a part
        of one (``MIG-...``).
    env : mapping, optional
        Environment variables for the engine.
    restart : {"never", "on-failure"} or RestartPolicy, optional
        Whether an engine that dies, or does not answer any more, is restarted by itself: after 1 s,
        then 2, 4 and so on up to 60, at most 5 times within 10 minutes. A generation that was
        running raises all the same and is never sent again. Default "never".
    grace : float
        Seconds that the engine gets between being asked to end and being ended. Default 10.
    timeout : float, optional
        Seconds without any progress after which the start is given up. Default 300.
    share : bool, optional
        False starts a new engine in any case, which no other kernel can use. By default a running
        one is used, and a new one can be used by others, but for a demo engine: that takes
        ``share=True`` or ``lifetime="detached"``.
    lifetime : {"kernel", "detached"}
        A detached engine goes on through restarts and crashes of its kernels, and finishes what
        it generates; the next start in the same way attaches to it again.
    idle_timeout : float
        Seconds that a detached engine may idle while no kernel uses it. Default 1800. It is idle
        when it neither prints nor works.
    sleep_after : float, optional
        Seconds of idleness after which the engine sleeps: its process ends, which gives the GPU's
        memory back, and the next generation starts it again. It is idle when no generation runs or
        waits, it neither prints nor works, and nobody else is connected to its page. One that other
        kernels use sleeps once all of them have asked for it. Default: never.
    auth : (str, str) or str, optional
        User and password, also as ``"user:secret"``, where the checkout's server wants a login. By
        default those of ``FOOOCUS_NB_AUTH`` in the environment, then of the checkout's own
        ``auth.json``.
    on_progress : callable, optional
        Called with the engine about five times a second while it starts.

    Returns
    -------
    Engine
        Ready to generate.

    Raises
    ------
    ConfigurationError
        When nothing says where Fooocus is, or the arguments contradict each other.
    EngineTimeout
        When another kernel has been starting an engine for a minute without getting anywhere.
    InstallError
        When there is no usable Fooocus in `path`.
    LoginError
        When the server wants a login, and none was given or it is wrong.
    StartError
        When the engine ends, or stops moving, before it is ready.
    """
    from fooocus_nb.engine.core import assemble
    from fooocus_nb.engine.watchdog import restart_policy

    if demo and (path or python):
        msg = "demo=True starts the bundled demo engine, so path= and python= have no meaning."
        raise ConfigurationError(msg)
    _check_sharing(share, lifetime, idle_timeout)
    after = checked_sleep_after(sleep_after)
    timeout = None if timeout is None else checked_seconds("timeout", timeout, endless=True)
    _check_words(args, env)
    args = tuple(args)
    _warn_of_visible_secrets(args)
    # Also where the engine is another kernel's: what it prints comes here as it printed it.
    remember_environment({**os.environ, **{str(k): str(v) for k, v in (env or {}).items()}})
    login = None if auth is None else parse_login(auth)
    settings = _settings(
        path,
        python=python,
        args=args,
        demo=demo,
        port=port,
        temp_dir=temp_dir,
        gpu=gpu,
        env=env,
        grace=grace,
        share=share,
        lifetime=lifetime,
        idle_timeout=idle_timeout,
    )
    folder = _output_dir(output_dir)
    outputs = OutputFolder(folder, _pattern(names))
    _propose_connecting(settings)
    if settings.shared and (same := _same(settings, name, outputs)) is not None:
        if after is not None:
            same.sleep_after = after
        return same
    with _reserved(name, "demo" if demo else "fooocus") as engine_name:
        engine, lifecycle = assemble(
            engine_name,
            settings=settings,
            outputs=outputs,
            restart=restart_policy(restart),
            avoid=_run_dirs(),
            logins=functools.partial(_logins, login, settings.installation),
            arguments=_arguments(settings, outputs, after, engine_name),
        )
        engine.sleep_after = after
        return _begin(_Started(engine, lifecycle, outputs), timeout, on_progress)


#: The arguments of a start that decide which engine it means.
_DECIDING = frozenset(
    {"path", "python", "args", "demo", "port", "temp_dir", "gpu", "share", "lifetime"}
)


def _settings(
    path: str | os.PathLike[str] | None = None,
    *,
    python: str | os.PathLike[str] | None = None,
    args: Sequence[str] = (),
    demo: bool = False,
    port: int | None = None,
    temp_dir: str | os.PathLike[str] | None = None,
    gpu: int | str | None = None,
    env: Mapping[str, str] | None = None,
    grace: float = DEFAULT_GRACE,
    share: bool | None = None,
    lifetime: Lifetime = "kernel",
    idle_timeout: float = IDLE_TIMEOUT,
) -> ProcessSettings:
    """Return how the process of such a start is started."""
    from fooocus_nb.fooocus.checkout.command import as_gpu
    from fooocus_nb.fooocus.checkout.installation import find_installation

    return ProcessSettings(
        installation=None
        if demo
        else find_installation(
            configured_path(path), python=python or configuration().python or None
        ),
        args=tuple(args),
        port=port,
        temp_dir=resolved(temp_dir, "temp_dir") if temp_dir else None,
        gpu=None if gpu is None else as_gpu(gpu),
        env=dict(env or {}),
        grace=grace,
        shared=(not demo or lifetime == "detached") if share is None else share,
        reuse=share is not False,
        idle_timeout=float(idle_timeout) if lifetime == "detached" else None,
    )


def _arguments(
    settings: ProcessSettings, outputs: OutputFolder, sleep_after: float | None, name: str
) -> dict[str, Any]:
    """Return what another kernel would start it with, as JSON can hold it.

    Of the environment only the names: its values may be secrets. Secrets among the flags are
    masked, so that such an engine is attached to only by who knows them.
    """
    installation = settings.installation
    found: dict[str, Any] = {
        "name": name,
        "args": redact_words([str(word) for word in settings.args]),
        "port": settings.port,
        "output_dir": str(outputs.folder),
        "names": outputs.names.text if outputs.names is not None else None,
        "temp_dir": str(settings.temp_dir) if settings.temp_dir is not None else None,
        "gpu": settings.gpu,
        "env": sorted(settings.env),
        "sleep_after": sleep_after,
        "share": settings.shared,
    }
    if installation is None:
        found["demo"] = True
    else:
        found |= {"path": str(installation.path), "python": str(installation.python)}
    if settings.idle_timeout is not None:
        found |= {"lifetime": "detached", "idle_timeout": settings.idle_timeout}
    return found


def reattach(
    run_dir: Path,
    arguments: Mapping[str, Any],
    on_progress: Callable[[Engine], None] | None = None,
) -> Engine | None:
    """Attach to the engine of a run folder again, which was started with these arguments.

    Returns None where it does not run any more. Nothing is ever started.

    Raises
    ------
    ConfigurationError
        When it runs, and was started in another way than is known here.
    """
    from fooocus_nb.engine.health import environment_of
    from fooocus_nb.engine.sharing import fits
    from fooocus_nb.supervisor.registry import Registry

    for started in _running():
        process = started.lifecycle.process
        if process is not None and process.run_dir == run_dir:
            return started.engine
    found = [entry for entry in Registry(*runtime_paths()).entries() if entry.run_dir == run_dir]
    if not found:
        return None
    known = {key: value for key, value in arguments.items() if value is not None}
    # Their values stand nowhere but in the engine itself.
    env = [str(each) for each in known.pop("env", [])]
    values = environment_of(found[0].pid, env) if env else {}
    name = known.pop("name", None)
    try:
        settings = _settings(**{k: v for k, v in known.items() if k in _DECIDING}, env=values or {})
    except FooocusError:  # the checkout has moved
        settings = None
    if settings is None or not fits(found[0], settings):
        said = f" with env= for {', '.join(map(str, env))}" if env else ""
        msg = (
            f"The engine {name!r} of this notebook still runs. It was started{said} in a way that "
            "cannot be repeated from here: start it as the notebook did, then resume."
        )
        raise ConfigurationError(msg)
    name = name if isinstance(name, str) and name not in running() else None
    return start(**known, env=values, name=name, on_progress=on_progress)


def _propose_connecting(settings: ProcessSettings) -> None:
    """Warn where a Fooocus of the checkout runs already without us; it is started all the same."""
    from fooocus_nb.engine.unmanaged import find_unmanaged

    if settings.installation is None:
        return
    checkout = settings.installation.path
    for running in find_unmanaged(checkout):
        warn_user(
            f"A Fooocus of {checkout} runs already, started outside of fooocus-nb (process "
            f"{running.pid}). {running.proposal}",
            UserWarning,
        )


def _check_words(args: object, env: object) -> None:
    """Refuse what is no list of flags and no mapping of variables, before anything is read."""
    if isinstance(args, (str, bytes)) or not isinstance(args, Iterable):
        msg = f"args={shown(args)} is not possible: give a list of flags and their values."
        raise ConfigurationError(msg)
    if env is not None and not isinstance(env, Mapping):
        msg = f"env={shown(env)} is not possible: give variables by name, {{'NAME': 'value'}}."
        raise ConfigurationError(msg)


def _warn_of_visible_secrets(args: Sequence[str]) -> None:
    """Warn of passwords among the flags, and mask them wherever something is shown."""
    found = secrets_in([str(word) for word in args])
    for secret in found.values():
        remember_secret(secret)
    if found:
        variables = [f"{name} is {_VARIABLES[name]}" for name in found if name in _VARIABLES]
        has_variable = f" ({', '.join(variables)})" if variables else ", if the flag has a variable"
        warn_user(
            f"args= holds a secret behind {', '.join(found)}: the engine's command line can be "
            f"read by every user of this machine. Give it in env={has_variable}; the login of its "
            "page belongs into auth=.",
            UserWarning,
        )


def _check_sharing(share: bool | None, lifetime: str, idle_timeout: float) -> None:
    choices = get_args(Lifetime)
    if lifetime not in choices:
        allowed = " or ".join(map(repr, choices))
        hint = nearest(str(lifetime), choices)
        msg = f"lifetime={lifetime!r} is not possible: it is {allowed}.{hint}"
        raise ConfigurationError(msg)
    checked_seconds("idle_timeout", idle_timeout)
    if share is False and lifetime == "detached":
        msg = (
            "share=False and lifetime='detached' contradict each other: nobody could find the "
            "engine again. A different flag, port= or temp_dir= makes it another one."
        )
        raise ConfigurationError(msg)


def _same(settings: ProcessSettings, name: str | None, outputs: OutputFolder) -> Engine | None:
    """Return this kernel's own engine that was started in the same way, if it is well."""
    from fooocus_nb.engine.sharing import sharing_key

    for started in _running():
        engine, known = started.engine, started.lifecycle.settings
        if (
            known is not None
            and known.shared
            and not started.lifecycle.inherited
            and engine.state in RUNNING | {EngineState.ASLEEP}
            and name in (None, engine.name)
            and settings.port in (None, known.port)
            and started.outputs.same_as(outputs)
            and sharing_key(known) == sharing_key(settings)
        ):
            started.lifecycle.wake()
            started.lifecycle.attachment.keep(settings.idle_timeout)
            return engine
    return None


def _run_dirs() -> set[Path]:
    """Return where this kernel's own engines run: a new one is a different one."""
    own = (started.lifecycle for started in _running() if not started.lifecycle.inherited)
    return {each.process.run_dir for each in own if each.process is not None}


def connect(
    url: str,
    *,
    name: str | None = None,
    output_dir: str | os.PathLike[str] | None = None,
    names: str | None = None,
    auth: tuple[str, str] | str | None = None,
) -> Engine:
    """Use a Fooocus that somebody else runs. It is never stopped by us.

    Parameters
    ----------
    url : str
        Where its web page is, such as ``http://127.0.0.1:7865``. A user and a password in it are
        taken as `auth`, and shown nowhere.
    name : str, optional
        What to call the engine.
    output_dir : path-like, optional
        Where images are copied to. Default ``fooocus-outputs`` in the working directory.
    names : str, optional
        How the copies are called; see :func:`fooocus_nb.start`.
    auth : (str, str) or str, optional
        User and password, also as ``"user:secret"``, for Gradio's login or HTTP basic
        authentication. By default those of ``FOOOCUS_NB_AUTH`` in the environment.

    Returns
    -------
    Engine
        Ready to generate.

    Raises
    ------
    ConnectionLost
        When nothing answers there.
    LoginError
        When the server wants a login, and none was given or it is wrong.
    UnsupportedServer
        When what answers is no Fooocus that we can speak to.
    """
    return connect_logged(url, None, name=name, output_dir=output_dir, names=names, auth=auth)


def connect_logged(
    url: str,
    log_file: Path | None,
    *,
    name: str | None = None,
    output_dir: str | os.PathLike[str] | None = None,
    names: str | None = None,
    auth: tuple[str, str] | str | None = None,
) -> Engine:
    """Do the same; where the file of its log is known, that explains what fails."""
    from fooocus_nb.engine.core import assemble

    bare, in_url = split_login(url)
    login = in_url if auth is None else parse_login(auth)
    outputs = OutputFolder(_output_dir(output_dir), _pattern(names))
    with _reserved(name, "remote") as engine_name:
        engine, lifecycle = assemble(
            engine_name,
            url=bare.rstrip("/"),
            log_file=log_file,
            outputs=outputs,
            logins=functools.partial(_logins, login),
        )
        return _begin(_Started(engine, lifecycle, outputs), None, None)


astart = async_twin(start)
aconnect = async_twin(connect)


def running() -> dict[str, Engine]:
    """Return this kernel's engines that have not been stopped, by name, oldest first."""
    return {started.engine.name: started.engine for started in _running()}


def _running() -> list[_Started]:
    with _lock:
        return [
            started
            for started in _engines.values()
            if started.engine.state is not EngineState.STOPPED
        ]


def get(name: str) -> Engine:
    """Return the engine of that name, running or stopped.

    Parameters
    ----------
    name : str
        What it was called when it was started, or what :func:`engines` lists of an engine of this
        kernel: its unique name or its process id.

    Returns
    -------
    Engine
        The engine.

    Raises
    ------
    ConfigurationError
        When there is none of that name.
    """
    if not isinstance(name, str):
        msg = f"name={shown(name)} is not possible: an engine's name is a text."
        raise ConfigurationError(msg)
    with _lock:
        if name in _engines:
            return _engines[name].engine
        for started in _engines.values():
            process = started.lifecycle.process
            if process is not None and name in (process.listed_name, str(started.engine.pid)):
                return started.engine
        names = list(_engines)
    known = f"There are: {', '.join(names)}." if names else "None has been started yet."
    msg = f"There is no engine named {name!r}. {known}{nearest(name, names)}"
    raise ConfigurationError(msg)


def current() -> Engine:
    """Return the engine that was started or connected last, of those that have not been stopped.

    Returns
    -------
    Engine
        The default engine of the magics. When all have been stopped, the last one: it can be
        restarted.

    Raises
    ------
    ConfigurationError
        When none has been started yet.
    """
    with _lock:
        engines = [started.engine for started in _engines.values()]
    if engines:
        alive = [engine for engine in engines if engine.state is not EngineState.STOPPED]
        return (alive or engines)[-1]
    msg = (
        "No engine runs yet. Start one: fooocus_nb.start('~/Fooocus'), or "
        "fooocus_nb.start(demo=True)."
    )
    raise ConfigurationError(msg)


def name_to_say(engine: Engine) -> str:
    """Return the name that a cell has to say to mean this engine; none where it is the current one.

    Parameters
    ----------
    engine : Engine
        One of this kernel's.

    Returns
    -------
    str
        Its name, or nothing.
    """
    with _lock:
        started = _engines.get(engine.name)
        known = started is not None and started.engine is engine
    return engine.name if known and current() is not engine else ""


def _logins(given: Login | None, installation: Installation | None = None) -> list[Login]:
    """Return the logins to try: what was given, or what environment and checkout hold."""
    if given is not None:
        return [given]
    known = login_from_environment()
    own = logins_of(installation.path) if installation is not None else []
    return [*([known] if known is not None else []), *own]


def _output_dir(given: str | os.PathLike[str] | None) -> Path:
    return resolved(given or DEFAULT_OUTPUT_DIR, "output_dir")


def _pattern(names: str | None) -> NamePattern | None:
    return None if names is None else NamePattern(names)


@contextlib.contextmanager
def _reserved(name: str | None, default: str) -> Iterator[str]:
    """Yield a name that no running engine has; nobody else gets it until the block ends."""
    if name is not None and (
        not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= MAX_NAME
    ):
        msg = (
            f"name={str(name)[:MAX_NAME]!r} is not possible: give 1 to {MAX_NAME} printable "
            "characters."
        )
        raise ConfigurationError(msg)
    with _lock:
        taken = running().keys() | _starting
        if name in taken:
            msg = f"An engine named {name!r} runs already. Stop it first, or choose another name=."
            raise ConfigurationError(msg)
        chosen = unique_name(default, taken) if name is None else name
        _starting.add(chosen)
    try:
        yield chosen
    finally:
        with _lock:
            _starting.discard(chosen)


def _begin(
    started: _Started, timeout: float | None, on_progress: Callable[[Engine], None] | None
) -> Engine:
    engine = started.engine
    on_tick = None if on_progress is None else functools.partial(on_progress, engine)
    with _lock:
        previous = _engines.pop(engine.name, None)
        _engines[engine.name] = started
    try:
        started.lifecycle.start(timeout, on_tick)
    except BaseException:
        with _lock:
            del _engines[engine.name]
            if previous is not None:
                _engines[engine.name] = previous
        raise
    return engine
