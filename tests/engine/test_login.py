"""Engines whose server wants a login, and that no secret is shown or written anywhere."""

from __future__ import annotations

import html
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psutil
import pytest

import fooocus_nb
from fooocus_nb._secrets import redact, redact_words, remember_secret
from fooocus_nb.engine.listing import engines
from fooocus_nb.errors import ConfigurationError, GenerationError, LoginError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Another in each process: the command lines of all are looked at, and tests run side by side.
SECRET = f"sesame-{os.getpid()}-5173"
SMALL = {"image_number": 1, "steps": 1}


@pytest.fixture(autouse=True)
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    for engine in fooocus_nb.running().values():
        engine.stop()


@pytest.mark.slow
def test_the_checkouts_own_login(gradio3_checkout: Path) -> None:
    (gradio3_checkout / "auth.json").write_text(json.dumps([{"user": "me", "pass": SECRET}]))
    engine = fooocus_nb.start(gradio3_checkout, timeout=120, share=False)
    assert len(engine.generate("x", image_number=1)) == 1
    engine.restart()
    assert len(engine.generate("x", image_number=1)) == 1
    look_for_the_secret(engine)


@pytest.mark.slow
def test_a_login_that_is_given_or_in_the_environment(
    gradio3_checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (gradio3_checkout / "auth.json").write_text(json.dumps([{"user": "me", "pass": SECRET}]))
    started = fooocus_nb.start(gradio3_checkout, timeout=120, auth=("me", SECRET), share=False)
    url = started.url
    assert url is not None
    with pytest.raises(LoginError, match="wants a login") as caught:
        fooocus_nb.connect(url)
    # Where a login of this process has that very word, it is masked here, too.
    said = str(caught.value).replace("***", "secret")
    assert 'auth=("user", "secret")' in said
    assert "FOOOCUS_NB_AUTH=user:secret" in said
    with pytest.raises(LoginError, match="does not take") as caught:
        fooocus_nb.connect(url, auth=("me", "another-5173"))
    assert "another-5173" not in str(caught.value)
    for engine in (
        fooocus_nb.connect(url, auth=f"me:{SECRET}"),
        fooocus_nb.connect(url.replace("://", f"://me:{SECRET}@")),
    ):
        with engine:
            assert len(engine.generate("x", image_number=1)) == 1
            look_for_the_secret(engine)
    monkeypatch.setenv("FOOOCUS_NB_AUTH", f"me:{SECRET}")
    with fooocus_nb.connect(url) as engine:
        assert len(engine.generate("x", image_number=1)) == 1


@pytest.mark.parametrize("auth", ["me", ("me",), 7, ()])
def test_what_is_no_login_is_refused_before_anything_starts(auth: object) -> None:
    with pytest.raises(ConfigurationError, match="auth"):
        fooocus_nb.start(demo=True, auth=auth)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="auth"):
        fooocus_nb.connect("http://127.0.0.1:1", auth=auth)  # type: ignore[arg-type]
    assert not fooocus_nb.running()


def look_for_the_secret(engine: fooocus_nb.Engine, *, except_for: tuple[int, ...] = ()) -> None:
    """Fail where the secret stands in anything that is shown or written of an engine.

    `except_for` has the processes whose command lines are not looked at.
    """
    shown = {
        "repr": repr(engine),
        "url": str(engine.url),
        "history": repr(engine.history),
        "notices": repr(engine.notices()),
        "log": "\n".join(engine.tail(1000)),
        "listing": repr(engines()) + engines()._repr_html_(),
        "json": json.dumps([info.as_dict() for info in engines()]),
        "health": repr(engine.health()),
        "monitor": repr(engine.monitor()._repr_mimebundle_()),
        "panel": repr(engine.panel()._repr_mimebundle_()),
        "gallery": repr(engine.gallery()._repr_mimebundle_()),
        "result": repr(engine.last_result and engine.last_result._repr_mimebundle_()),
    }
    for folder in {info.log_path.parent for info in engines()} | {
        path.parent for path in Path(fooocus_nb_runtime()).rglob("guardian.json")
    }:
        for file in folder.iterdir():
            if file.is_file():
                shown[str(file)] = file.read_text(errors="replace")
    for process in psutil.process_iter(["cmdline"]):
        if process.pid not in (psutil.Process().pid, *except_for):
            shown[f"process {process.pid}"] = " ".join(process.info["cmdline"] or ())
    assert not [name for name, text in shown.items() if SECRET in text]


