"""No password or token of the child's output is kept on the disk."""

from __future__ import annotations

import itertools
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fooocus_nb._secrets import redact, remember_environment, secrets_in
from fooocus_nb.supervisor import ChildSpec, Process
from fooocus_nb.supervisor._masking import MAX_WAITING, Masker

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hf_abcdefghijklmnopqrstuvwxyz"
LINES = f"one\nfetching with token={SECRET}\rhttp://me:{SECRET}@host/x\n\xff\xfe high weights\n"


@given(st.lists(st.integers(0, len(LINES.encode("latin-1"))), max_size=12))
def test_however_it_is_cut_it_is_masked(cuts: list[int]) -> None:
    data, masker = LINES.encode("latin-1"), Masker()
    places = [0, *sorted(cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(places)]
    written = b"".join(map(masker.feed, pieces)) + masker.rest(ended=True)
    assert SECRET.encode() not in written
    assert written.startswith(b"one\nfetching with token=***\r")
    assert written.endswith(b"\xff\xfe high weights\n")


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_what_holds_no_secret_is_kept_byte_by_byte(pieces: list[bytes]) -> None:
    pieces = [piece.replace(b"@", b"a").replace(b"-", b"_") for piece in pieces]
    masker = Masker()
    written = b"".join(map(masker.feed, pieces)) + masker.rest(ended=True)
    assert len(written) == len(b"".join(pieces))
    assert written == b"".join(pieces)


def test_a_progress_bar_is_written_before_its_line_ends() -> None:
    masker = Masker()
    assert masker.feed(b"12 %") == b""
    assert masker.waits
    assert masker.rest(ended=False) == b"12 %"
    assert masker.feed(b"password: ") == b""
    assert masker.rest(ended=False) == b""  # what follows may be one
    assert len(masker.feed(b"x" * MAX_WAITING)) > MAX_WAITING  # but not for ever


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--hf-token", "abc", "--listen"], {"--hf-token": "abc"}),
        (["--api-key=abc"], {"--api-key": "abc"}),
        (["--disable-auth", "--listen"], {}),
        (["--always-low-vram"], {}),
        (["--hf-mirror", "https://me:abc@host/x"], {"--hf-mirror": "abc"}),
        (["--hf-mirror=https://abc@host"], {"--hf-mirror": "abc"}),
        (["https://me:a:b@host"], {"an address": "a:b"}),
        (["--hf-mirror", "https://host/me@x"], {}),
        ([], {}),
    ],
)
def test_secrets_of_a_command_line(words: list[str], found: dict[str, str]) -> None:
    assert secrets_in(words) == found


def test_the_words_of_a_list_are_masked() -> None:
    shown = redact("[System ARGV] ['launch.py', '--hf-token', 'abcdefgh', '--listen']")
    assert shown == "[System ARGV] ['launch.py', '--hf-token', '***', '--listen']"


def test_the_log_on_the_disk_is_masked(tmp_path: Path) -> None:
    code = (
        "import sys, time; print('argv', sys.argv); print('bare', sys.argv[-1]);"
        f"sys.stdout.write('token={SECRET[:9]}'); sys.stdout.flush(); time.sleep(1);"
        f"print('{SECRET[9:]}'); print('the end', flush=True); time.sleep(60)"
    )
    spec = ChildSpec(
        argv=(sys.executable, "-c", code, "--hf-token", "open-sesame-123"),
        cwd=tmp_path,
        env={},
        name="masked",
        run_dir=_made(tmp_path / "run-masked01"),
        log_path=tmp_path / "log" / "engine.log",
    )
    process = Process.start(spec)
    try:
        deadline = time.monotonic() + 30
        while b"the end" not in (log := _read(spec.log_path)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert b"the end" in log
        assert SECRET[9:].encode() not in log
        assert b"open-sesame" not in log
        assert b"bare ***" in log
    finally:
        process.stop()


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("HF_TOKEN", "plain-4711-word", "plain-4711-word"),
        ("CIVITAI_API_KEY", "0123456789abcdef", "0123456789abcdef"),
        ("HTTPS_PROXY", "http://me:p4ss+w0rd@proxy:3128", "p4ss+w0rd"),
        ("PIP_INDEX_URL", "https://t0ken-4711@host/simple", "t0ken-4711"),
        ("JUPYTER_TOKEN", "0123456789abcdef/+", "0123456789abcdef/+"),
        ("MY_AUTH", "someone:s3cr et/x", "s3cr et/x"),
    ],
)
def test_a_secret_of_the_environment_is_masked_where_a_program_prints_it(
    tmp_path: Path, name: str, value: str, secret: str
) -> None:
    """As it is, in an address, in JSON and as Python shows it."""
    code = (
        "import json, os, urllib.parse as u; s = os.environ['S']; print('bare', s);"
        "print('in', u.quote(s, safe=''), json.dumps(s), repr(s)); print('the end', flush=True)"
    )
    spec = ChildSpec(
        argv=(sys.executable, "-c", code),
        cwd=tmp_path,
        env={name: value, "S": secret},
        name="masked",
        run_dir=_made(tmp_path / "run-masked02"),
        log_path=tmp_path / "log" / "engine.log",
    )
    process = Process.start(spec)
    try:
        process.wait(timeout=30)
    finally:
        process.stop()
    log = _read(spec.log_path).decode()
    assert "bare ***" in log
    assert "the end" in log
    assert secret not in log
    assert quote(secret, safe="") not in log


def test_what_is_no_secret_of_an_environment_is_not_masked() -> None:
    remember_environment(
        {
            "XAUTHORITY": "/home/me/.Xauthority-4711",
            "SSH_AUTH_SOCK": "agent-4711-socket",
            "TOKENIZERS_PARALLELISM": "parallel-4711",
            "X_AUTH": "disabled",
            "API_KEY": "short",
            "TOKEN": "/run/secrets/token-4711",
            "PWD": "folder-4711-word",
            "HTTP_PROXY": "http://proxy-4711:3128",
        }
    )
    text = (
        "/home/me/.Xauthority-4711 agent-4711-socket parallel-4711 disabled short "
        "/run/secrets/token-4711 folder-4711-word http://proxy-4711:3128"
    )
    assert redact(text) == text


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
