"""Where Fooocus comes from: what is taken, what is checked, and what is never shown."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from fooocus_nb._secrets import redact
from fooocus_nb.errors import InstallError
from fooocus_nb.install import release
from fooocus_nb.install.programs import Programs
from fooocus_nb.install.source import Source, fetch, source_of
from fooocus_nb.install.target import Target
from tests.install.conftest import Teller, git

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOKEN = "ghp_0123456789abcdefghij"


def fetched(source: Source, path: Path, teller: Teller) -> str:
    target = Target(path)
    with target.locked():
        return fetch(source, target, Programs(target), teller)


def test_the_release_is_checked_against_a_commit() -> None:
    assert source_of(None, None) == Source(release.URL, "v2.5.5", release.COMMIT)
    assert len(release.COMMIT) == 40
    assert source_of(None, "main").commit is None


def test_a_moved_tag_is_not_installed(
    make_repository: Callable[..., Path], tmp_path: Path, teller: Teller
) -> None:
    moved = Source(str(make_repository()), "v2.5.5", release.COMMIT)
    with pytest.raises(InstallError, match=f"another commit under v2.5.5.*{release.COMMIT}"):
        fetched(moved, tmp_path / "Fooocus", teller)
    assert not (tmp_path / "Fooocus" / "launch.py").exists()
    assert not teller.questions


def test_another_source_shows_its_commit_and_asks(
    make_repository: Callable[..., Path], tmp_path: Path
) -> None:
    origin = make_repository()
    commit = git(origin, "rev-parse", "HEAD")
    path = tmp_path / "Fooocus"
    doubtful = Teller(answer=False)
    with pytest.raises(InstallError, match="you did not agree"):
        fetched(source_of(str(origin), None), path, doubtful)
    (question,) = doubtful.questions
    assert commit in question
    assert "Somebody: A stand-in" in question
    assert not (path / "launch.py").exists()
    # Who agrees gets it, and isn't asked for the same again.
    willing = Teller()
    assert fetched(source_of(str(origin), None), path, willing) == commit
    assert (path / "launch.py").read_text() == "import fooocus_launch\n"
    assert git(path, "status", "--porcelain") == ""
    assert fetched(source_of(str(origin), None), path, Teller(answer=False)) == commit


def test_a_branch_a_tag_and_a_commit_of_another_source(
    make_repository: Callable[..., Path], tmp_path: Path, teller: Teller
) -> None:
    origin = make_repository()
    first = git(origin, "rev-parse", "HEAD")
    (origin / "launch.py").write_text("import sys\n")
    git(origin, "commit", "-q", "-a", "-m", "More")
    git(origin, "branch", "wild")
    head = git(origin, "rev-parse", "HEAD")
    for number, (ref, wanted) in enumerate((("wild", head), ("v2.5.5", first), (first, first))):
        assert fetched(source_of(str(origin), ref), tmp_path / f"F{number}", teller) == wanted
    with pytest.raises(InstallError, match="no such branch, tag or commit"):
        fetched(source_of(str(origin), "nowhere"), tmp_path / "F9", teller)


def test_one_folder_is_one_source(
    make_repository: Callable[..., Path], tmp_path: Path, teller: Teller
) -> None:
    path = tmp_path / "Fooocus"
    fetched(source_of(str(make_repository()), None), path, teller)
    with pytest.raises(InstallError, match="Give another folder"):
        fetched(source_of(str(make_repository("other")), None), path, teller)


def test_a_checkout_that_was_begun_is_no_part_of_another_source(
    make_repository: Callable[..., Path], tmp_path: Path, teller: Teller
) -> None:
    path = tmp_path / "Fooocus"
    first, other = (source_of(str(make_repository(name)), None) for name in ("origin", "other"))
    # A run that was ended before anything was checked out leaves nothing that could mix.
    with pytest.raises(InstallError, match="you did not agree"):
        fetched(first, path, Teller(answer=False))
    target = Target(path)
    target.note(source={"url": first.url, "ref": first.ref})
    (path / "of_the_first.py").write_text("")  # of a run that was ended in the middle of it
    with pytest.raises(InstallError, match=r"holds a part of HEAD of .*Give another folder"):
        fetched(other, path, teller)
    fetched(first, path, teller)


def test_no_hook_runs(
    make_repository: Callable[..., Path], tmp_path: Path, teller: Teller, monkeypatch
) -> None:
    origin = make_repository()
    proof = tmp_path / "ran"
    templates = tmp_path / "templates" / "hooks"
    templates.mkdir(parents=True)
    hook = templates / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch '{proof}'\n")
    hook.chmod(0o755)
    settings = tmp_path / "gitconfig"
    settings.write_text(f"[init]\n\ttemplateDir = {templates.parent}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    fetched(source_of(str(origin), None), tmp_path / "Fooocus", teller)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("http://github.com/a/b", "http:// is not taken"),
        ("git://github.com/a/b", "git:// is not taken"),
        ("ext::sh -c touch%20/tmp/x", "no such folder|not taken"),
        ("--upload-pack=touch", "no such folder"),
        ("https://", "no address"),
        ("/nowhere/at/all", "no such folder"),
    ],
)
def test_what_is_no_source(given: str, said: str) -> None:
    with pytest.raises(InstallError, match=said):
        source_of(given, None)


def test_a_folder_without_git(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="no git repository"):
        source_of(str(tmp_path), None)


@pytest.mark.parametrize("ref", ["--upload-pack=x", "a..b", "", "-f", "a b"])
def test_what_is_no_ref(ref: str) -> None:
    with pytest.raises(InstallError, match="no name of a branch"):
        source_of(None, ref)


@pytest.mark.parametrize("url", ["ssh://git@example.org/a/b.git", "git@example.org:a/b.git"])
def test_ssh_is_left_to_git(url: str) -> None:
    assert source_of(url, "main") == Source(url, "main")


def replace_git(monkeypatch, folder: Path, notes: str, url: str) -> None:
    """Put a git in front that notes how it is called, and whose fetch fails with an address."""
    program = folder / "tools" / "git"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\n{notes}case "$*" in *fetch*) echo "fatal: {url} is gone" >&2\n'
        "exit 128;; *) mkdir -p .git/info;; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)


def test_a_token_is_seen_by_git_alone(tmp_path: Path, teller: Teller, monkeypatch) -> None:
    seen = tmp_path / "seen"
    notes = f'echo "$*" >> {seen}.argv\nenv | grep ^GIT_CONFIG >> {seen}.env\n'
    replace_git(monkeypatch, tmp_path, notes, f"https://me:{TOKEN}@example.org/a")
    source = source_of(f"https://me:{TOKEN}@example.org/a", None)
    assert source.url == "https://example.org/a"
    path = tmp_path / "Fooocus"
    with pytest.raises(InstallError) as caught:
        fetched(source, path, teller)
    assert TOKEN not in str(caught.value)
    assert TOKEN not in (tmp_path / "seen.argv").read_text()
    assert TOKEN in (tmp_path / "seen.env").read_text()
    state = (path / ".fooocus-nb" / "state.json").read_text()
    assert json.loads(state)["source"]["url"] == "https://example.org/a"
    assert TOKEN not in state + "".join(teller.lines) + repr(teller.updates)


def test_a_token_in_the_query_is_seen_by_git_alone(tmp_path: Path, teller: Teller, monkeypatch):
    seen = tmp_path / "seen"
    notes = f"env | grep ^GIT_CONFIG_ | sort > {seen}\n"
    replace_git(monkeypatch, tmp_path, notes, "https://example.org/a?key=k3y-of-mine")
    # What the user tells git in the same way stays.
    for name, value in (("COUNT", "1"), ("KEY_0", "http.proxy"), ("VALUE_0", "http://proxy")):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    with pytest.raises(InstallError) as caught:
        fetched(source_of("https://example.org/a?key=k3y-of-mine", None), tmp_path / "F", teller)
    assert "k3y-of-mine" not in str(caught.value)
    assert seen.read_text().splitlines() == [
        "GIT_CONFIG_COUNT=2",
        "GIT_CONFIG_KEY_0=http.proxy",
        "GIT_CONFIG_KEY_1=url.https://example.org/a?key=k3y-of-mine.insteadOf",
        "GIT_CONFIG_VALUE_0=http://proxy",
        "GIT_CONFIG_VALUE_1=https://example.org/a",
    ]


def test_without_network(tmp_path: Path, teller: Teller) -> None:
    source = source_of("https://127.0.0.1:9/a/b.git", None)
    with pytest.raises(InstallError, match=r"could not be fetched: there is no network") as caught:
        fetched(source, tmp_path / "Fooocus", teller)
    assert "run the same again" in str(caught.value)


def test_without_git(tmp_path: Path, teller: Teller, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InstallError, match=r"git is needed.*apt install git"):
        fetched(source_of(None, None), tmp_path / "Fooocus", teller)


def test_what_is_secret_in_an_index_is_masked(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(
        "PIP_EXTRA_INDEX_URL", "https://a.example/x https://b.example/?k=s3cr3t-of-b"
    )
    monkeypatch.setenv("UV_INDEX", "https://l0gin-of-c@c.example/simple")
    Programs(Target(tmp_path))
    said = redact("Looking in indexes: https://b.example/?k=s3cr3t-of-b, l0gin-of-c")
    assert "s3cr3t-of-b" not in said
    assert "l0gin-of-c" not in said
    assert "b.example" in said