def fooocus_nb_runtime() -> str:
    from fooocus_nb.engine.folders import runtime_folder

    return str(runtime_folder())


def test_secrets_in_arguments_and_addresses(tmp_path: Path) -> None:
    engine = fooocus_nb.start(
        demo=True, env={"HF_TOKEN": SECRET, "PIP_INDEX_URL": f"https://me:{SECRET}@host/simple"}
    )
    engine.generate("x", **SMALL)
    look_for_the_secret(engine)
    with pytest.raises(ParameterError) as caught:
        engine.upscale(f"http://me:{SECRET}@127.0.0.1/x.png")
    assert SECRET not in str(caught.value)
    with pytest.raises(fooocus_nb.FooocusError) as failed:
        fooocus_nb.connect(f"http://me:{SECRET}@127.0.0.1:1")
    assert SECRET not in f"{failed.value!r} {failed.value}"


@pytest.mark.parametrize(
    "flags",
    [["--hf-mirror", f"https://me:{SECRET}@host/x"], [f"--hf-mirror=https://{SECRET}@host"]],
)
def test_a_secret_among_the_flags_is_warned_of_and_masked_by_us(flags: list[str]) -> None:
    """Whoever runs the engine sees its flags; nothing of ours repeats them."""
    with pytest.warns(UserWarning, match="read by every user of this machine") as warned:
        engine = fooocus_nb.start(demo=True, args=flags, share=True)
    (message,) = [str(item.message) for item in warned if "args=" in str(item.message)]
    assert "--hf-mirror is HF_MIRROR" in message
    assert SECRET not in message
    pid = engine.pid
    assert pid is not None
    # It really stands there, which is why it is warned of.
    assert SECRET in " ".join(psutil.Process(pid).cmdline())
    look_for_the_secret(engine, except_for=(pid,))


def test_a_secret_behind_a_flag_that_is_refused_is_masked() -> None:
    with (
        pytest.warns(UserWarning, match="if the flag has a variable"),
        pytest.raises(fooocus_nb.StartError) as caught,
    ):
        fooocus_nb.start(demo=True, args=["--hf-token", SECRET])
    assert "--hf-token" in str(caught.value)
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.log}"


def test_what_the_warning_advises_keeps_the_secret_out_of_sight(
    recwarn: pytest.WarningsRecorder,
) -> None:
    url = f"https://me:{SECRET}@host/x"
    engine = fooocus_nb.start(demo=True, env={"HF_MIRROR": url}, share=True)
    assert not [item for item in recwarn if "args=" in str(item.message)]
    look_for_the_secret(engine)
    pid = engine.pid
    assert pid is not None
    assert psutil.Process(pid).environ()["HF_MIRROR"] == url


@pytest.mark.skipif(sys.platform != "linux", reason="as Linux has it")
def test_a_command_line_is_for_everybody_and_an_environment_is_not() -> None:
    """What the warning and docs/security.md say of it."""
    engine = fooocus_nb.start(demo=True, share=False)
    folder = Path("/proc") / str(engine.pid)
    assert (folder / "cmdline").stat().st_mode & 0o777 == 0o444
    assert (folder / "environ").stat().st_mode & 0o777 == 0o400


