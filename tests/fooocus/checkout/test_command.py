from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fooocus_nb.errors import ConfigurationError
from fooocus_nb.fooocus.checkout.command import build_launch, free_port, unusable_variables
from fooocus_nb.fooocus.checkout.installation import Installation

FLAGS = frozenset(
    {
        "--always-cpu",
        "--always-low-vram",
        "--disable-in-browser",
        "--gpu-device-id",
        "--help",
        "--in-browser",
        "--listen",
        "--port",
        "--preset",
        "--temp-path",
    }
)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    return Installation(tmp_path, "2.5.5", python, FLAGS)


def launch(installation: Installation | None, *args: str, **options):
    settings = {"port": 7999, "temp_dir": Path("/var/tmp/own"), **options}
    return build_launch(installation, args=args, **settings)


def test_free_port_can_be_bound() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))


def test_the_command_line_of_a_checkout(installation: Installation) -> None:
    made = launch(installation, "--preset", "lightning", gpu=1)
    ours = ("--port", "7999", "--temp-path", "/var/tmp/own", "--gpu-device-id", "1")
    program = (str(installation.python), "-u", "launch.py")
    assert made.argv == (*program, "--disable-in-browser", *ours, "--preset", "lightning")
    assert made.cwd == installation.path
    assert made.url == "http://127.0.0.1:7999"
    assert "--disable-in-browser" not in launch(installation, "--disable-in-browser").argv[4:]


