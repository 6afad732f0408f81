"""Which Python, which PyTorch, which versions, and whether there is room."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from fooocus_nb.doctor.conflicts import CONFLICTS
from fooocus_nb.errors import InstallError
from fooocus_nb.install import _whole, packages, pythons
from fooocus_nb.install.constraints import constraints_for, packaged, pins_of
from fooocus_nb.install.hardware import Torch, choose_torch
from fooocus_nb.install.programs import Programs, clean_environment, explain
from fooocus_nb.install.pythons import Base, find_base
from fooocus_nb.install.room import check_room
from fooocus_nb.install.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.install.conftest import Teller

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells")


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it, no home, and none of the usual folders."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    monkeypatch.setattr(pythons, "_folders", lambda: ())
    monkeypatch.setattr(pythons, "OWN_VERSION", (3, 14))
    monkeypatch.setattr(pythons, "OWN_FOLDER", folder)
    return folder


def answering(path: Path, version: tuple[int, int, int], *, bits: int = 64, venv: bool = True):
    told = {"version": version, "bits": bits, "program": str(path), "venv": venv}
    return script(path, f"echo '{json.dumps(told)}'")


# -- Python -----------------------------------------------------------------------------------


def test_without_a_suitable_python(tools: Path) -> None:
    answering(tools / "python3", (3, 13, 1))
    with pytest.raises(InstallError, match=r"needs a Python 3\.10 or 3\.11.*uv"):
        find_base()


def test_shims_and_the_wrong_ones_are_passed_over(tools: Path, tmp_path: Path) -> None:
    script(tools / "python3.10", "echo 'pyenv: python3.10: command not found' >&2; exit 127")
    answering(tools / "python3", (3, 11, 4), bits=32)
    right = answering(tmp_path / "home/.pyenv/versions/3.11.9/bin/python3.11", (3, 11, 9))
    assert find_base() == Base(str(right), "3.11.9")


def test_a_python_without_venv_needs_uv(tools: Path) -> None:
    python = answering(tools / "python3.11", (3, 11, 2), venv=False)
    with pytest.raises(InstallError, match=r"without its module venv.*python3\.11-venv"):
        find_base()
    # The package of the version that is there helps.
    older = answering(tools / "python3.10", (3, 10, 2), venv=False)
    with pytest.raises(InstallError, match=r"python3\.10-venv brings it.*python3\.11-venv brings"):
        find_base()
    older.unlink()
    uv = script(tools / "uv", "echo uv 0.9.0")
    assert find_base() == Base(str(python), "3.11.2", str(uv))


def test_this_python_is_blamed_only_where_it_does_not_fit(tools: Path, monkeypatch) -> None:
    with pytest.raises(InstallError, match="packages don't exist"):
        find_base()
    monkeypatch.setattr(pythons, "OWN_VERSION", (3, 11))
    monkeypatch.setattr(sys, "executable", str(answering(tools / "own", (3, 11, 2), venv=False)))
    with pytest.raises(InstallError, match=r"none was found\. .*own is a Python"):
        find_base()


def test_uv_brings_one_along(tools: Path) -> None:
    uv = script(tools / "uv", "echo uv 0.9.0")
    assert find_base() == Base("3.10", "3.10", str(uv))


def test_a_given_python(tools: Path) -> None:
    python = answering(tools / "python3.10", (3, 10, 1))
    assert find_base(python) == Base(str(python), "3.10.1")
    with pytest.raises(InstallError, match="no such interpreter"):
        find_base(tools / "nothing")
    with pytest.raises(InstallError, match=r"is a Python 3\.12\.0"):
        find_base(answering(tools / "python3.12", (3, 12, 0)))


def test_what_the_real_interpreter_says() -> None:
    found = find_base()
    told = subprocess.run(
        [found.python, "-c", "import sys; print(sys.prefix == sys.base_prefix)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    # Never an environment's, such as that of the kernel.
    assert told.stdout.strip() == "True"


# -- PyTorch ----------------------------------------------------------------------------------


@pytest.fixture
def no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("TORCH_INDEX_URL", raising=False)
    monkeypatch.setattr("fooocus_nb.install.hardware._vendors", set)
    return tmp_path


@linux_only
@pytest.mark.parametrize(
    ("told", "wanted", "index"),
    [
        ("Tesla T4, 550.54.15, 7.5", "torch==2.1.0+cu121", "whl/cu121"),
        ("NVIDIA H100 80GB HBM3, 535.161.08, 9.0", "torch==2.1.0+cu121", "whl/cu121"),
        ("NVIDIA GeForce GTX 1080, 470.256.02, 6.1", "torch==2.1.0+cu118", "whl/cu118"),
        ("NVIDIA GeForce RTX 5090, 580.95.05, 12.0", "torch==2.7.1+cu128", "whl/cu128"),
        ("NVIDIA A100-SXM4-40GB, 525.60.13, [N/A]", "torch==2.1.0+cu121", "whl/cu121"),
    ],
)
def test_nvidia(no_gpu: Path, told: str, wanted: str, index: str) -> None:
    script(no_gpu / "nvidia-smi", f"echo '{told}'")
    torch = choose_torch()
    assert torch.requirements[0] == wanted
    assert torch.index.endswith(index)
    assert torch.disk > torch.download > 0


@linux_only
def test_a_driver_that_does_not_know_what_is_asked(no_gpu: Path) -> None:
    script(
        no_gpu / "nvidia-smi",
        'case "$*" in *compute_cap*) echo \'Field "compute_cap" is not a valid field to query.\';'
        " exit 2;; *) echo 'Tesla K80, 470.57.02';; esac",
    )
    assert choose_torch().requirements[0] == "torch==2.1.0+cu118"


@linux_only
def test_a_driver_that_is_too_old(no_gpu: Path) -> None:
    script(no_gpu / "nvidia-smi", "echo 'Tesla K80, 418.87, 3.7'")
    with pytest.raises(InstallError, match=r"driver 418 is too old.*--torch cpu"):
        choose_torch()


@linux_only
def test_a_driver_that_does_not_answer(no_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(no_gpu / "nvidia-smi", "echo 'NVIDIA-SMI has failed'; exit 9")
    assert choose_torch().requirements[0] == "torch==2.1.0+cpu"
    monkeypatch.setattr("fooocus_nb.install.hardware._vendors", lambda: {"nvidia"})
    with pytest.raises(InstallError, match="install NVIDIA's driver"):
        choose_torch()


@linux_only
@pytest.mark.parametrize(("vendor", "said"), [("amd", "rocm5.6"), ("intel", "whl/xpu")])
def test_amd_and_intel_are_told_the_way(no_gpu: Path, monkeypatch, vendor: str, said: str) -> None:
    monkeypatch.setattr("fooocus_nb.install.hardware._vendors", lambda: {vendor})
    torch = choose_torch()
    assert torch.requirements == ()
    assert said in torch.way
    assert choose_torch("cpu").requirements[0] == "torch==2.1.0+cpu"


@linux_only
def test_a_mirror_of_pytorch(no_gpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_INDEX_URL", "https://mirror.example.org/whl")
    torch = choose_torch("cpu")
    assert torch.requirements == ("torch==2.1.0", "torchvision==0.16.0")
    assert torch.index == "https://mirror.example.org/whl"


@pytest.mark.parametrize(
    ("launcher", "requirements", "wanted"),
    [
        ('if not is_installed("torch"): ...', "", True),
        ("c = 'pip install torch==2.1.0 torchvision'", "", True),
        ("import gradio", "torchsde==0.2.6\n", True),
        ("import gradio  # OutOfMemoryError.__module__ = 'torch.cuda'", "gradio==3.41.2\n", False),
    ],
)
def test_who_wants_pytorch(tmp_path: Path, launcher: str, requirements: str, wanted: bool) -> None:
    (tmp_path / "launch.py").write_text(launcher)
    (tmp_path / "requirements_versions.txt").write_text(requirements)
    assert packages.needs_torch(tmp_path) is wanted


class Recorder:
    """Stands in for what runs pip; the environment has the packages that it is given."""

    def __init__(self, **packages: str) -> None:
        self.packages = packages
        self.ran: list[list[str]] = []

    def ask(self, argv: list[str], **_: object) -> list[str]:
        versions = json.dumps(["/venv", "3.10.13", self.packages])
        return [] if "--mend" in argv else [versions]

    def run(self, argv: list[str], **_: object) -> list[str]:
        self.ran.append(argv)
        return []


def test_another_build_of_pytorch_after_an_interrupted_one(tmp_path: Path, teller: Teller) -> None:
    target = Target(tmp_path)
    (tmp_path / "requirements_versions.txt").write_text("torchsde==0.2.6\n")
    programs = Recorder(torch="2.1.0+cu121")  # and no torchvision: pip was ended in between
    environment = packages.Environment(target, programs, teller)
    environment.install_torch(Torch(("torch==2.1.0+cpu", "torchvision==0.16.0+cpu")))
    constraints = (target.notes / "constraints.txt").read_text()
    assert "torch==2.1.0+cpu" in programs.ran[0]
    assert "torch==" not in constraints
    # Once it is there, nothing that is installed later changes it.
    environment.install_packages()
    assert "torch==2.1.0+cu121" in (target.notes / "constraints.txt").read_text()


def test_an_environment_that_is_slow_to_answer_is_not_made_anew(tmp_path, teller, monkeypatch):
    monkeypatch.setattr("fooocus_nb.install.programs.ASK_SECONDS", 0.2)
    target = Target(tmp_path)
    environment = packages.Environment(target, Programs(target), teller)
    target.finish("Environment", "3.10.13")
    assert not environment.ready()  # it is not there
    script(environment.python, "exec sleep 60")
    with pytest.raises(InstallError, match="did not answer within"):
        environment.ready()


def test_a_python_that_is_asked_for_later_takes_the_place_of_the_first(
    tmp_path: Path, teller: Teller, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(tmp_path / "Fooocus")
    environment = packages.Environment(target, Programs(target), teller)
    monkeypatch.setattr(environment, "ready", lambda: True)
    target.finish("Environment", "3.10.13")
    same = answering(tools / "python3.10", (3, 10, 13))
    other = answering(tools / "python3.11", (3, 11, 7))
    assert environment.base_for(None) is None
    assert environment.base_for(same) is None
    assert environment.base_for(other) == Base(str(other), "3.11.7")


# -- versions ---------------------------------------------------------------------------------


def test_every_pin_has_a_reason() -> None:
    pins = {pin.package: pin for pin in packaged()}
    assert {"starlette", "fastapi", "pydantic", "huggingface_hub", "numpy"} <= set(pins)
    assert all(len(pin.reason) > 20 for pin in pins.values())


def test_pins_avoid_what_the_doctor_warns_of() -> None:
    pins = {pin.package: tuple(map(int, pin.version.split("."))) for pin in packaged()}
    pinned = [conflict for conflict in CONFLICTS if conflict.package in pins]
    assert {"starlette", "pydantic", "numpy"} <= {conflict.package for conflict in pinned}
    for conflict in pinned:
        assert pins[conflict.package] < conflict.first_bad, conflict


def test_a_pin_of_the_checkout_wins(tmp_path: Path) -> None:
    file = tmp_path / "requirements_versions.txt"
    file.write_text("gradio==3.41.2\nnumpy==1.23.5  # old\nFastAPI[all]==0.100.0\ntorch\n")
    pinned = pins_of(file)
    assert pinned == {"gradio": "3.41.2", "numpy": "1.23.5", "fastapi": "0.100.0"}
    left = {pin.package for pin in constraints_for(pinned)}
    assert {"starlette", "pydantic", "huggingface_hub"} <= left
    assert not {"numpy", "fastapi"} & left


@pytest.mark.parametrize("gradio", ["4.44.1", "5.50.0"])
def test_forks_on_a_newer_gradio_keep_their_web_packages(gradio: str) -> None:
    left = {pin.package for pin in constraints_for({"gradio": gradio})}
    assert left == {"numpy", "opencv-python", "opencv-python-headless"}


# -- what an interrupted pip leaves -----------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with one whole package."""
    (tmp_path / "fine.py").write_text("x = 1\n")
    metadata = tmp_path / "fine-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fine\nVersion: 1.0\n")
    (metadata / "RECORD").write_text(
        "fine.py,sha256=x,6\nfine-1.0.dist-info/METADATA,sha256=y,48\n"
        "fine-1.0.dist-info/RECORD,,\n__pycache__/fine.pyc,,\n"
    )
    size = (metadata / "METADATA").stat().st_size
    (metadata / "RECORD").write_text((metadata / "RECORD").read_text().replace("y,48", f"y,{size}"))
    return tmp_path


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda site: (site / "fine-1.0.dist-info/RECORD").unlink(), "list of files is missing"),
        (lambda site: (site / "fine-1.0.dist-info/METADATA").unlink(), "missing|not whole"),
        (lambda site: (site / "fine.py").write_text("x"), r"fine\.py is not whole"),
        (lambda site: (site / "fine.py").unlink(), r"fine\.py is not whole"),
        (lambda site: (site / "~ine").mkdir(), "left by pip"),
    ],
)
def test_what_is_half_is_found(site: Path, harm: Callable[[Path], object], reason: str) -> None:
    assert _whole.broken(str(site)) == []
    harm(site)
    (found,) = _whole.broken(str(site))
    assert re.search(reason, found[1])