def test_a_secret_of_the_environment_that_an_engine_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself, without its name; shown in every kernel that uses the engine, and nowhere."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nprint('bare', os.environ['HF_TOKEN'], os.environ['HTTP_PROXY'], flush=True)\n"
    )
    monkeypatch.setenv("HTTP_PROXY", f"http://me:proxy-{SECRET}@127.0.0.1:1")
    env = {"HF_TOKEN": SECRET, "PYTHONPATH": str(tmp_path)}
    engine = fooocus_nb.start(demo=True, env=env, share=True)
    engine.generate("x", **SMALL)
    assert any("bare ***" in line for line in engine.tail(1000))
    look_for_the_secret(engine)


def test_secrets_that_an_engine_prints(tmp_path: Path) -> None:
    code = f"print('Looking in https://me:{SECRET}@host/simple --hf-token {SECRET} key')"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=60
    ).stdout
    from fooocus_nb.supervisor import LineSplitter

    (line,) = LineSplitter().feed(printed)
    assert SECRET not in line.text
    assert "host/simple" in line.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://a:b@host/x and ftp://t@h", "http://***@host/x and ftp://***@h"),
        ("http://a:b@c@host/", "http://***@host/"),
        ("http://host/x@y", "http://host/x@y"),
        ("--auth me:secret --port 3", "--auth *** --port 3"),
        ("--api-key=abc x", "--api-key=*** x"),
        ("--hf_token abc", "--hf_token ***"),
        ("auth=('me', 'secret')", "auth=***"),
        ('{"password": "abc", "user": "me"}', '{"password": "***", "user": "me"}'),
        ("http://h/x?token=abc&a=b", "http://h/x?token=***&a=b"),
        ("Authorization: Basic bWU6YQ==", "Authorization: ***"),
        ("HF_TOKEN=hf_abc next", "HF_TOKEN=*** next"),
        ("hf_abcdefghijklmnopqrstuv", "***"),
        ("glpat-abcdefghijklmnopqrstuv", "***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_1", "***"),
        ("https://b/x.png?X-Amz-Signature=ab1&w=3", "https://b/x.png?X-Amz-Signature=***&w=3"),
        ("https://b/x.png?se=2026&sig=ab%3D", "https://b/x.png?se=2026&sig=***"),
        ("AWS_SECRET_ACCESS_KEY=abc", "AWS_SECRET_ACCESS_KEY=***"),
        ('{"passphrase": "abc"}', '{"passphrase": "***"}'),
        ("signature of key=3, keyword: 'monkey'", "signature of key=3, keyword: 'monkey'"),
        ("PWD=/home/me/fooocus", "PWD=/home/me/fooocus"),
        (
            "a photo of a token, secretly painted @home",
            "a photo of a token, secretly painted @home",
        ),
        ("--always-high-vram --preset auth", "--always-high-vram --preset auth"),
        ("Token indices sequence length is longer", "Token indices sequence length is longer"),
    ],
)
def test_what_is_masked(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert redact(expected) == expected


def test_a_command_line_is_masked_word_by_word() -> None:
    words = ["x", "--auth", "me:s", "--port", "3", "--token=abc", "http://a:b@h"]
    assert redact_words(words) == [
        "x",
        "--auth",
        "***",
        "--port",
        "3",
        "--token=***",
        "http://***@h",
    ]


def test_a_known_secret_is_masked_wherever_it_stands_by_itself() -> None:
    remember_secret("open-sesame-17")
    error = GenerationError("the server says open-sesame-17!", log=["x open-sesame-17"])
    assert "open-sesame-17" not in f"{error} {error!r} {error.log} {error.message}"
    assert redact("reopen-sesame-177") == "reopen-sesame-177"


def test_a_known_secret_is_masked_however_it_is_written() -> None:
    secret = '#öpen/"sés&me'
    remember_secret(secret)
    for written in (
        *(secret, quote(secret), quote(secret, safe=""), json.dumps(secret), repr(secret)),
        *(json.dumps(secret, ensure_ascii=False), html.escape(secret), f"x{secret}"),
    ):
        assert "pen" not in redact(f"it says {written}!")