def test_the_demo_runs_as_a_module_wherever_the_notebook_is(tmp_path: Path) -> None:
    made = launch(None)
    assert made.argv[:4] == (sys.executable, "-u", "-m", "fooocus_nb.demo")
    assert made.argv[4:] == (
        "--disable-in-browser", "--port", "7999", "--temp-path", "/var/tmp/own",
    )  # fmt: skip
    assert made.cwd is None
    (tmp_path / "random.py").write_text("raise SystemExit('shadowed')")
    code = "import random, fooocus_nb.errors, sys; print(random.random() < 1)"
    done = subprocess.run(
        [made.argv[0], "-c", code],
        env=made.env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--port", "80"], "use port="),
        (["--port=80"], "use port="),
        (["--temp-path", "/x"], "use temp_dir="),
        (["--in-browser"], "opens no browser"),
        (["--gpu-device-id", "0"], "twice"),
        (["--always-low-vrm"], "'--always-low-vram'"),
        (["--prest=x"], "'--preset'"),
        (["--help"], "print its help"),
        (["-h"], "print its help"),
        (["--"], "no flag"),
    ],
)
def test_flags_that_fight_ours_or_do_not_exist(
    installation: Installation, args: list[str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        launch(installation, *args, gpu=0)


def test_abbreviations_of_our_flags_are_caught_where_flags_are_unknown() -> None:
    with pytest.raises(ConfigurationError, match="taken for --port"):
        launch(None, "--por", "1")
    assert launch(None, "--fault", "crash").argv[-2:] == ("--fault", "crash")


def test_values_may_be_negative(installation: Installation) -> None:
    assert launch(installation, "--always-cpu", "-1").argv[-2:] == ("--always-cpu", "-1")


@pytest.mark.parametrize(
    ("args", "url"),
    [
        (["--listen"], "http://127.0.0.1:7999"),
        (["--listen", "0.0.0.0"], "http://127.0.0.1:7999"),
        (["--listen", "127.0.0.9"], "http://127.0.0.9:7999"),
        (["--listen=::1"], "http://[::1]:7999"),
        (["--listen", "--always-low-vram"], "http://127.0.0.1:7999"),
    ],
)
def test_the_url_follows_listen(installation: Installation, args: list[str], url: str) -> None:
    assert launch(installation, *args).url == url


@pytest.mark.parametrize("options", [{"port": 0}, {"port": 70000}, {"gpu": -1}, {"gpu": True}])
def test_values_out_of_range(installation: Installation, options: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError):
        launch(installation, **options)


def test_a_version_without_a_temp_path_still_gets_its_own(installation: Installation) -> None:
    old = Installation(installation.path, "2.1.0", installation.python, FLAGS - {"--temp-path"})
    made = launch(old)
    assert "--temp-path" not in made.argv
    assert made.env["TMPDIR"] == "/var/tmp/own"


def test_the_kernels_own_variables_stay_behind(installation: Installation, monkeypatch) -> None:
    hurting = {
        "PYTHONHOME": "/usr",
        "PYTHONPATH": "/kernel",
        "PYTHONSTARTUP": "x",
        "VIRTUAL_ENV": "/kernel",
        "JPY_PARENT_PID": "1",
        "JUPYTERHUB_API_TOKEN": "secret",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "FORCE_COLOR": "1",
        "GRADIO_SERVER_PORT": "1",
        "GRADIO_ROOT_PATH": "/x",
        "PYDEVD_USE_FRAME_EVAL": "NO",
        "VSCODE_PID": "1",
        "JUPYTER_TOKEN": "secret",
        "FOOOCUS_NB_AUTH": "me:secret",
        "PYTHONBREAKPOINT": "pdb.set_trace",
        "PYTHONEXECUTABLE": "/kernel/python",
        "PYTHONINSPECT": "1",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "PAGER": "cat",
        "GIT_PAGER": "cat",
        "CLICOLOR": "1",
        "CLICOLOR_FORCE": "1",
        "__PYVENV_LAUNCHER__": "/kernel/python",
        "CONDA_PREFIX": "/kernel",
        "CONDA_DEFAULT_ENV": "kernel",
        "CONDA_PYTHON_EXE": "/kernel/python",
    }
    for name, value in hurting.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    env = launch(installation).env
    assert {name for name in hurting if name in env} == {"VIRTUAL_ENV"}
    assert env["VIRTUAL_ENV"] == str(installation.path / "venv")
    assert env["PATH"].split(os.pathsep)[0] == str(installation.python.parent)
    assert env["CUDA_VISIBLE_DEVICES"] == "3"
    assert env["PYTHONUNBUFFERED"] == "1"
    assert env["PYTHONIOENCODING"].startswith("utf-8")
    assert env["GRADIO_ANALYTICS_ENABLED"] == "False"


def test_what_the_user_gives_wins(installation: Installation) -> None:
    given = {"GRADIO_ROOT_PATH": "/proxy/7999", "PYTHONUNBUFFERED": "0", "PYTHONPATH": "/mine"}
    assert given.items() <= launch(installation, env=given).env.items()


def test_a_proxy_is_kept_from_loopback(installation: Installation, monkeypatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "intra.net")
    env = launch(installation).env
    assert env["NO_PROXY"] == "intra.net,127.0.0.1,localhost,::1"
    assert "127.0.0.1" in env["no_proxy"]


def test_what_cannot_work_is_not_handed_on(
    installation: Installation, monkeypatch, tmp_path: Path
) -> None:
    there = tmp_path / "there.pem"
    there.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(there))
    monkeypatch.setenv("ALL_PROXY", "socks://me:secret@127.0.0.1:1080/")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    made = launch(installation)
    assert "SSL_CERT_FILE" not in made.env
    assert "ALL_PROXY" not in made.env
    assert made.env["REQUESTS_CA_BUNDLE"] == str(there)
    assert made.env["HTTPS_PROXY"] == "http://proxy:3128"
    assert set(made.left_out) == {"SSL_CERT_FILE", "ALL_PROXY"}
    assert "gone.pem" in made.left_out["SSL_CERT_FILE"]
    assert "secret" not in "".join(made.left_out.values())


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("ALL_PROXY", "socks4://127.0.0.1:1080", "begins with socks4://"),
        ("all_proxy", "SOCKS://127.0.0.1:1080", "begins with SOCKS://"),
        ("https_proxy", "quic://127.0.0.1:1", "begins with quic://"),
        ("HTTP_PROXY", "http://me:hunter2@proxy:port", "is no address of a proxy"),
        ("HTTP_PROXY", "proxy:99999", "is no address of a proxy"),
        ("SSL_CERT_FILE", "{here}", "is a folder"),
        ("SSL_CERT_DIR", "/gone/a:/gone/b", "is not there"),
        ("ALL_PROXY", "socks5h://127.0.0.1:1080", None),
        ("HTTP_PROXY", "proxy.intra.net:3128", None),
        ("HTTPS_PROXY", "http://me:secret@[::1]:3128", None),
        ("HTTP_PROXY", "", None),
        ("SSL_CERT_DIR", "/gone:{here}", None),
        ("CURL_CA_BUNDLE", "", None),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="paths of POSIX")