def test_what_pip_left_of_a_module_in_one_file_is_removed(site: Path, monkeypatch, capsys) -> None:
    (site / "~ine.py").touch()
    (site / "~ink").symlink_to(site / "fine-1.0.dist-info", target_is_directory=True)
    monkeypatch.setattr(_whole.sysconfig, "get_path", lambda name: str(site))
    monkeypatch.setattr(sys, "argv", ["-c", "--mend"])
    _whole.main()
    assert capsys.readouterr().out.count(_whole.MARK) == 2
    assert sorted(path.name for path in site.iterdir()) == ["fine-1.0.dist-info", "fine.py"]
    assert _whole.broken(str(site)) == []


# -- the surroundings -------------------------------------------------------------------------


def test_what_leads_elsewhere_is_left_out() -> None:
    found = clean_environment(
        {
            "PATH": "/bin",
            "PIP_TARGET": "/kernel",
            "PIP_CONSTRAINT": "/etc/pip/constraint.txt",
            "PIP_INDEX_URL": "https://mirror",
            "GIT_DIR": "/elsewhere/.git",
            "GIT_SSH_COMMAND": "ssh -i key",
            "GIT_CONFIG": "/home/me/.gitconfig",
            "GIT_CONFIG_GLOBAL": "/home/me/.gitconfig",
            "UV_SYSTEM_PYTHON": "1",
            "HTTPS_PROXY": "http://proxy",
        }
    )
    kept = {"PATH", "PIP_INDEX_URL", "GIT_SSH_COMMAND", "GIT_CONFIG_GLOBAL", "HTTPS_PROXY"}
    assert kept <= set(found)
    left_out = {"PIP_TARGET", "PIP_CONSTRAINT", "GIT_DIR", "GIT_CONFIG", "UV_SYSTEM_PYTHON"}
    assert not left_out & set(found)
    assert found["PIP_USER"] == "0"


