"""Builds the command line and environment of one engine: own port, own temp path, no browser."""

from __future__ import annotations

import itertools
import os
import re
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fooocus_nb.errors import ConfigurationError, nearest
from fooocus_nb.fooocus.given import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fooocus_nb.fooocus.checkout.installation import Installation

__all__ = [
    "LEFT_OUT_ADVICE",
    "Launch",
    "as_gpu",
    "build_launch",
    "environment_for",
    "free_port",
    "unusable_variables",
]

HOST = "127.0.0.1"
WINDOWS = os.name == "nt"
DEMO_MODULE = "fooocus_nb.demo"
#: Flags that we set ourselves, and what a user can do instead.
OURS = {
    "--port": "use port= instead",
    "--temp-path": "use temp_dir= instead",
    "--in-browser": "an engine in a notebook opens no browser",
    "--help": "it would print its help and end; see engine.parameters and the Fooocus README",
    "-h": "it would print its help and end; see engine.parameters and the Fooocus README",
}
GPU_FLAG = "--gpu-device-id"
#: Which GPUs there are for a process, and in which order; schedulers of clusters set it.
VISIBLE = "CUDA_VISIBLE_DEVICES"
_DEVICE_NAME = re.compile(r"(?:GPU|MIG)-[0-9A-Za-z][0-9A-Za-z/-]*")
#: Set by Jupyter, IPython, debuggers and Python launchers for the kernel alone.
KERNEL_ONLY = frozenset(
    {
        "CLICOLOR",
        "CLICOLOR_FORCE",
        "FOOOCUS_NB_AUTH",  # a password that is none of the engine's business
        "FORCE_COLOR",  # ipykernel sets it, and a log is no terminal
        "GIT_PAGER",
        "GRADIO_ROOT_PATH",
        "GRADIO_SERVER_NAME",
        "GRADIO_SERVER_PORT",
        "JUPYTER_TOKEN",
        "PAGER",
        "PYTHONBREAKPOINT",
        "PYTHONEXECUTABLE",
        "PYTHONHOME",
        "PYTHONINSPECT",
        "PYTHONSTARTUP",
        "__PYVENV_LAUNCHER__",  # on macOS it would make the child take the kernel's environment
    }
)
KERNEL_ONLY_PREFIXES = ("JPY_", "JUPYTERHUB_", "PYDEVD_", "VSCODE_")
#: They describe the kernel's environment, so they would be wrong in another one.
ENVIRONMENT_ONLY = frozenset(
    {"CONDA_DEFAULT_ENV", "CONDA_PREFIX", "CONDA_PYTHON_EXE", "PYTHONPATH", "VIRTUAL_ENV"}
)
#: What they name has to be there, or every connection with TLS fails.
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY")
#: What the packages of an engine know; some end the engine for another one, such as the ``socks``
#: that some desktops write.
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
LEFT_OUT_ADVICE = "Correct it where the kernel is started, or give another value with env=."
#: What activating a conda environment puts on the PATH on Windows, beside its own folder.
CONDA_FOLDERS = ("Library/mingw-w64/bin", "Library/usr/bin", "Library/bin", "Scripts")


@dataclass(frozen=True)
class Launch:
    """Everything that is needed to start one engine."""

    argv: tuple[str, ...]
    #: The working folder; None is the caller's.
    cwd: Path | None
    #: The complete environment.
    env: dict[str, str]
    #: The port that it will listen on.
    port: int
    #: Where its web server will answer.
    url: str
    #: Its own folder for temporary files, which it empties when it starts.
    temp_dir: Path
    left_out: Mapping[str, str] = field(default_factory=dict)


