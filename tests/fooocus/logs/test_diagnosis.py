from __future__ import annotations

import pickle
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fooocus_nb import errors
from fooocus_nb.fooocus.logs import rules
from fooocus_nb.fooocus.logs.diagnosis import diagnose, notices, traceback_of

WORKER = [
    "Traceback (most recent call last):",
    '  File "/opt/fooocus/modules/async_worker.py", line 1471, in worker',
    "    handler(task)",
]
FOREIGN = ['  File "/opt/venv/site-packages/torch/x.py", line 1, in y', "    z()", "    ^^^"]


@pytest.mark.parametrize(
    ("line", "error", "said"),
    [
        (
            "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried",
            errors.OutOfVRAM,
            "--always-low",
        ),
        ("torch.OutOfMemoryError: CUDA out of memory.", errors.OutOfVRAM, "GPU"),
        ("RuntimeError: CUDA error: out of memory", errors.OutOfVRAM, "GPU"),
        (
            "RuntimeError: [enforce fail at alloc_cpu.cpp:72] data. DefaultCPUAllocator: not "
            "enough memory: you tried to allocate 9 bytes.",
            errors.OutOfMemory,
            "swap",
        ),
        ("MemoryError", errors.OutOfMemory, "swap"),
        ("OSError: Cannot find empty port in range: 7865-7865.", errors.PortTaken, "port"),
        ("OSError: [Errno 98] Address already in use", errors.PortTaken, "port"),
        ("ERROR:    [Errno 10048] error while attempting to bind", errors.PortTaken, "port"),
        ("urllib.error.URLError: <urlopen error [Errno -3]>", errors.NetworkError, "--hf-mirror"),
        ("socket.gaierror: [Errno 11001] getaddrinfo failed", errors.NetworkError, "mirror"),
        (
            'ValueError: No such file or directory: "/m/nope {x}.safetensors"',
            errors.ModelNotFound,
            "/m/nope {x}.safetensors",
        ),
        (
            "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge",
            errors.CorruptedModel,
            "cut short",
        ),
        ("File corrupted: /m/a b.safetensors", errors.CorruptedModel, "/m/a b.safetensors"),
        ("ModuleNotFoundError: No module named 'torch'", errors.MissingDependency, "'torch'"),
        (
            "AssertionError: Torch not compiled with CUDA enabled",
            errors.GPUUnusable,
            "--always-cpu",
        ),
        ("launch.py: error: unrecognized arguments: --foo", errors.UnknownFlag, "--foo"),
        ("OSError: [Errno 28] No space left on device", errors.DiskFull, "disk"),
        ("Fatal Python error: Bus error", errors.EngineDied, "Bus error"),
        ("PermissionError: [Errno 13] Permission denied: '/o'", errors.EngineError, "/o"),
        *(
            (
                f"FileNotFoundError: [Errno 2] No such file or directory: '{folder}/outputs/1.png'",
                errors.GenerationError,
                "does not find",
            )
            for folder in (
                "/home/me/fooocus-nb-main",
                "/tmp/fooocus-nb-ci.AbC123/x",
                "/tmp/fooocus-2",
            )
        ),
    ],
)
def test_known_lines(line: str, error: type[errors.EngineError], said: str) -> None:
    for lines in ([line], [*WORKER, *FOREIGN, line, "", "Total time: 0.05 seconds"]):
        found = diagnose(lines)
        assert found is not None
        assert found.error is error
        assert said in found.cause + found.remedy
        assert line in found.lines
        coloured = diagnose([f"\x1b[31m{text}\x1b[0m" for text in lines])
        assert coloured == found


@pytest.mark.parametrize(
    "line",
    [
        "[Prompt Expansion] RuntimeError: CUDA out of memory, DefaultCPUAllocator: not enough",
        "[Prompt Expansion] OSError: [Errno 28] User stopped Traceback (most recent call last):",
        "the torch.cuda.OutOfMemoryError of my dreams",
    ],
)
def test_prompts_are_no_failures(line: str) -> None:
    assert diagnose([line, "Total time: 1 seconds"]) is None


