from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fooocus_nb.errors import FooocusError, OutputError
from fooocus_nb.fooocus.limits import FILE_VARIABLE
from fooocus_nb.results.output_folder import OutputFolder


def test_bytes_are_unchanged_and_the_same_file_is_copied_once(tmp_path):
    source = tmp_path / "a.png"
    source.write_bytes(b"picture")
    outputs = OutputFolder(tmp_path / "out")
    first, second = outputs.copy(source), outputs.copy(source)
    assert first == second
    assert first.read_bytes() == b"picture"
    assert list((tmp_path / "out").iterdir()) == [first]


def test_another_image_of_the_same_name_is_never_overwritten(tmp_path):
    outputs = OutputFolder(tmp_path)
    first = outputs.write("a.png", b"one")
    second = outputs.write("a.png", b"two")
    assert first.read_bytes() == b"one"
    assert second.read_bytes() == b"two"
    assert second.name == "a-2.png"


def test_a_name_from_a_server_cannot_leave_the_folder(tmp_path):
    outputs = OutputFolder(tmp_path / "out")
    assert outputs.write("../../evil.png", b"x").parent == tmp_path / "out"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("/", "image.png"),
        ("", "image.png"),
        ("/tmp/..", "_.png"),
        ("..\\..\\evil.png", "evil.png"),
        ("C:\\x\\nul.png", "_nul.png"),
        ("CON.webp", "_CON.webp"),
        ("aux", "_aux.png"),
        ("a:b|c?.jpg", "a_b_c_.jpg"),
        (".bashrc", "_bashrc.png"),
        ("-rf.png", "_rf.png"),
        ("sitecustomize.py", "sitecustomize.py.png"),
        ("page.html", "page.html.png"),
        ("run.ipynb", "run.ipynb.png"),
        ("gpj\u202e.exe", "gpj_.exe.png"),
        ("a\x00\x1b[31m\n\ud800.png", "a_[31m_.png"),
        ("x" * 5000 + ".PNG", "x" * 120 + ".PNG"),
        ("2024-01-02_03-04-05_6789.png", "2024-01-02_03-04-05_6789.png"),
        ("Ünïcode 日本.webp", "Ünïcode 日本.webp"),
    ],
)
def test_every_name_of_a_server_is_one_that_any_file_system_takes(tmp_path, given, name):
    written = OutputFolder(tmp_path / "out").write(given, b"x")
    assert written == tmp_path / "out" / name
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_cannot_be_made_says_where_the_image_still_is(tmp_path):
    (tmp_path / "out").write_text("a file in the way")
    source = tmp_path / "a.png"
    source.write_bytes(b"picture")
    with pytest.raises(FooocusError, match=r"not lost.*a\.png"):
        OutputFolder(tmp_path / "out").copy(source)
    assert source.exists()


def test_many_at_once_never_overwrite_each_other(tmp_path):
    """Two kernels in one folder get images of the same name, as theirs count seconds."""
    writers, names = 8, 20
    start = threading.Barrier(writers)

    def write(writer):
        outputs = OutputFolder(tmp_path)
        start.wait(30)
        return [
            outputs.write(f"{name}.png", f"{name} by {writer}".encode()) for name in range(names)
        ]

    with ThreadPoolExecutor(writers) as pool:
        written = [path for paths in pool.map(write, range(writers)) for path in paths]
    assert len({path.read_bytes() for path in written}) == writers * names
    assert set(tmp_path.iterdir()) == set(written)