def test_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(total=10**10, used=0, free=3 * 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert "3.0 GB are free" in check_room(tmp_path / "new", 10**9, 10**8)
    with pytest.raises(InstallError, match=r"not enough room.*3\.0 GB are free, and 6\.\d GB"):
        check_room(tmp_path / "new" / "deep", 5 * 10**9, 5 * 10**8)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
         "the disk is full"),
        ("fatal: unable to access 'https://github.com/x/': Could not resolve host: github.com",
         "there is no network"),
        ("WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError("
         "\"Failed to establish a new connection: [Errno 111] Connection refused\")'",
         "there is no network"),
        ("  cause: failed to lookup address information: Name or service not known",
         "there is no network"),
        ("fatal: unable to access 'https://x/': SSL certificate problem: self-signed certificate",
         "certificate is not trusted"),
        ("Could not fetch URL https://pypi.org/simple/x/: There was a problem confirming the ssl "
         "certificate: HTTPSConnectionPool(host='pypi.org', port=443): Max retries exceeded with "
         "url: /simple/x/ (Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY"
         "_FAILED] certificate verify failed: self-signed certificate'))) - skipping",
         "certificate is not trusted"),
        ("remote: Repository not found.", "no such repository"),
        ("fatal: couldn't find remote ref nowhere", "no such branch"),
        ("ERROR: ResolutionImpossible: for help visit https://pip.pypa.io", "contradict"),
        ("ERROR: Failed building wheel for pycocotools", "no ready wheel"),
        ("ERROR: No matching distribution found for onnxruntime==1.18.1", "not to be had"),
    ],
)  # fmt: skip
def test_failures_are_explained(line: str, said: str) -> None:
    cause, remedy, shown = explain(["Collecting x", line])
    assert said in cause
    assert remedy
    assert line in shown
