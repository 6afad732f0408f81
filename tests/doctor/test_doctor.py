"""The whole report: what it finds in checkouts, interpreters and machines of our own making."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

import fooocus_nb
from fooocus_nb.cli import main
from fooocus_nb.doctor import Report, Status, adoctor, doctor, machine
from fooocus_nb.doctor import interpreter as interpreters
from fooocus_nb.doctor.installation import config_checks, login_checks
from fooocus_nb.doctor.leftovers import engines_check
from fooocus_nb.doctor.report import Check
from fooocus_nb.errors import InstallError
from fooocus_nb.fooocus.checkout.config_txt import read_settings
from fooocus_nb.fooocus.checkout.downloads import find_downloads
from fooocus_nb.fooocus.checkout.installation import find_installation
from fooocus_nb.fooocus.checkout.login_file import logins_of
from fooocus_nb.fooocus.checkout.model_files import find_renamed_models
from fooocus_nb.supervisor.guardian_handle import MARKER_VARIABLE

from .conftest import TORCH, make_old, script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the interpreters are shell scripts")

NAMES = [
    "checkout",
    "interpreter",
    "packages",
    "torch",
    "models",
    "disk",
    "memory",
    "gpu",
    "port",
    "config",
    "permissions",
    "corrupted",
    "engines",
]
OK, WARNING, FAILURE = Status


@pytest.fixture
def roomy(monkeypatch) -> None:
    """A machine with room for everything, whichever runs the tests."""
    usage = type("usage", (), {"free": 10**12})
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage)
    memory = type("memory", (), {"total": 64 * 10**9, "available": 60 * 10**9})
    swap = type("swap", (), {"total": 8 * 10**9, "free": 8 * 10**9})
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(machine.psutil, "swap_memory", lambda: swap)
    monkeypatch.setattr(machine, "CGROUP_LIMITS", ())


def tree(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_where_all_is_well_nothing_is_to_be_done(
    checkout, interpreter, gpu, roomy, monkeypatch
) -> None:
    monkeypatch.setattr(interpreters, "NEWEST", sys.version_info[:2])
    before = tree(checkout.parent)
    report = doctor(checkout, timeout=30)
    assert [check.name for check in report] == NAMES
    assert [(check.name, check.text) for check in report if check.status is not OK] == []
    assert report.ok
    assert report.exit_code == 0
    assert "All is well." in str(report)
    assert not any(check.advice for check in report)
    assert "A Card, 24.0 GB" in report["torch"].text
    assert report["interpreter"].facts["path"] == str(interpreter.path)
    assert tree(checkout.parent) == before  # nothing was written
    assert "torch" not in sys.modules


def test_without_a_checkout_the_machine_is_looked_at(tmp_path, gpu, roomy) -> None:
    report = doctor()
    assert [check.name for check in report] == [
        "checkout", "disk", "memory", "gpu", "port", "engines",
    ]  # fmt: skip
    assert report["checkout"].status is FAILURE
    assert "Nothing says where" in report["checkout"].text
    assert report.exit_code == 1
    assert "no launch.py" in doctor(tmp_path)["checkout"].text
    assert "fooocus-nb install" in doctor(tmp_path / "gone")["checkout"].text
    with pytest.raises(KeyError):
        report["torch"]


def test_the_async_twin_and_the_front_door(tmp_path, gpu) -> None:
    report = asyncio.run(adoctor(tmp_path))
    assert report["checkout"].status is FAILURE
    assert fooocus_nb.doctor is doctor


# -- the interpreter --------------------------------------------------------------------------


def test_what_cannot_be_a_path_or_a_time_is_told(tmp_path, gpu) -> None:
    check = doctor("Fooocus\0")["checkout"]
    assert check.status is FAILURE
    assert "NUL" in check.text
    for timeout in (0, float("inf"), float("nan"), "soon"):
        with pytest.raises(fooocus_nb.ConfigurationError, match="timeout="):
            doctor(tmp_path, timeout=timeout)


def test_a_name_that_no_file_system_takes_is_looked_above_of(tmp_path) -> None:
    # As a folder that may not be looked into: both raise, and neither is there.
    assert machine.existing(tmp_path / ("x" * 300) / "models") == tmp_path


def test_a_missing_interpreter(checkout) -> None:
    report = doctor(checkout)
    assert report["interpreter"].status is FAILURE
    assert "Python 3.10" in report["interpreter"].advice
    with pytest.raises(KeyError):
        report["packages"]


@pytest.mark.parametrize(
    ("lines", "status", "said"),
    [
        ("echo not a python; exit 3", FAILURE, "does not answer"),
        ("echo oh no >&2; exit 1", FAILURE, "oh no"),
        ("""echo 'fooocus-nb-probe:{"version": "3.9.1", "bits": 64, "pip": true}'""", FAILURE,
         "too old"),
        ("""echo 'fooocus-nb-probe:{"version": "3.10.1", "bits": 32, "pip": true}'""", FAILURE,
         "32-bit"),
        ("""echo 'fooocus-nb-probe:{"version": "3.10.1", "bits": 64, "pip": true}'""", OK,
         "Python 3.10.1"),
        ("""echo 'fooocus-nb-probe:{"version": "3.14.0", "bits": 64, "pip": true}'""", WARNING,
         "newer"),
    ],
)  # fmt: skip
def test_interpreters_of_all_kinds(checkout, lines, status, said) -> None:
    script(checkout / "venv/bin/python", lines)
    check = doctor(checkout, timeout=20)["interpreter"]
    assert check.status is status
    assert said in check.text


def test_a_named_interpreter_and_one_that_cannot_be_run(checkout, tmp_path) -> None:
    broken = tmp_path / "python"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    check = doctor(checkout, python=broken)["interpreter"]
    assert check.status is FAILURE
    assert str(broken) in check.text
    assert "cannot be run" in check.text or "does not answer" in check.text


@pytest.mark.parametrize(
    ("source", "status", "said"),
    [
        (TORCH.format(cuda=False, built=[]), WARNING, "without a GPU"),
        (TORCH.format(cuda=True, built=["sm_50", "sm_90"]), FAILURE, "A Card"),
        ("raise ImportError('libcudart.so.12: cannot open')", FAILURE, "libcudart"),
        ("raise OSError('[WinError 126] c10.dll')", FAILURE, "c10.dll"),
        ("import no_such_module", FAILURE, "no_such_module"),
        ("import os; os._exit(9)", FAILURE, "with 9"),
        ("import os; os.kill(os.getpid(), 11)", FAILURE, "with -11"),
        (
            TORCH.format(cuda=True, built=[]).replace("cuda.properties)", "1 / 0)"),
            FAILURE,
            "ZeroDivisionError",
        ),
    ],
)
def test_pytorches_of_all_kinds(checkout, interpreter, source, status, said) -> None:
    interpreter.torch(source)
    check = doctor(checkout, timeout=30)["torch"]
    assert check.status is status
    assert said in check.text
    assert check.advice


def test_a_pytorch_that_hangs_is_given_up_with_all_that_it_started(
    checkout, interpreter, tmp_path
) -> None:
    told = tmp_path / "pids"
    interpreter.torch(
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\n"
        f"open({str(told)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(300)"
    )
    report = doctor(checkout, timeout=5)
    assert report["torch"].status is WARNING
    assert "within 5 s" in report["torch"].text
    assert report["packages"].status is OK  # what it had said before is known
    deadline = time.monotonic() + 10
    pids = [int(pid) for pid in told.read_text().split()]
    while any(map(_runs, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_packages_that_are_missing_or_others(checkout, interpreter) -> None:
    (interpreter.site / "torchsde-0.2.6.dist-info/METADATA").unlink()
    (interpreter.site / "torchsde-0.2.6.dist-info").rmdir()
    (interpreter.site / "gradio-3.41.2.dist-info/METADATA").write_text("Version: 4.0\n")
    (interpreter.site / "torch.py").unlink()
    report = doctor(checkout, timeout=30)
    check = report["packages"]
    assert check.facts["missing"] == ["torchsde"]
    assert check.facts["other_version"] == ["gradio 4.0 for 3.41.2"]
    assert check.status in (WARNING, FAILURE)  # by whether this Python has a pip of its own
    assert "installs" in check.advice or "cannot install" in check.advice
    if "torch" not in sys.modules and not _has_torch():
        assert report["torch"].text == "not installed"


def test_addresses_among_the_requirements_are_no_packages(checkout, interpreter) -> None:
    with (checkout / "requirements_versions.txt").open("a") as file:
        file.write("git+https://example.org/a.git\nhttps://example.org/b-1-py3-none-any.whl\n")
        file.write("-r more.txt\nnamed @ https://example.org/named.whl\nextra [all] >= 2\n")
    assert doctor(checkout, timeout=30)["packages"].facts["missing"] == ["named", "extra"]


def test_an_answer_that_is_cut_short_is_no_answer(checkout) -> None:
    facts = '"version": "3.10.1", "bits": 64, "pip": true, "managed": false'
    half = """fooocus-nb-probe:{"packages": {"torchsde": "0.2."""
    script(
        checkout / "venv/bin/python",
        f"echo 'fooocus-nb-probe:{{{facts}}}'; printf '{half}'; exit 9",
    )
    report = doctor(checkout, timeout=20)
    assert report["interpreter"].status is OK
    assert "ended the interpreter with 9" in report["torch"].text


def _has_torch() -> bool:
    code = "import torch"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    return done.returncode == 0


@pytest.mark.parametrize(
    ("pip", "managed", "status", "said"),
    [
        ("true", "false", WARNING, "at the first start"),
        ("false", "false", FAILURE, "no pip"),
        ("true", "true", FAILURE, "operating system"),
    ],
)
def test_what_cannot_be_installed_is_a_failure(checkout, pip, managed, status, said) -> None:
    facts = f'"version": "3.10.1", "bits": 64, "pip": {pip}, "managed": {managed}'
    rest = '"packages": {"torchsde": null, "gradio": null}, "torch": null, "error": ""'
    script(checkout / "venv/bin/python", f"echo 'fooocus-nb-probe:{{{facts}, {rest}}}'")
    report = doctor(checkout, timeout=20)
    assert report["packages"].status is status
    assert said in report["packages"].advice
    assert report["torch"].status is status


def _lines(report: Report, name: str) -> list[Check]:
    return [check for check in report if check.name == name]


def _replace(interpreter, name: str, version: str) -> None:
    for folder in interpreter.site.glob(f"{name}-*.dist-info"):
        (folder / "METADATA").unlink()
        folder.rmdir()
    interpreter.has(name, version)


@pytest.mark.parametrize(
    ("packages", "status", "said", "advice"),
    [
        ({"starlette": "1.0.0"}, FAILURE, "starlette 1.0.0 does not fit gradio 3.41.2",
         "'starlette<1'"),
        ({"pydantic": "2.12.3"}, FAILURE, "pydantic 2.12.3", "'pydantic<2.11'"),
        ({"torch": "2.1.0+cu121", "numpy": "2.2.6"}, FAILURE, "numpy 2.2.6", "'numpy<2'"),
        ({"numpy": "1.26.4", "cupy_cuda12x": "14.0.1"}, FAILURE, "cupy-cuda12x 14.0.1",
         "'cupy-cuda12x<14'"),
    ],
)  # fmt: skip
def test_packages_that_nobody_pins_and_that_do_not_fit(
    checkout, interpreter, packages, status, said, advice
) -> None:
    for name, version in packages.items():
        interpreter.has(name, version)
    (line,) = [line for line in _lines(doctor(checkout, timeout=30), "packages") if line.advice]
    assert line.status is status
    assert said in line.text
    assert advice in line.advice


@pytest.mark.parametrize(
    "packages",
    [
        {"starlette": "0.38.6", "pydantic": "2.10.6"},
        {"torch": "2.4.1", "numpy": "2.1.0"},
        {"torch": "2.1.0", "numpy": "1.26.4"},
        {"numpy": "1.26.4", "cupy_cuda12x": "13.6.0"},
        {"numpy": "2.1.0", "cupy_cuda12x": "14.0.1"},
    ],
)
def test_packages_that_fit(checkout, interpreter, packages) -> None:
    for name, version in packages.items():
        interpreter.has(name, version)
    assert not [line for line in _lines(doctor(checkout, timeout=30), "packages") if line.advice]


def test_what_a_newer_gradio_needs_is_not_complained_of(checkout, interpreter) -> None:
    _replace(interpreter, "gradio", "5.49.0")
    interpreter.has("starlette", "1.0.0")
    (checkout / "requirements_versions.txt").write_text("torchsde==0.2.6\ngradio==5.49.0\n")
    assert not [line for line in _lines(doctor(checkout, timeout=30), "packages") if line.advice]


def test_what_launching_will_mend_is_no_failure(checkout, interpreter) -> None:
    interpreter.has("numpy", "2.2.6")
    interpreter.has("torch", "2.1.0")
    requirements = "torchsde==0.2.6\ngradio==3.41.2\nnumpy==1.26.4\n"
    (checkout / "requirements_versions.txt").write_text(requirements)
    lines = [line for line in _lines(doctor(checkout, timeout=30), "packages") if line.advice]
    assert {line.status for line in lines} <= {WARNING, FAILURE}
    mended = next(line for line in lines if "does not fit" in line.text)
    assert mended.status is WARNING
    assert "1.26.4" in mended.advice


def test_a_fresh_installation_is_warned_of_the_newest_packages(checkout) -> None:
    """Gradio 3 does not say which starlette it needs, so pip fetches one that breaks it."""
    facts = '"version": "3.10.1", "bits": 64, "pip": true, "managed": false'
    rest = '"packages": {"torchsde": null, "gradio": null}, "torch": null, "error": ""'
    script(checkout / "venv/bin/python", f"echo 'fooocus-nb-probe:{{{facts}, {rest}}}'")
    lines = _lines(doctor(checkout, timeout=20), "packages")
    assert [line.status for line in lines] == [WARNING, WARNING]
    assert "starlette" in lines[1].text
    assert "'starlette<1'" in lines[1].advice


# -- login and environment --------------------------------------------------------------------


def test_a_login_is_told_beforehand(checkout, interpreter) -> None:
    assert not _lines(doctor(checkout, timeout=30), "login")
    (checkout / "auth.json").write_text('[{"user": "me", "pass": "secret"}]')
    report = doctor(checkout, timeout=30)
    (line,) = _lines(report, "login")
    assert line.status is WARNING
    assert "login" in line.text
    assert "secret" not in json.dumps(report.to_dict())
    for nonsense in ("[]", "{", "3", '{"user": "me", "pass": "secret"}', "\ufeff[]", "[3]"):
        (checkout / "auth.json").write_text(nonsense)
        (line,) = _lines(doctor(checkout, timeout=30), "login")
        assert "no effect" in line.text
    # Fooocus asks for a login then, and takes none.
    (checkout / "auth.json").write_text('[{"user": "me", "password": "secret"}]')
    (line,) = _lines(doctor(checkout, timeout=30), "login")
    assert "nobody can log in" in line.text


def test_variables_that_cannot_work_are_named(tmp_path, monkeypatch, gpu) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    monkeypatch.setenv("all_proxy", "socks://me:secret@127.0.0.1:1080")
    report = doctor(tmp_path)
    lines = _lines(report, "environment")
    assert [line.facts["variable"] for line in lines] == ["SSL_CERT_FILE", "all_proxy"]
    assert all(line.status is WARNING for line in lines)
    assert "gone.pem" in lines[0].text
    assert "socks://" in lines[1].text
    assert "secret" not in str(report)


# -- models, room, GPU, port ------------------------------------------------------------------


def test_models_that_would_be_downloaded_are_named_with_their_sizes(checkout, interpreter) -> None:
    for path in (checkout / "models").rglob("*.*"):
        path.unlink()
    report = doctor(checkout)
    told = {model["name"]: model["size"] for model in report["models"].facts["missing"]}
    assert told == {
        "tiny.pth": None,
        "pytorch_model.bin": 351_000_000,
        "big.safetensors": None,
        "sd_xl_offset_example-lora_1.0.safetensors": 49_600_000,
    }
    assert report["models"].status is WARNING
    assert "351 MB" in report["models"].text
    assert report["disk"].facts["needed"] == 351_000_000 + 49_600_000


def test_the_default_model_of_an_earlier_version_is_good_enough(checkout) -> None:
    (checkout / "models/checkpoints/big.safetensors").rename(
        checkout / "models/checkpoints/older.safetensors"
    )
    assert doctor(checkout)["models"].facts["missing"] == []


def test_a_disk_that_is_too_small_for_the_models(checkout, roomy, monkeypatch) -> None:
    downloads = {"sd_xl_base_1.0_0.9vae.safetensors": "https://example.org/base"}
    (checkout / "config.txt").write_text(json.dumps({"checkpoint_downloads": downloads}))
    monkeypatch.setattr(
        machine.shutil, "disk_usage", lambda _: type("usage", (), {"free": 7_000_000_000})
    )
    check = doctor(checkout)["disk"]
    assert check.status is FAILURE
    assert "6.9 GB of models" in check.advice


def test_memory_that_is_short(checkout, roomy, monkeypatch, tmp_path) -> None:
    assert doctor(checkout)["memory"].status is OK
    limit = tmp_path / "memory.max"
    limit.write_text("4000000000\n")
    monkeypatch.setattr(machine, "CGROUP_LIMITS", (str(limit),))
    check = doctor(checkout)["memory"]
    assert check.status is WARNING
    assert "container may use 4.0 GB" in check.text
    assert check.facts["limit"] == 4_000_000_000


@pytest.mark.parametrize(
    ("says", "code", "status", "said"),
    [
        ("A Card, 535.1, 24576, 24000", 0, OK, "driver 535.1"),
        ("Old, Card, 470, 2048, 2000", 0, WARNING, "Old, Card"),
        ("A Card, 535.1, 24576, 100", 0, WARNING, "of 25.8 GB free"),
        ("A Card, 535.1, [N/A], [N/A]", 0, OK, "A Card"),
        ("NVIDIA-SMI has failed because it could not reach the driver", 9, FAILURE, "has failed"),
        ("", 0, FAILURE, "finds none"),
    ],
)
def test_gpus_of_all_kinds(checkout, gpu, says, code, status, said) -> None:
    gpu(says, code)
    check = doctor(checkout)["gpu"]
    assert check.status is status
    assert said in check.text
    assert bool(check.advice) is (status is not OK)


def test_an_nvidia_smi_that_hangs_is_given_up(checkout, gpu, monkeypatch) -> None:
    monkeypatch.setattr(machine, "NVIDIA_SMI_SECONDS", 0.5)
    gpu(before="sleep 300")
    check = doctor(checkout)["gpu"]
    assert check.status is FAILURE
    assert "did not answer within 0.5 s" in check.text


def test_no_gpu_at_all(checkout, programs, monkeypatch) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda _: None)
    monkeypatch.setattr(sys, "platform", "linux")
    assert doctor(checkout)["gpu"].status is WARNING


def test_ports(checkout) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        check = doctor(checkout, port=port)["port"]
        assert check.status is FAILURE
        assert str(port) in check.text
    assert doctor(checkout, port=port)["port"].status is OK
    assert doctor(checkout)["port"].status is OK
    assert doctor(checkout, port=70000)["port"].status is FAILURE
    assert doctor(checkout, port="8888")["port"].status is FAILURE


# -- the installation -------------------------------------------------------------------------


def test_an_early_version_is_read_as_well(checkout) -> None:
    report = doctor(make_old(checkout))
    assert "2.0.80" in report["checkout"].text
    assert report["models"].status is OK
    (checkout / "config.txt").write_text('{"modelfile_path": "nowhere"}')
    assert "no folder" in doctor(checkout)["config"].text
    (checkout / "user_path_config.txt").write_text("{}")
    assert "asks" not in doctor(checkout)["config"].text
    assert "user_path_config.txt" in doctor(checkout)["config"].text


def test_a_checkout_without_a_version(checkout) -> None:
    (checkout / "fooocus_version.py").unlink()
    report = doctor(checkout)
    assert report["checkout"].status is FAILURE
    assert report["models"].status is OK  # all the rest is looked at


@pytest.fixture
def locked(checkout) -> Iterator[Path]:
    """A folder of the checkout that nobody may write into, not even root."""
    folder = checkout / "outputs"
    if os.geteuid():
        folder.chmod(0o500)
        yield folder
        folder.chmod(0o700)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False, timeout=20).returncode:
        pytest.skip("root may write everywhere, and may mount nothing here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=20)


@pytest.mark.may_skip
def test_folders_that_cannot_be_written(checkout, locked) -> None:
    check = doctor(checkout)["permissions"]
    assert check.status is FAILURE
    assert str(locked) in check.facts["not_writable"]


def test_a_file_in_place_of_a_folder_cannot_be_written(checkout) -> None:
    (checkout / "outputs").rmdir()
    (checkout / "outputs").write_text("")
    check = doctor(checkout)["permissions"]
    assert check.status is FAILURE
    assert str(checkout / "outputs") in check.text


def test_renamed_models_are_listed_with_the_way_back(checkout) -> None:
    (checkout / "models/loras/a.safetensors.corrupted").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    (checkout / "models/loras/b.safetensors.corrupted").write_bytes(b"short")
    check = doctor(checkout)["corrupted"]
    assert check.status is WARNING
    assert [file["whole"] for file in check.facts["files"]] == [True, False]
    assert "--restore" in check.advice


def test_what_engines_have_left_behind_is_found(tmp_path, monkeypatch) -> None:
    code = "import time; time.sleep(120)"
    env = os.environ | {MARKER_VARIABLE: "0" * 32}
    orphan = subprocess.Popen([sys.executable, "-c", code], env=env)
    try:
        runtime = tmp_path / "runtime" / "fooocus-nb" / "run-old"
        runtime.mkdir(parents=True)
        word = {
            "name": "one",
            "pid": 1,
            "created": "1",
            "guardian": 2**30,
            "guardian_created": "1",
            "marker": f"{MARKER_VARIABLE}={'0' * 32}",
            "started_at": 0,
            "log_path": "engine.log",
            "idle_timeout": None,
            "labels": {},
            "cleanup": [],
            "address": ["unix", "socket"],
            "token": "secret",
        }
        (runtime / "guardian.json").write_text(json.dumps(word))
        stale = tmp_path / "temp" / "fooocus-nb-stale"
        stale.mkdir()
        os.utime(stale, (1, 1))
        (tmp_path / "temp" / "fooocus-nb-young").mkdir()
        check = doctor(tmp_path)["engines"]
    finally:
        orphan.kill()
        orphan.wait(10)
    assert check.status is WARNING
    assert orphan.pid in [each["pid"] for each in check.facts["orphans"]]
    assert check.facts["folders"] == [str(runtime), str(stale)]
    assert "kill" in check.advice


def test_a_folder_that_goes_meanwhile_hides_no_other(tmp_path, monkeypatch) -> None:
    for name in ("fooocus-nb-gone", "fooocus-nb-stale"):
        (tmp_path / "temp" / name).mkdir()
        os.utime(tmp_path / "temp" / name, (1, 1))
    is_dir = Path.is_dir

    def then_gone(path: Path, **options: bool) -> bool:
        found = is_dir(path, **options)
        if path.name == "fooocus-nb-gone" and found:
            path.rmdir()
        return found

    monkeypatch.setattr(Path, "is_dir", then_gone)
    assert engines_check().facts["folders"] == [str(tmp_path / "temp" / "fooocus-nb-stale")]


def test_an_engine_that_runs_is_no_leftover(tmp_path) -> None:
    with fooocus_nb.start(demo=True, timeout=60) as engine:
        check = doctor(tmp_path)["engines"]
        assert {"name": engine.name, "pid": engine.pid} in check.facts["running"]
        assert engine.pid not in [each["pid"] for each in check.facts["orphans"]]


# -- how it is shown --------------------------------------------------------------------------


def report_of(*statuses: Status) -> Report:
    return Report(
        [Check(f"n{i}", f"t{i}", s, "<b>found</b>", "do") for i, s in enumerate(statuses)]
    )


@pytest.mark.parametrize(
    ("statuses", "code", "summary"),
    [
        ((OK, OK), 0, "All is well."),
        ((OK, WARNING), 0, "1 warning; it can start all the same."),
        ((FAILURE, WARNING, WARNING), 1, "1 failure and 2 warnings."),
    ],
)
def test_the_worst_line_decides(statuses, code, summary) -> None:
    report = report_of(*statuses)
    assert report.exit_code == code
    assert str(report).endswith(summary)
    assert "\x1b" not in str(report)
    assert "\x1b[3" in report.to_text(colour=True)


def test_what_was_found_is_escaped_in_html() -> None:
    shown = report_of(OK, FAILURE)._repr_html_()
    assert "<b>found" not in shown
    assert "&lt;b&gt;found" in shown
    assert 'scope="row"' in shown


def test_json_is_what_is_documented(checkout, interpreter, gpu, capsys) -> None:
    code = main(["doctor", "--path", str(checkout), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["format", "fooocus_nb", "status", "checks"]
    assert told["format"] == 1
    assert [check["name"] for check in told["checks"]] == NAMES
    keys = ["name", "title", "status", "text", "advice", "facts"]
    assert all(list(check) == keys for check in told["checks"])
    assert code == int(told["status"] == "failure")
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")
    for check in told["checks"]:
        assert f"| `{check['name']}` |" in page
        for fact in check["facts"]:
            assert f"`{fact}`" in page, f"docs/doctor.md does not name the fact {fact!r}"
    for key in keys + list(told):
        assert f"`{key}`" in page


def test_the_command_restores_what_is_whole_first(checkout, capsys) -> None:
    whole = checkout / "models/loras/a.safetensors.corrupted"
    whole.write_bytes(b"\2\0\0\0\0\0\0\0{}")
    short = checkout / "models/loras/b.safetensors.corrupted"
    short.write_bytes(b"short")
    assert main(["doctor", "--path", str(checkout), "--restore"]) == 1  # there is no interpreter
    said = capsys.readouterr()
    assert "restored" in said.err
    assert "not whole" in said.err
    assert whole.with_suffix("").exists()
    assert short.exists()
    assert "FAILURE" not in said.out
    assert "failure" in said.out


def test_a_fooocus_that_runs_already_is_proposed(checkout, interpreter, gpu) -> None:
    assert "running" not in [check.name for check in doctor(checkout, timeout=30)]
    (checkout / "launch.py").write_text("print('runs', flush=True)\ninput()")
    argv = [sys.executable, "launch.py", "--port=8080"]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, cwd=checkout, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout.readline() == "runs\n"
        check = doctor(checkout, timeout=30)["running"]
        other.communicate("\n", timeout=30)
    assert check.status is WARNING
    assert f"(process {other.pid})" in check.text
    assert "fooocus_nb.connect('http://127.0.0.1:8080')" in check.advice
    assert check.facts == {"pid": other.pid, "url": "http://127.0.0.1:8080"}


def test_a_report_holds_no_secret() -> None:
    """It is what people paste into an issue."""
    address = "https://me:sesame-4711@host/model.safetensors?token=sesame-4712"
    facts = {"urls": [address], "by": {"name": address}, "size": 3}
    report = Report([Check("x", "x", Status.WARNING, f"see {address}", f"ask {address}", facts)])
    for shown in (str(report), report.to_json(), report._repr_html_(), repr(report.checks)):
        assert "sesame" not in shown
        assert "host/model.safetensors" in shown


@pytest.mark.skipif(os.name == "nt", reason="such files are POSIX's")
@pytest.mark.parametrize(
    "name",
    [
        *("config.txt", "auth.json", "launch.py", "fooocus_version.py", "modules/config.py"),
        *("presets/default.json", "args_manager.py", "models/checkpoints/a.safetensors.corrupted"),
    ],
)
@pytest.mark.parametrize("kind", ["pipe", "endless", "folder", "loop"])
def test_a_checkout_of_pipes_and_devices_is_looked_at_all_the_same(
    checkout: Path, name: str, kind: str
) -> None:
    file = checkout / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    make: dict[str, Callable[[], object]] = {
        "pipe": lambda: os.mkfifo(file),
        "endless": lambda: file.symlink_to("/dev/zero"),
        "folder": file.mkdir,
        "loop": lambda: file.symlink_to(file),
    }
    make[kind]()
    settings = read_settings(checkout)
    find_downloads(settings)
    find_renamed_models([checkout / "models" / "checkpoints"])
    assert logins_of(checkout) == []
    checks = [*config_checks(settings), *login_checks(checkout)]
    assert all(check.text for check in checks)
    with contextlib.suppress(InstallError):
        find_installation(checkout)
