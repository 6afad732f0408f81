from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from fooocus_nb import errors
from fooocus_nb.fooocus.diagnosis import diagnose, notices, traceback_of

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
        ("ModuleNotFoundError: No module named 'torch'", errors.StartError, "'torch'"),
        ("AssertionError: Torch not compiled with CUDA enabled", errors.StartError, "--always-cpu"),
        ("launch.py: error: unrecognized arguments: --foo", errors.StartError, "--foo"),
        ("OSError: [Errno 28] No space left on device", errors.EngineError, "disk"),
        ("Fatal Python error: Bus error", errors.EngineDied, "Bus error"),
        ("PermissionError: [Errno 13] Permission denied: '/o'", errors.EngineError, "/o"),
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
    log = Path(__file__).resolve().parents[3] / "shared/fooocus/log/2.5.5-session.log"
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


def test_floods_are_looked_at_quickly() -> None:
    lines = ["a" * 5_000_000, "a." * 2_000_000, "RuntimeError: " * 300_000] + ["x: y" * 500] * 2000
    begin = time.perf_counter()
    assert diagnose(lines) is None
    assert time.perf_counter() - begin < 5