def session() -> list[list[str]]:
    log = Path(__file__).resolve().parents[4] / "shared/fooocus/log/2.5.5-session.log"
    lines = re.split(r"\r\n|\n|\r", log.read_text(encoding="utf-8"))
    begins = [i for i, line in enumerate(lines) if line.startswith("[Parameters] Adaptive")]
    return [lines[a:b] for a, b in zip([0, *begins], [*begins, len(lines)], strict=True)]


@pytest.mark.recorded
def test_a_recorded_session() -> None:
    found = [diagnosis for part in session() if (diagnosis := diagnose(part))]
    # The missing model and the wrong performance stand in one part; the last one counts.
    assert [d.error for d in found] == [errors.GenerationError, errors.GenerationStopped]
    assert "'Warp' is not a valid Performance" in found[0].cause


@pytest.mark.recorded
def test_a_recorded_missing_model() -> None:
    lines = next(part for part in session() if any("nope.safetensors" in line for line in part))
    until = next(i for i, line in enumerate(lines) if "run_predict" in line) - 1
    found = diagnose(lines[:until])
    assert found is not None
    assert found.error is errors.ModelNotFound
    assert found.lines[0] == "Traceback (most recent call last):"
    assert 6 < len(found.lines) < 14
    assert not any("site-packages" in line or "^^^" in line for line in found.lines)


def test_an_earlier_failure_does_not_explain_a_later_one() -> None:
    first = [*WORKER, "torch.cuda.OutOfMemoryError: CUDA out of memory."]
    found = diagnose([*first, "Total time: 1 seconds", *WORKER, "KeyError: 'x'"])
    assert found is not None
    assert found.error is errors.GenerationError
    assert "KeyError: 'x'" in found.cause


def test_a_cause_that_was_wrapped_is_found() -> None:
    joint = "During handling of the above exception, another exception occurred:"
    lines = [
        *WORKER, "torch.cuda.OutOfMemoryError: CUDA out of memory.", "", joint, "", *WORKER,
        "ValueError: oh", "File corrupted: /m/x.safetensors ",
    ]  # fmt: skip
    found = diagnose(lines)
    assert found is not None
    assert found.error is errors.OutOfVRAM


def test_a_dead_worker_is_told_with_its_cause() -> None:
    head = "Exception in thread Thread-2 (worker):"
    found = diagnose([head, *WORKER, "torch.cuda.OutOfMemoryError: CUDA out of memory."])
    assert found is not None
    assert found.error is errors.WorkerDead
    assert "GPU" in found.cause
    assert "restart()" in found.remedy
    alone = diagnose([head])
    assert alone is not None
    assert alone.error is errors.WorkerDead


@pytest.mark.parametrize(
    ("returncode", "error", "said"),
    [
        (-9, errors.OutOfMemory, "SIGKILL"),
        (137, errors.OutOfMemory, "SIGKILL"),
        (-11, errors.EngineDied, "segmentation"),
        (0xC0000005, errors.EngineDied, "segmentation"),
        (-0x3FFFFFFB, errors.EngineDied, "segmentation"),
        (-15, errors.EngineDied, "SIGTERM"),
        (-6, errors.EngineDied, "SIGABRT"),
    ],
)
def test_signals(returncode: int, error: type[errors.EngineError], said: str) -> None:
    found = diagnose(["last words", *WORKER, "KeyError: 'old'", "x"], returncode=returncode)
    assert found is not None
    assert found.error is error
    assert said in found.cause


def test_deaths_by_exit_code() -> None:
    assert diagnose(["bye"], returncode=1) is None
    assert diagnose([*WORKER, "KeyError: 'x'"], returncode=0) is None
    found = diagnose([*WORKER, "KeyError: 'x'"], returncode=1)
    assert found is not None
    assert found.error is errors.EngineDied
    assert "KeyError: 'x'" in found.cause
    hosted = diagnose(["Loading", "^C"], returncode=0)
    assert hosted is not None
    assert hosted.error is errors.OutOfMemory