def test_a_file_system_without_links_will_do(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    outputs = OutputFolder(tmp_path)
    assert outputs.write("a.png", b"one").name == "a.png"
    assert outputs.write("a.png", b"two").name == "a-2.png"
    assert outputs.write("a.png", b"one").name == "a.png"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-2.png", "a.png"]


REFUSE = Path(__file__).resolve().parents[1] / "tools" / "refuse.py"
WRITE = """
import sys
from pathlib import Path
from fooocus_nb.results.output_folder import OutputFolder
outputs = OutputFolder(Path(sys.argv[1]))
print([outputs.write("a.png", data).name for data in (b"one", b"two", b"one")])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
@pytest.mark.parametrize("calls", ["chmod", "link", "rename", "link,rename", "chmod,link,rename"])
def test_a_folder_where_much_is_refused_holds_the_images_all_the_same(tmp_path, calls):
    """Mounted buckets and some network disks refuse such calls."""
    argv = [sys.executable, REFUSE, calls, sys.executable, "-c", WRITE, tmp_path]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['a.png', 'a-2.png', 'a.png']"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-2.png", "a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"one"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_a_disk_that_gets_full_leaves_no_partial_image(tmp_path):
    """Not even where files have to be written under their own name."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
    ignore = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    large = WRITE.replace('b"one", b"two", b"one"', "bytes(5000),")
    done = subprocess.run(
        [sys.executable, "-c", limit + ignore + large, tmp_path / "out"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "OutputError" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_takes_nothing_is_known_before(tmp_path):
    folder = tmp_path / "notebooks"
    outputs = OutputFolder(folder / "deep" / "images")
    outputs.require_writable()
    assert list(tmp_path.iterdir()) == []
    folder.touch()
    with pytest.raises(OutputError, match=r"notebooks is a file.*output_dir="):
        outputs.require_writable()


@pytest.mark.may_skip
def test_a_folder_of_somebody_else_is_known_before():
    if sys.platform == "win32" or os.geteuid() != 0:
        pytest.skip("takes root, who becomes somebody else")
    code = (
        "import os, sys; from pathlib import Path\n"
        "from fooocus_nb.results.output_folder import OutputFolder\n"
        "os.setgroups([]); os.setuid(4321)\n"
        "OutputFolder(Path(sys.argv[1])).require_writable()"
    )
    # The folders above it, too, must be open to everybody: neither pytest's own nor TMPDIR are.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        argv = [sys.executable, "-c", code, f"{folder}/images"]
        Path(folder).chmod(0o755)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert f"{folder} may not be written to" in done.stderr
        os.chown(folder, 4321, -1)
        subprocess.run(argv, check=True, timeout=60)


@pytest.mark.skipif(os.name == "nt", reason="modes and links are POSIX's")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_follow_the_umask(tmp_path, umask):
    source = tmp_path / "a.png"
    source.write_bytes(b"one")
    before = os.umask(umask)
    try:
        outputs = OutputFolder(tmp_path / "out")
        for path in (outputs.copy(source), outputs.write("b.png", b"two")):
            assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    finally:
        os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="modes and links are POSIX's")
@pytest.mark.parametrize("links", [True, False])
def test_links_are_respected(tmp_path, monkeypatch, links):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    real, folder = tmp_path / "real", tmp_path / "out"
    real.mkdir()
    folder.symlink_to(real)
    (real / "a.png").symlink_to(tmp_path / "gone.png")
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    assert OutputFolder(folder).write("a.png", b"one") == folder / "a-2.png"
    assert folder.is_symlink()
    assert (real / "a.png").is_symlink()
    assert not (tmp_path / "gone.png").exists()


def test_a_file_that_grows_while_it_is_read_has_an_end(tmp_path, monkeypatch):
    """Each look at it finds more; nothing over the bound is taken."""
    monkeypatch.setenv(FILE_VARIABLE, "1000")
    source = tmp_path / "a.png"
    source.write_bytes(b"x" * 900)
    real = os.fstat

    def growing(handle):
        found = real(handle)
        with source.open("ab") as file:
            file.write(b"x" * 900)
        return found

    monkeypatch.setattr(os, "fstat", growing)
    with pytest.raises(OutputError, match="too large"):
        OutputFolder(tmp_path / "out").copy(source)


@pytest.mark.skipif(os.name == "nt", reason="modes and links are POSIX's")
def test_only_plain_files_of_bounded_size_are_copied(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(5_000_000_000)
    outputs = OutputFolder(tmp_path / "out")
    for name in ("pipe.png", "large.png"):
        with pytest.raises(FooocusError, match=r"plain file|too large"):
            outputs.copy(tmp_path / name)
    assert not list((tmp_path / "out").glob("*"))