def test_which_variables_cannot_work(
    tmp_path: Path, name: str, value: str, told: str | None
) -> None:
    found = unusable_variables({name: value.format(here=tmp_path)})
    assert set(found) == ({name} if told else set())
    assert told is None or told in found[name]
    assert "hunter2" not in str(found)


def test_what_the_user_names_himself_is_handed_on(installation: Installation, monkeypatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:1080/")
    made = launch(installation, env={"ALL_PROXY": "socks5://127.0.0.1:1080"})
    assert made.env["ALL_PROXY"] == "socks5://127.0.0.1:1080"
    assert made.left_out == {}


def test_an_embedded_python_is_told_the_encoding_as_it_heeds_no_environment(
    installation: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "python_embeded"
    folder.mkdir()
    (folder / "python.exe").touch()
    (folder / "python310._pth").touch()
    embedded = Installation(tmp_path, "2.5.5", folder / "python.exe", FLAGS)
    program = (str(folder / "python.exe"), "-u", "-X", "utf8", "launch.py")
    assert launch(embedded).argv[:5] == program


def test_a_conda_environment_of_windows_finds_its_libraries(tmp_path: Path) -> None:
    folder = tmp_path / "conda_env"
    (folder / "conda-meta").mkdir(parents=True)
    made = launch(Installation(tmp_path, "2.5.5", folder / "python.exe", FLAGS))
    first, *rest = made.env["PATH"].split(os.pathsep)
    assert first == str(folder)
    assert str(folder / "Library" / "bin") in rest[:4]


def test_names_of_variables_have_no_case_on_windows(monkeypatch) -> None:
    monkeypatch.setattr("fooocus_nb.fooocus.checkout.command.WINDOWS", True)
    made = launch(None, env={"Path": "there"})
    assert made.env["PATH"] == "there"
    assert "Path" not in made.env


# -- which GPU ----------------------------------------------------------------------------------

UUID = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
MIG = "MIG-GPU-8932f937-d72c-4106-c12f-20bd9faed9f6/1/2"


@pytest.mark.parametrize(
    ("visible", "gpu", "flag", "variable"),
    [
        (None, 1, "1", None),
        (None, "1", "1", None),
        ("2,3", 1, "3", "2,3"),
        (" 2 , 3 ", 0, "2", " 2 , 3 "),
        (f"0,{UUID}", 1, None, UUID),
        (None, UUID, None, UUID),
        ("2,3", MIG, None, MIG),
        (UUID, UUID, None, UUID),
        (UUID[:10], UUID, None, UUID),
        (UUID, UUID[:10], None, UUID[:10]),
        (UUID, MIG, None, MIG),
    ],
)
def test_a_gpu_counts_among_the_visible_ones(
    installation: Installation, monkeypatch, visible, gpu, flag, variable
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    made = launch(installation, gpu=gpu)
    given = dict(zip(made.argv, made.argv[1:], strict=False))
    assert given.get("--gpu-device-id") == flag
    assert made.env.get("CUDA_VISIBLE_DEVICES") == variable


def test_a_gpu_counts_among_those_that_env_makes_visible(installation, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    made = launch(installation, gpu=1, env={"CUDA_VISIBLE_DEVICES": f"5,{UUID}"})
    assert made.env["CUDA_VISIBLE_DEVICES"] == UUID


def test_a_version_without_the_flag_gets_its_gpu_all_the_same(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    old = Installation(tmp_path, "2.1.0", Path(sys.executable), FLAGS - {"--gpu-device-id"})
    made = launch(old, gpu=1)
    assert "--gpu-device-id" not in made.argv
    assert made.env["CUDA_VISIBLE_DEVICES"] == "1"


@pytest.mark.parametrize(
    ("visible", "gpu", "message"),
    [
        ("2,3", 2, "only 2, counted from 0"),
        ("2,-1,3", 1, "only 1,"),
        ("", 0, "see none"),
        ("NoDevFiles", 0, "see none"),
        (UUID, "GPU-1111", f"see {UUID}"),
        (None, -1, "from 0 up"),
        (None, "cuda:1", "nvidia-smi -L"),
        (None, True, "from 0 up"),
        (None, 1.5, "from 0 up"),
    ],
)
def test_a_gpu_that_there_is_not(installation, monkeypatch, visible, gpu, message) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(ConfigurationError, match="gpu=") as caught:
        launch(installation, gpu=gpu)
    assert message in str(caught.value)