def test_the_web_servers_own_tracebacks_are_no_failures() -> None:
    lines = ["Traceback (most recent call last):", *FOREIGN, "ConnectionResetError: gone"]
    assert diagnose(lines) is None
    assert traceback_of(lines)[-1] == "ConnectionResetError: gone"


def test_a_traceback_that_is_not_whole_is_none() -> None:
    assert traceback_of(WORKER) == ()
    assert traceback_of([*WORKER, "no exception line"]) == ()
    assert traceback_of([]) == ()


def test_notices() -> None:
    found = notices(
        [
            'Failed to load config file "/f/config.txt" . The reason is: x',
            "Version mismatch for gradio: Installed version None",
            "Lora file not found: x.safetensors",
            "User skipped",
            "User skipped",
            "[Prompt Expansion] Failed to load config file",
        ]
    )
    assert [notice.line.split()[0] for notice in found] == ["Failed", "Version", "Lora", "User"]
    assert "ignored" in found[0].meaning
    assert "gradio" in found[1].meaning


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.title)
def test_every_rule_is_the_one_that_knows_its_example(rule: rules.Rule) -> None:
    found = diagnose([*WORKER, *FOREIGN, rule.example])
    assert found is not None
    assert (found.error, rule.example) == (rule.error, found.lines[-1])
    assert found.cause.startswith(rule.cause.partition("{")[0])
    assert found.remedy.startswith(rule.remedy.partition("{")[0])
    assert "not told" not in found.cause + found.remedy
    assert issubclass(rule.error, errors.EngineError)


@pytest.mark.parametrize("rule", rules.NOTICES, ids=lambda rule: rule.example.split()[0])
def test_every_notice_knows_its_example(rule: rules.NoticeRule) -> None:
    (notice,) = notices([rule.example, rule.example])
    assert notice.line == rule.example
    assert notice.meaning.startswith(rule.meaning.partition("{")[0])
    assert diagnose([rule.example]) is None


@pytest.mark.parametrize(
    ("line", "error", "said"),
    [
        ("ImportError: libGL.so.1: cannot open shared object file", "MissingDependency", "libgl1"),
        ("/usr/bin/python3: No module named pip", "MissingDependency", "'pip'"),
        ("ModuleNotFoundError: No module named 'modules.core'", "StartError", "modules.core"),
        ("ModuleNotFoundError: No module named 'imp'", "WrongInterpreter", "3.10"),
        ("ModuleNotFoundError: No module named 'imageio'", "MissingDependency", "'imageio'"),
        ("SyntaxError: invalid syntax", "WrongInterpreter", "3.10"),
        ("ERROR: Could not find a version that satisfies the requirement torch==2.1.0 (from",
         "WrongInterpreter", "no torch==2.1.0 for"),
        ("RuntimeError: CUDA error: no kernel image is available", "GPUUnusable", "newer one"),
        ("python: can't open file 'launch.py': [Errno 2] No such", "StartError", "launch.py"),
        ("C:\\py\\python.exe: can't open file 'D:\\F\\l.py': [Errno 2]", "StartError", "D:\\F\\l"),
        ("requests.exceptions.HTTPError: 404 Client Error", "NetworkError", "download"),
    ],
)  # fmt: skip
def test_environments_that_do_not_fit(line: str, error: str, said: str) -> None:
    found = diagnose([line])
    assert found is not None
    assert found.error is getattr(errors, error)
    assert said in found.cause + found.remedy


def test_a_failed_download_is_named_with_its_place() -> None:
    lines = [
        'Downloading: "https://example.org/first.safetensors" to models/checkpoints/first',
        'Downloading: "https://example.org/second.safetensors" to models/loras/second',
        "",
        *WORKER,
        "urllib.error.URLError: <urlopen error timed out>",
    ]
    found = diagnose(lines, returncode=1)
    assert found is not None
    assert found.error is errors.NetworkError
    assert "https://example.org/second.safetensors" in found.cause
    assert "models/loras/second" in found.remedy


