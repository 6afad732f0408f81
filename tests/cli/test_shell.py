"""The shell: generate, upscale, vary and describe, with their JSON and exit codes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

import fooocus_nb
from fooocus_nb import cli
from fooocus_nb.cli.commands import commands, install
from fooocus_nb.cli.report import Report
from fooocus_nb.cli.schemas import schema_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SMALL = ("--size", "64x64", "--steps", "1")
COMMAND = (sys.executable, "-m", "fooocus_nb.cli")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one demo engine for all of these tests."""
    folder = tmp_path_factory.mktemp("engine")
    environment = {"FOOOCUS_DEMO_STEP_SECONDS": "0"}
    with fooocus_nb.start(
        demo=True, name="shell", env=environment, output_dir=folder, timeout=60
    ) as engine:
        assert engine.url
        yield engine.url


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process; return exit code, standard output and standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        code = cli.main(list(words))
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def document(command: str, text: str) -> Any:
    """Return a document that is valid, and nothing else."""
    found = json.loads(text)
    schema = json.loads(schema_text(command))
    jsonschema.Draft202012Validator(schema).validate(found)
    return found


def give(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    """Pipe something into the command."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text), encoding="utf-8"))


# -- portable ---------------------------------------------------------------------------------


def test_a_portable_image_says_what_was_changed(shell, url, tmp_path) -> None:
    with pytest.warns(UserWarning, match="portable: the expanded prompt stands") as told:
        code, out, _ = shell(
            *("generate", "a boat", "--style", "Fooocus V2", "--seed", "5", "-n", "1", *SMALL),
            *("--portable", "--url", url, "-o", str(tmp_path), "--json"),
        )
    (image,) = document("generate", out)["images"]
    assert code == 0
    assert [path.name for path in tmp_path.iterdir()] == [Path(image["path"]).name]
    parameters = image["parameters"]
    assert parameters["style_selections"] == []
    assert any(repr(parameters["prompt"]) in str(warning.message) for warning in told)


# -- one prompt -------------------------------------------------------------------------------


def test_it_prints_the_path_and_nothing_else(shell, url, tmp_path) -> None:
    code, out, err = shell(
        *("generate", "a lighthouse", "-n", "1", "--seed", "7", "--url", url, *SMALL),
        *("-o", str(tmp_path), "--name", "{seed}-{prompt:.5}", "--guidance-scale", "5"),
    )
    assert (code, out) == (0, f"{tmp_path / '7-a lig.png'}\n")
    assert Path(out.strip()).is_file()
    assert "a lighthouse" in err


def test_its_json(shell, url, tmp_path) -> None:
    seed = 2**63 - 5
    code, out, _ = shell(
        *("generate", "a lighthouse", "-n", "2", "--seed", str(seed), "--url", url, *SMALL),
        *("-o", str(tmp_path), "--set", "sharpness=3", "--sampler=euler", "--json"),
    )
    assert code == 0
    images = document("generate", out)["images"]
    assert [image["seed"] for image in images] == [str(seed), str(seed + 1)]
    for image in images:
        assert hashlib.sha256(Path(image["path"]).read_bytes()).hexdigest() == image["sha256"]
        assert image["parameters"]["sharpness"] == 3
        assert image["parameters"]["sampler_name"] == "euler"
        assert image["parameters"]["image_seed"] == image["seed"]


def test_what_is_wrong_is_wrong_usage(shell, url, tmp_path, monkeypatch) -> None:
    give(monkeypatch, b"")
    for words, told in (
        (["two", "words"], "in quotes: 'two words'"),
        ([""], "empty"),
        (["x", "--steps", "many"], "--steps"),
        (["x", "--steps", "100000"], "from -1 to 200"),
        (["x", "--stepz", "3"], "Did you mean '--steps'?"),
        (["x", "--set", "shrapness=3"], "sharpness"),
        (["x", "--no-such-thing", "3"], "--no-such-thing"),
        (["x", "--seed", "1", "--set", "seed=2"], "twice"),
        (["x", "--prompts", "list.txt"], "not both"),
        (["x", "--demo"], "not allowed with"),
        (["x", "--gpu", "1"], "--gpu"),
        (["x", "--timeout", "-1"], "--timeout"),
        (["--prompts", str(tmp_path / "gone")], "No such file"),
        ([], "no prompt"),
        (["x", "--name", "{sed}"], "seed"),
    ):
        code, out, err = shell("generate", *words, "--url", url, "-o", str(tmp_path / "o"))
        assert (code, out) == (2, ""), (words, err)
        assert told in err
        assert "Traceback" not in err


def test_without_an_engine(shell, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("FOOOCUS_HOME", raising=False)
    for words, told in (
        ([], "--demo"),
        (["--path", str(tmp_path)], str(tmp_path)),
        (["--url", "http://127.0.0.1:9"], "127.0.0.1:9"),
        (["--engine", "nobody"], "nobody"),
    ):
        code, out, err = shell("generate", "x", *words, "-o", str(tmp_path / "o"), "--json")
        assert code == 3
        failure = document("generate", out)
        assert failure["images"] == []
        assert failure["error"]["exit_code"] == 3
        assert told in failure["error"]["message"]
        assert told in err


def test_a_running_engine_by_its_name(shell, url, tmp_path) -> None:
    name = next(info.name for info in fooocus_nb.engines() if info.url == url)
    code, out, _ = shell("generate", "x", "--engine", name, "-n1", *SMALL, "-o", str(tmp_path))
    assert code == 0
    assert Path(out.strip()).parent == tmp_path


def test_a_generation_that_fails(shell, tmp_path) -> None:
    code, out, err = shell(
        *("generate", "x", "-n", "1", "--demo", "--flags=--fault oom", *SMALL),
        *("-o", str(tmp_path), "--json"),
    )
    found = document("generate", out)
    assert code == 1
    assert found["failed"][0]["error"]["type"] == "OutOfVRAM"
    assert "memory" in err


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [("oom", "OutOfVRAM", "memory"), ("crash", "ConnectionLost", "RuntimeError")],
)
def test_a_failure_of_an_engine_by_its_name_is_explained_by_its_log(
    shell, tmp_path, fault: str, kind: str, told: str
) -> None:
    with fooocus_nb.start(
        demo=True, args=["--fault", fault], output_dir=tmp_path / "own", timeout=60
    ) as engine:
        name = next(info.name for info in fooocus_nb.engines() if info.url == engine.url)
        words = ("generate", "x", "-n", "1", "--engine", name, *SMALL, "-o", str(tmp_path / "o"))
        code, out, err = shell(*words, "--json")
        error = document("generate", out)["failed"][0]["error"]
        assert code == 1
        assert error["type"] == kind
        assert told in error["message"]
        assert told in err


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_an_interrupt_ends_with_130_and_a_document(tmp_path) -> None:
    words = ("generate", "x", "-n", "3", "--demo", "--json", "--size", "64x64", "--steps", "20")
    running = subprocess.Popen(
        [*COMMAND, *words, "-o", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FOOOCUS_DEMO_STEP_SECONDS": "0.1"},
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*.png")) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    found = document("generate", out)
    assert found["error"]["exit_code"] == 130
    assert {image["path"] for image in found["images"]} == set(map(str, tmp_path.glob("*.png")))
    assert found["images"]


# -- lists ------------------------------------------------------------------------------------


def test_a_list_makes_one_image_of_each_in_order_and_nothing_twice(
    shell, url, tmp_path, monkeypatch
) -> None:
    lines = ["a lighthouse", "ein Haus/Boot", "a lighthouse", "-5 degrees"]
    text = b"\xef\xbb\xbf" + "\r\n\r\n".join(lines).encode()
    words = ("generate", "--url", url, *SMALL, "-o", str(tmp_path))
    give(monkeypatch, text)
    code, out, _ = shell(*words)
    names = [Path(line).name for line in out.splitlines()]
    assert code == 0
    assert names == [
        "00001-a lighthouse.png",
        "00002-ein Haus_Boot.png",
        "00003-a lighthouse.png",
        "00004--5 degrees.png",
    ]
    give(monkeypatch, text + b"\none more\n")
    code, out, err = shell(*words, "--json")
    images = document("generate", out)["images"]
    assert code == 0
    assert "4 of 5 done already" in err
    assert [image["existing"] for image in images] == [True] * 4 + [False]
    assert [image["prompt"] for image in images] == [*lines, "one more"]
    # With all done, no engine is needed.
    give(monkeypatch, text)
    assert shell("generate", "-", "--url", "http://127.0.0.1:9", *words[3:])[0] == 0
    assert len(list(tmp_path.glob("*.png"))) == 5
    give(monkeypatch, text)
    code, out, _ = shell(*words, "--again")
    assert len(out.splitlines()) == 4
    assert len(list(tmp_path.glob("*.png"))) == 9


def killed_and_run_again(tmp_path: Path, count: int, kills: int, *engine: str) -> None:
    """Run a list, kill the command several times in the middle, and run it to its end."""
    prompts, folder = tmp_path / "prompts.txt", tmp_path / "out"
    prompts.write_text("".join(f"prompt {number}\n" for number in range(count)))
    command = [*COMMAND, "generate", *engine, *SMALL, "-o", str(folder)]
    for kill in range(kills):
        wanted = (kill + 1) * count // (kills + 1)
        with prompts.open() as lines:
            running = subprocess.Popen(
                command, stdin=lines, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        deadline = time.monotonic() + 600
        while len(list(folder.glob("*.png"))) < wanted and time.monotonic() < deadline:
            time.sleep(0.005)
        running.kill()
        running.wait(10)
    with prompts.open() as lines:
        done = subprocess.run(
            [*command, "--json"],
            check=False,
            stdin=lines,
            capture_output=True,
            text=True,
            timeout=1200,
        )
    assert done.returncode == 0, done.stderr
    images = document("generate", done.stdout)["images"]
    assert [image["prompt"] for image in images] == [f"prompt {n}" for n in range(count)]
    files = sorted(path.name for path in folder.glob("*.png"))
    assert files == [f"{n + 1:05}-prompt {n}.png" for n in range(count)]
    assert len({image["sha256"] for image in images}) == count
    assert any(image["existing"] for image in images)


def test_a_list_that_is_killed_goes_on(url, tmp_path) -> None:
    killed_and_run_again(tmp_path, 6, 1, "--url", url)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_thousand_prompts(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FOOOCUS_DEMO_STEP_SECONDS", "0")
    killed_and_run_again(tmp_path, 1000, 3, "--demo")


def test_a_list_goes_on_after_one_that_fails(shell, tmp_path, monkeypatch) -> None:
    give(monkeypatch, b"one\ntwo\nthree\n")
    faults = "--flags=--fault empty-gallery"
    code, out, _ = shell("generate", "--demo", faults, *SMALL, "-o", str(tmp_path), "--json")
    assert code == 1
    assert [each["prompt"] for each in document("generate", out)["failed"]] == [
        "one",
        "two",
        "three",
    ]


def test_a_list_that_is_no_text(shell, url, tmp_path, monkeypatch) -> None:
    give(monkeypatch, b"fine\n\xff\xfe\n")
    code, _, err = shell("generate", "--url", url, "-o", str(tmp_path))
    assert code == 2
    assert "line 2" in err


# -- images -----------------------------------------------------------------------------------


def test_folders_in_and_out(shell, url, tmp_path) -> None:
    photos, up, texts = (tmp_path / name for name in ("photos", "up", "texts"))
    for number, prompt in enumerate(("one", "two")):
        shell(*("generate", prompt, "-n1", "--url", url, *SMALL, "-o", str(photos)),
              *("--name", f"{number}", "--seed", "1"))  # fmt: skip
    (photos / "notes.txt").write_text("no image")
    code, out, err = shell("upscale", str(photos), "--by", "1.5x", "--url", url, "-o", str(up))
    assert code == 0, err
    assert out.splitlines() == [str(up / "0-upscaled.png"), str(up / "1-upscaled.png")]
    code, out, _ = shell("upscale", str(photos), "--by", "1.5x", "--url", url, "-o", str(up))
    assert (code, out) == (0, "")
    code, out, _ = shell(
        *("vary", str(photos / "0.png"), "-n1", "--url", url, *SMALL, "-o", str(tmp_path / "v")),
        "--json",
    )
    (image,) = document("vary", out)["images"]
    assert image["input"] == str(photos / "0.png")
    code, out, _ = shell("describe", str(photos), "--url", url, "-o", str(texts), "--json")
    assert code == 0
    found = document("describe", out)["descriptions"]
    assert [Path(each["output"]).name for each in found] == ["0.txt", "1.txt"]
    assert [Path(each["output"]).read_text().strip() for each in found] == [
        each["text"] for each in found
    ]
    (texts / "0.txt").write_text("mine")
    code, out, _ = shell("describe", str(photos), "--url", "http://127.0.0.1:9", "-o", str(texts))
    assert code == 0  # all are there, so nothing is asked
    assert (texts / "0.txt").read_text() == "mine"


def test_images_that_are_none(shell, url, tmp_path) -> None:
    for words, told in (
        (["upscale", "--url", url], "IMAGE is missing"),
        (["upscale", str(tmp_path / "gone.png"), "--url", url], "gone.png"),
        (["upscale", str(tmp_path), "--url", url, "-o", str(tmp_path)], "-o"),
        (["describe", str(tmp_path), "--url", url], "no image in"),
        (["describe", str(tmp_path), "--url", url, "--seed", "1"], "--seed"),
        (["vary", "~nobody-at-all/x.png", "--url", url], "home"),
    ):
        code, out, err = shell(*words)
        assert (code, out) == (2, ""), words
        assert told in err


# -- JSON -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_command_has_a_schema_and_keeps_to_it_when_it_fails(command, shell) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text(command)))
    code, out, err = shell(command, "--json", "--no-such-option", "--", "a", "b", "c")
    assert code == 2
    failure = document(command, out)
    assert failure["error"]["exit_code"] == 2
    assert failure["error"]["message"] in err
    code, out, _ = shell(command, "--json-schema")
    assert code == 0
    assert json.loads(out)["title"]


def test_the_other_commands_documents(shell, url, tmp_path) -> None:
    code, out, _ = shell("ps", "--json")
    (info,) = [each for each in document("ps", out) if each["url"] == url]
    code, out, _ = shell("logs", info["name"], "-n", "3", "--json")
    assert len(document("logs", out)["lines"]) == 3
    code, out, _ = shell("logs", info["name"], "-f", "--json")
    assert (code, document("logs", out)["error"]["exit_code"]) == (2, 2)
    code, out, _ = shell("stop", "nobody", "--json")
    assert (code, document("stop", out)["error"]["exit_code"]) == (3, 3)
    code, out, _ = shell("doctor", "--path", str(tmp_path), "--json")
    document("doctor", out)


def test_what_others_print_stays_off_standard_output(shell, monkeypatch) -> None:
    from fooocus_nb.engine import listing

    def noisy() -> list[object]:
        print("a library that talks")
        return []

    monkeypatch.setattr(listing, "engines", noisy)
    code, out, err = shell("ps", "--json")
    assert (code, document("ps", out)) == (0, [])
    assert "talks" in err


class Stubborn:
    """An engine in the list, which ends when it is told to or says why not."""

    state = "ready"

    def __init__(self, pid: int, running: list[Stubborn], refusal: str = "") -> None:
        self.name, self.pid, self._running, self._refusal = f"e{pid}", pid, running, refusal
        running.append(self)

    def stop(self) -> None:
        if self._refusal:
            raise fooocus_nb.EngineError(self._refusal)
        self._running.remove(self)


def test_one_that_does_not_stop_is_told_with_those_that_did(shell, monkeypatch) -> None:
    from fooocus_nb.engine import listing

    running: list[Stubborn] = []
    for pid, refusal in ((1, ""), (2, "It is somebody else's."), (3, "")):
        Stubborn(pid, running, refusal)
    monkeypatch.setattr(listing, "engines", lambda: list(running))
    code, out, err = shell("stop", "--all", "--json")
    assert code == 1
    assert [each["pid"] for each in document("stop", out)["stopped"]] == [1, 3]
    assert "'e2' (process 2) could not be stopped. It is somebody else's." in err
    assert "Traceback" not in err


def test_a_wrong_number_of_lines_is_told(shell) -> None:
    code, _, err = shell("logs", "nobody", "-n", "many")
    assert code == 2
    assert "'many' is no whole number from 0 up" in err


def test_what_is_noted_hides_secrets(capsys) -> None:
    report = Report(json=False)
    report.note("engine at http://me:opensesame@box: 404")
    report.say("--token opensesame.png")
    told = capsys.readouterr()
    assert "opensesame" not in told.err
    assert told.out == "--token opensesame.png\n"


def test_no_error_steers_the_terminal(capsys) -> None:
    odd = "a\x1b]52;c;cHduZWQ=\x07b\x9b2Jc\u202e\udcff"
    assert cli.main(["generate", "--prompts", odd]) == 2
    assert cli.main(["generate", "x", "--url", f"http://127.0.0.1:1/{odd}"]) == 3
    told = capsys.readouterr()
    assert "--prompts abc\ufffd" in told.err
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", told.err + told.out)


def test_nobody_can_answer_without_a_standard_input(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    screen = install._Screen(Report(json=False), yes=False)
    with pytest.raises(fooocus_nb.InstallError, match="Nobody can answer"):
        screen.confirm("Install it?")


# -- logins and names -------------------------------------------------------------------------


def test_a_password_on_the_command_line_is_refused_and_not_repeated(shell) -> None:
    for words in (["--auth", "me:opensesame"], ["--url", "http://me:opensesame@127.0.0.1:9"]):
        code, out, err = shell("generate", "x", *words, "--json")
        assert code == 2
        assert "opensesame" not in out + err
        assert "FOOOCUS_NB_AUTH" in err


@pytest.mark.skipif(os.name == "nt", reason="has no pseudo terminals")
def test_a_password_is_asked_for_at_the_terminal(tmp_path) -> None:
    import pexpect

    words = [*COMMAND[1:], "generate", "x", "--auth", "me", "--url", "http://127.0.0.1:9"]
    terminal = pexpect.spawn(COMMAND[0], words, timeout=60, encoding="utf-8", cwd=str(tmp_path))
    terminal.expect("Password of me: ")
    arguments = Path(f"/proc/{terminal.pid}/cmdline")
    terminal.sendline("opensesame")
    terminal.expect("127.0.0.1:9")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 3
    assert "opensesame" not in (terminal.before or "")
    assert not arguments.exists() or b"opensesame" not in arguments.read_bytes()


def test_it_is_a_subcommand_of_jupyter() -> None:
    command = Path(sys.executable).with_name("jupyter-fooocus")
    done = subprocess.run([command, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert re.match("usage: jupyter fooocus ", done.stdout)
