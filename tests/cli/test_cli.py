"""The command line: what it answers, on which stream, and with which exit code."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

import fooocus_nb
from fooocus_nb import cli
from fooocus_nb.cli import quickstart
from fooocus_nb.cli.progress_bar import ProgressBar, format_seconds


def run(*args: str, **options) -> subprocess.CompletedProcess[str]:
    options.setdefault("timeout", 60)
    return subprocess.run(
        [sys.executable, "-m", "fooocus_nb.cli", *args], capture_output=True, text=True, **options
    )


def test_the_installed_command_tells_the_version() -> None:
    command = Path(sys.executable).with_name("fooocus-nb")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"fooocus-nb {fooocus_nb.__version__}\n")


@pytest.mark.parametrize("args", [(), ("nonsense",), ("quickstart", "--nonsense")])
def test_a_wrong_command_line_exits_with_2(args: tuple[str, ...]) -> None:
    done = run(*args)
    assert done.returncode == 2
    assert not done.stdout
    assert "usage: fooocus-nb" in done.stderr


def test_a_misspelt_command_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["genrate", "a cat"]) == 2
    assert capsys.readouterr().err.endswith(" Did you mean 'generate'?\n")


@pytest.mark.parametrize("command", ["stop", "logs"])
def test_an_engine_that_is_not_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = uuid.uuid4().hex
    assert cli.main([command, name]) == 3
    assert f"There is no engine named {name!r}." in capsys.readouterr().err


def test_help_names_the_commands() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "quickstart" in done.stdout


def test_a_folder_without_fooocus_is_an_error(tmp_path: Path) -> None:
    done = run("quickstart", "--path", str(tmp_path), "--output", str(tmp_path / "out"))
    assert done.returncode == 3
    assert done.stderr.startswith("fooocus-nb: ")
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_environment_names_the_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FOOOCUS_HOME", str(tmp_path / "gone"))
    assert cli.main(["quickstart", "--output", str(tmp_path / "out")]) == 3
    assert str(tmp_path / "gone") in capsys.readouterr().err


def test_an_interpreter_alone_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["quickstart", "--python", sys.executable]) == 2
    assert "--path" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert cli.main(["quickstart", "--output", str(tmp_path / "file")]) == 1
    error = capsys.readouterr().err
    assert f"Nothing can be written into {tmp_path / 'file'}: File exists." in error
    assert "--output DIR" in error


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="has no /proc")
def test_an_output_on_a_read_only_file_system_is_an_error_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["quickstart", "--output", "/proc/self"]) == 1
    assert "Nothing can be written into /proc/self" in capsys.readouterr().err.replace(
        str(Path("/proc/self").resolve()), "/proc/self"
    )


def test_missing_notebook_tools_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quickstart, "NEEDED", ("nbformat", "no_such_package"))
    assert cli.main(["quickstart", "--output", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "no_such_package" in error
    assert 'pip install "fooocus-nb[lab]"' in error


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (61, "1:01"), (3723, "1:02:03")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


class Terminal(io.TextIOWrapper):
    """A terminal of a given encoding that remembers."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    def isatty(self) -> bool:
        return True

    def written(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


def test_in_a_terminal_the_bar_is_redrawn_in_place() -> None:
    terminal = Terminal("utf-8")
    bar = ProgressBar(terminal)
    bar.show(0, 4, 0.0, "Starting")
    bar.show(2, 4, 61.0, "Half way")
    bar.close()
    frames = terminal.written().split("\r\x1b[2K")
    assert "\n" not in terminal.written()
    assert frames[1].endswith("0/4  0:00  Starting")
    assert frames[2].count("━") == frames[2].count("─") == 12
    assert frames[-1] == ""  # nothing of it stays


def test_the_bar_moves_while_a_step_lasts() -> None:
    terminal = Terminal("utf-8")
    bar = ProgressBar(terminal)
    for _ in range(2):
        bar.show(1, 4, 5.0, "Same")
    first, second = terminal.written().split("\r\x1b[2K")[1:]
    assert first != second


def test_a_terminal_without_unicode_gets_ascii() -> None:
    terminal = Terminal("ascii")
    ProgressBar(terminal).show(2, 4, 1.0, "Half way")
    assert "############------------" in terminal.written()


def test_the_bar_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal("utf-8")
    ProgressBar(terminal).show(1, 2, 1.0, "long " * 50)
    assert len(terminal.written().removeprefix("\r\x1b[2K")) < 40


def test_what_a_progress_bar_says_cannot_steer_the_terminal():
    terminal = Terminal("utf-8")
    bar = ProgressBar(terminal)
    bar.show(0, 2, 1.0, "a\x1b]52;c;cHduZWQ=\x07b", "c\n\x9b2Jd\u202ee\ud800")
    bar.close()
    written = terminal.written().replace("\r\x1b[2K", "")
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202e\ud800]", written)
    assert "ab: c de" in written


def test_only_a_terminal_shows_details() -> None:
    terminal, stream = Terminal("utf-8"), io.StringIO()
    for place in (terminal, stream):
        ProgressBar(place).show(1, 2, 1.0, "Start", "1.2 of 6.6 GB")
    assert terminal.written().endswith("Start: 1.2 of 6.6 GB")
    assert stream.getvalue() == "[1/2] 0:01 Start\n"


def test_elsewhere_there_is_one_line_for_each_title() -> None:
    stream = io.StringIO()
    bar = ProgressBar(stream)
    for elapsed, title in [(0.0, "One"), (1.0, "One"), (2.0, "Two")]:
        bar.show(1, 3, elapsed, title)
    bar.close()
    assert stream.getvalue() == "[1/3] 0:00 One\n[1/3] 0:02 Two\n"