def free_port() -> int:
    """Return a TCP port of this machine that nothing listens on at the moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def build_launch(
    installation: Installation | None,
    *,
    port: int,
    temp_dir: Path,
    gpu: int | str | None = None,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    demo_python: str | os.PathLike[str] | None = None,
) -> Launch:
    """Compose the command line and environment of one engine."""
    flags = tuple(str(argument) for argument in args)
    _check_port(port)
    _check_flags(flags, installation, gpu)
    device = None if gpu is None else _device(gpu, os.environ | dict(env or {}))
    known = installation.flags if installation else frozenset[str]()
    required = [
        ("--disable-in-browser",),
        ("--port", str(port)),
        ("--temp-path", str(temp_dir)),
    ]
    if device is not None and device.isdecimal():
        required.append((GPU_FLAG, device))
    ours = [word for words in required if not known or words[0] in known for word in words]
    # Gradio keeps a copy of each image, by default where nobody ever removes it.
    fallback = {"GRADIO_TEMP_DIR": str(temp_dir / "gradio")}
    # Versions without --temp-path derive theirs from TMPDIR, which all engines would share.
    if "--temp-path" not in ours:
        fallback["TMPDIR"] = str(temp_dir)
    # The flag takes numbers only, counts among all GPUs, and not every version has it.
    chosen = {VISIBLE: device} if device is not None and GPU_FLAG not in ours else {}
    rest = tuple(flag for flag in flags if flag != "--disable-in-browser")
    python = (
        Path(demo_python or sys.executable or "") if installation is None else installation.python
    )
    program = ("-m", DEMO_MODULE) if installation is None else ("launch.py",)
    return Launch(
        argv=(str(python), *_python_flags(python), *program, *ours, *rest),
        cwd=None if installation is None else installation.path,
        env=_environment(
            python, demo=installation is None, extra=fallback | dict(env or {}) | chosen
        ),
        port=port,
        url=f"http://{_host(flags)}:{port}",
        temp_dir=temp_dir,
        left_out={
            name: reason
            for name, reason in unusable_variables(os.environ).items()
            if name not in (env or {})
        },
    )


def environment_for(python: Path) -> dict[str, str]:
    """Return the environment for a program of another interpreter than the kernel's own.

    Parameters
    ----------
    python : Path
        The interpreter.
    """
    return _environment(python, demo=False, extra={})


def unusable_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that an engine could only fail by, and why; no value with a secret.

    Parameters
    ----------
    environment : mapping
        All variables.

    Returns
    -------
    dict
        By their names, such as ``SSL_CERT_FILE`` of a file that is gone.
    """
    found = {}
    for name in CERTIFICATES:
        value = environment.get(name, "")
        # A variable of folders may name several.
        places = value.split(os.pathsep) if name.endswith("_DIR") else [value]
        if value and not any(map(os.path.exists, places)):
            found[name] = f"{name} names {value}, which is not there"
        elif name == "SSL_CERT_FILE" and os.path.isdir(value):  # noqa: PTH112 - as above
            found[name] = f"{name} names {value}, which is a folder"
    for name in (*PROXIES, *map(str.lower, PROXIES)):
        if problem := _problem_of_proxy(environment.get(name, "").strip()):
            found[name] = f"{name} {problem}"
    return found


def _problem_of_proxy(value: str) -> str:
    """Say why no package of an engine can use a proxy, without its secrets; else nothing."""
    scheme, separator, _ = value.partition("://")
    if separator and scheme.lower() not in PROXY_SCHEMES:
        return f"begins with {scheme}://, which no package of an engine knows"
    try:
        urlsplit(value if separator else f"http://{value}").port  # noqa: B018 - it is checked here
    except ValueError:
        return "is no address of a proxy"
    return ""


def _python_flags(python: Path) -> tuple[str, ...]:
    """Return the interpreter's own flags: output is not buffered."""
    # An embedded Python (the folder ``python_embeded`` of the Windows archive) has a ``._pth``
    # file, with which it reads no environment variables, so the encoding is set here, too.
    embedded = next(python.absolute().parent.glob("python*._pth"), None)
    return ("-u",) if embedded is None else ("-u", "-X", "utf8")


def _check_port(port: int) -> None:
    if isinstance(port, bool) or not hasattr(port, "__index__") or not 1 <= port <= 65535:
        msg = f"port={shown(port)}: a port is a number from 1 to 65535."
        raise ConfigurationError(msg)


def as_gpu(given: int | str) -> int | str:
    """Return which GPU is meant: an index, or the name of a GPU or of a part of one."""
    number = int(given) if isinstance(given, str) and given.strip().isdecimal() else given
    if isinstance(number, str) and _DEVICE_NAME.fullmatch(number):
        return number
    if type(number) is int and number >= 0:
        return number
    msg = (
        f"gpu={shown(given)}: give the index of the GPU, from 0 up, or the name that nvidia-smi -L "
        "shows, such as 'GPU-8932f937-...' or 'MIG-...'."
    )
    raise ConfigurationError(msg)


def _device(gpu: int | str, env: Mapping[str, str]) -> str:
    """Return which device an index or a name means among those that are visible."""
    gpu, setting = as_gpu(gpu), env.get(VISIBLE)
    if setting is None:
        return str(gpu)
    # As CUDA reads it: what follows a device that does not exist is not visible.
    visible = list(itertools.takewhile(_may_be_device, map(str.strip, setting.split(","))))
    told = f"{VISIBLE}={setting!r} lets this kernel's processes see"
    if isinstance(gpu, int):
        if gpu < len(visible):
            return visible[gpu]
        seen = f"only {len(visible)}, counted from 0" if visible else "none"
        msg = f"gpu={gpu}: there is no such GPU: {told} {seen}."
        raise ConfigurationError(msg)
    # A number or a part of a GPU cannot be compared with the name of a GPU.
    comparable = all(name.startswith("GPU-") for name in (gpu, *visible))
    if comparable and not any(name.startswith(gpu) or gpu.startswith(name) for name in visible):
        msg = f"gpu={gpu!r}: {told} {', '.join(visible) or 'none'}."
        raise ConfigurationError(msg)
    return str(gpu)