def test_ignored_settings_are_told_with_what_follows_from_them() -> None:
    ignored = 'Failed to load config file "config.txt" . The reason is: Expecting value'
    network = diagnose([ignored, "urllib.error.URLError: <urlopen error timed out>"])
    memory = diagnose([ignored, "torch.cuda.OutOfMemoryError: CUDA out of memory"])
    assert network is not None
    assert memory is not None
    assert "config.txt does not parse" in network.remedy
    assert "config.txt" not in memory.remedy


@pytest.mark.parametrize(
    ("exception", "error"),
    [
        ("PermissionError: [Errno 13] Permission denied: '/mnt/out'", errors.BadConfigFile),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'Z:'", errors.BadConfigFile),
        ("TypeError: unhashable type: 'list'", errors.BadConfigFile),
        ("OSError: [Errno 28] No space left on device", errors.DiskFull),
        ("ModuleNotFoundError: No module named 'numpy'", errors.MissingDependency),
    ],
)
def test_what_fails_where_settings_are_read_is_the_settings_fault(
    exception: str, error: type[errors.EngineError]
) -> None:
    lines = [
        "Traceback (most recent call last):",
        '  File "/opt/Fooocus/launch.py", line 5, in <module>',
        "    from modules import config",
        '  File "/opt/Fooocus/modules/config.py", line 213, in read_folder',
        "    os.makedirs(path)",
        '  File "/usr/lib/python3.10/os.py", line 225, in makedirs',
        "    mkdir(name, mode)",
        exception,
    ]
    found = diagnose(lines, returncode=1)
    assert found is not None
    assert issubclass(found.error, error)
    if error is errors.BadConfigFile:
        assert exception in found.cause
        assert "doctor" in found.remedy


def test_a_renamed_model_can_be_had_back_by_what_the_remedy_says(tmp_path: Path) -> None:
    model = tmp_path / "a 'b'.safetensors"
    found = diagnose([f"File corrupted: {model} "])
    assert found is not None
    assert found.error is errors.CorruptedModel
    assert f"restore_model({str(model)!r})" in found.remedy


def test_a_long_traceback_is_cut_to_the_engines_own_frames() -> None:
    torch = [line for _ in range(60) for line in FOREIGN]
    own = [
        line
        for number in range(9)
        for line in (f'  File "/opt/Fooocus/modules/m{number}.py", line 1, in f', "    g()")
    ]
    shown = traceback_of([*WORKER[:1], *own, *torch, "KeyError: 'x'"])
    assert len(shown) == 1 + 2 * 4 + 2 + 1  # heading, four frames, the innermost one, exception
    assert "m8.py" in shown[7]
    assert "m4.py" not in "".join(shown)
    assert "site-packages" in shown[9]


def test_an_error_of_a_start_has_both_names_and_can_be_pickled() -> None:
    kind = errors.while_starting(errors.OutOfVRAM)
    assert issubclass(kind, errors.StartError)
    assert issubclass(kind, errors.OutOfMemory)
    assert kind.__name__ == "OutOfVRAM"
    assert errors.while_starting(errors.PortTaken) is errors.PortTaken
    error = pickle.loads(pickle.dumps(kind("It ended.", log=["a", "b"], remedy="Do.")))
    assert isinstance(error, errors.StartError)
    assert isinstance(error, errors.OutOfVRAM)
    assert (error.message, error.log, error.remedy) == ("It ended.", ("a", "b"), "Do.")


def test_the_page_of_failures_is_current() -> None:
    tool = Path(__file__).parents[2] / "tools" / "make_failures.py"
    command = [sys.executable, str(tool), "--check"]
    done = subprocess.run(command, check=False, timeout=60)
    assert done.returncode == 0, "run: python tests/tools/make_failures.py"


def test_floods_are_looked_at_quickly() -> None:
    lines = ["a" * 5_000_000, "a." * 2_000_000, "RuntimeError: " * 300_000] + ["x: y" * 500] * 2000
    begin = time.thread_time()
    assert diagnose(lines) is None
    assert time.thread_time() - begin < 5