def _may_be_device(name: str) -> bool:
    return name.isdecimal() or _DEVICE_NAME.fullmatch(name) is not None


def _check_flags(
    flags: Sequence[str], installation: Installation | None, gpu: int | str | None
) -> None:
    known = installation.flags if installation else frozenset[str]()
    for name in _names(flags):
        if name == "--":
            msg = "args: '--' is no flag of Fooocus."
            raise ConfigurationError(msg)
        if name in OURS:
            msg = f"args: {name} cannot be given: {OURS[name]}."
            raise ConfigurationError(msg)
        if name == GPU_FLAG and gpu is not None:
            msg = f"args: {GPU_FLAG} and gpu={gpu} say the same thing twice. Leave one out."
            raise ConfigurationError(msg)
        if known and name.startswith("--") and name not in known:
            version = installation.version if installation else ""
            msg = f"args: Fooocus {version} has no flag {name}.{nearest(name, known)}"
            raise ConfigurationError(msg)
        # argparse takes any unambiguous beginning of a flag for the flag itself
        ours = next((our for our in OURS if len(name) > 2 and our.startswith(name)), None)
        if ours and name not in known:
            msg = f"args: {name} would be taken for {ours}: {OURS[ours]}."
            raise ConfigurationError(msg)


def _names(flags: Sequence[str]) -> Iterator[str]:
    """Yield the flags without their values."""
    for flag in flags:
        if flag.startswith("--") or flag == "-h":
            yield flag.partition("=")[0]


def _host(flags: Sequence[str]) -> str:
    """Return the address that reaches a server with these flags from this machine."""
    host = HOST
    for index, flag in enumerate(flags):
        name, equals, value = flag.partition("=")
        if name != "--listen":
            continue
        if not equals:
            following = flags[index + 1] if index + 1 < len(flags) else ""
            value = "" if following.startswith("-") else following
        host = value or HOST
    if host in {"0.0.0.0", "::", "[::]", "localhost"}:  # noqa: S104 - compared, not bound
        return HOST
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _environment(python: Path, *, demo: bool, extra: Mapping[str, str]) -> dict[str, str]:
    same = _same_interpreter(python)
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in KERNEL_ONLY
        and not name.startswith(KERNEL_ONLY_PREFIXES)
        and (same or name not in ENVIRONMENT_ONLY)
    }
    for name in unusable_variables(env):
        del env[name]
    if env.get("MPLBACKEND", "").startswith("module://"):  # the kernel's inline backend
        del env["MPLBACKEND"]
    env |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "PYTHONIOENCODING": "utf-8:backslashreplace",
        "PYTHONUNBUFFERED": "1",
    }
    if not same:
        _enter_environment(env, python)
    if demo:
        _make_importable(env)
    _reach_loopback(env)
    for name, value in extra.items():
        env[str(name).upper() if WINDOWS else str(name)] = str(value)
    return env


def _same_interpreter(python: Path) -> bool:
    # Compared as written: two environments may well link to one and the same program.
    return os.path.normcase(python.absolute()) == os.path.normcase(
        Path(sys.executable or "").absolute()
    )


def _enter_environment(env: dict[str, str], python: Path) -> None:
    """Set what activating the interpreter's environment sets, for the programs that it starts."""
    folder = python.absolute().parent
    folders = [folder]
    if (folder / "conda-meta").is_dir():  # on Windows, where its libraries are found by the PATH
        folders += [folder / name for name in CONDA_FOLDERS]
    env["PATH"] = os.pathsep.join(
        part for part in (*map(str, folders), env.get("PATH", "")) if part
    )
    if (folder.parent / "pyvenv.cfg").is_file():
        env["VIRTUAL_ENV"] = str(folder.parent)


def _make_importable(env: dict[str, str]) -> None:
    """Let the demo engine import this package however the notebook found it."""
    env["PYTHONSAFEPATH"] = "1"  # a random.py beside the notebook must not shadow the real one
    root = Path(__file__).resolve().parents[3]
    if root.name not in {"site-packages", "dist-packages"}:
        known = env.get("PYTHONPATH", "")
        env["PYTHONPATH"] = os.pathsep.join(part for part in (str(root), known) if part)


def _reach_loopback(env: dict[str, str]) -> None:
    """Exclude loopback from proxies: the server exits where it cannot reach its own address."""
    names = {name.casefold() for name in env}
    if not names & {"http_proxy", "https_proxy", "all_proxy"}:
        return
    for name in ("NO_PROXY", "no_proxy"):
        parts = [part.strip() for part in env.get(name, "").split(",") if part.strip()]
        parts += [host for host in (HOST, "localhost", "::1") if host not in parts]
        env[name] = ",".join(parts)
