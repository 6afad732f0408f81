"""Where Fooocus is taken from, and how it is fetched: with git, and never run before it is known.

The release is fetched by its tag and checked against the commit in :mod:`release`. Any other source
runs somebody else's code, so its commit is shown, and nothing is checked out without a yes.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from fooocus_nb._secrets import redact, remember_address
from fooocus_nb.errors import InstallError
from fooocus_nb.install import release
from fooocus_nb.install.programs import clean_environment
from fooocus_nb.install.progress import Progress
from fooocus_nb.install.target import NOTES

if TYPE_CHECKING:
    from fooocus_nb.install.programs import Programs
    from fooocus_nb.install.progress import Observer
    from fooocus_nb.install.target import Target

__all__ = ["Source", "fetch", "source_of"]

#: ``git@host:owner/name.git``: ssh as git writes it.
SCP = re.compile(r"(?:[\w.-]+@)?\w[\w.-]*:(?!//|:)[^\\].*")
#: Names of branches, tags and commits, less than git allows; never an option.
REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@-]{0,200}")
HASH = re.compile(r"[0-9a-f]{40}")
RECEIVED = re.compile(r"(?:Receiving objects|Updating files):\s+(\d+)% .*")
GIT_ADVICE = (
    "Install it: apt install git, brew install git, winget install Git.Git, or from "
    "https://git-scm.com."
)


@dataclass(frozen=True)
class Source:
    """A repository and what of it is wanted.

    Attributes
    ----------
    url : str
        Where it is, as git takes it, without a login.
    ref : str
        The branch, tag or commit; ``HEAD`` is the repository's own.
    commit : str or None
        The commit that it has to be; None where any is taken that the user agrees to.
    login : str
        The URL with its login, for git alone; empty where there is none.
    """

    url: str
    ref: str
    commit: str | None = None
    login: str = ""


def source_of(given: str | None, ref: str | None) -> Source:
    """Return the source that a user names; by default the release.

    Raises
    ------
    InstallError
        When it is neither https, ssh nor a folder, or `ref` is no name of a branch, tag or commit.
    """
    if ref is not None and (REF.fullmatch(ref) is None or ".." in ref):
        msg = f"--ref {ref!r} is no name of a branch, tag or commit, such as main or v2.5.5."
        raise InstallError(msg)
    if given is None:
        known = ref in (None, release.TAG, release.COMMIT)
        return Source(release.URL, ref or release.TAG, release.COMMIT if known else None)
    given = given.strip()
    scheme = urlsplit(given).scheme.lower() if "://" in given else ""
    if scheme in ("https", "ssh"):
        return _from_url(given, ref or "HEAD")
    if scheme == "" and not Path(given).expanduser().exists() and SCP.fullmatch(given):
        return Source(given, ref or "HEAD")
    if scheme not in ("", "file"):
        msg = (
            f"--from {redact(given)!r}: {scheme}:// is not taken, since nothing tells on the way "
            "who has changed the code. Give an https:// or ssh:// address, or a folder."
        )
        raise InstallError(msg)
    return Source(_folder(given), ref or "HEAD")


def _from_url(url: str, ref: str) -> Source:
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or host.startswith("-") or parts.username == "":
        msg = f"--from {redact(url)!r} is no address such as https://github.com/owner/name."
        raise InstallError(msg)
    if parts.scheme.lower() == "ssh" and parts.password is None:
        return Source(url, ref)  # the user's name in it is no secret
    if parts.username is None and parts.password is None and not parts.query:
        return Source(url, ref)
    remember_address(url)
    where = f"[{host}]" if ":" in host else host
    where += f":{port}" if port else ""
    return Source(urlunsplit((parts.scheme, where, parts.path, "", "")), ref, login=url)


def _folder(given: str) -> str:
    path = Path(given.removeprefix("file://")).expanduser().resolve()
    if not path.is_dir():
        msg = f"--from {given!r}: there is no such folder, and it is no https:// or ssh:// address."
        raise InstallError(msg)
    if not (path / ".git").exists() and not (path / "HEAD").is_file():
        msg = (
            f"--from {given!r}: the folder is no git repository, so no commit tells what would be "
            "installed. Make it one (git init, git add -A, git commit), or use it where it is: "
            f"fooocus-nb doctor --path {given}"
        )
        raise InstallError(msg)
    return str(path)


def fetch(source: Source, target: Target, programs: Programs, observer: Observer) -> str:
    """Bring the source into the target, and return its commit.

    Raises
    ------
    InstallError
        When git is missing or fails, the commit is another one than it has to be, the user does
        not agree, or the target holds another commit already.
    """
    git = _git()
    repository = _Repository(git, source, target, programs)
    done = target.step("Source")
    if done is not None or (target.get("source") and target.holds_more_than(".git")):
        _same(source, target)
    if done is not None:
        return done
    observer.update(Progress("Source", f"Asking {redact(source.url)} for {source.ref}"))
    # What an interrupted run has left of it may be locked or half.
    target.remove(".git")
    target.note(source={"url": source.url, "ref": source.ref})
    commit = repository.fetch(observer)
    if source.commit is not None and commit != source.commit:
        msg = (
            f"{source.url} has another commit under {source.ref} than it should: {commit} and not "
            f"{source.commit}. The tag was moved, or something between here and there has changed "
            "it. Nothing of it was installed. Look at it, and where you want just that: "
            f"--from {source.url} --ref {source.ref}"
        )
        raise InstallError(msg)
    if source.commit is None and target.get("agreed") != commit:
        question = (
            f"{redact(source.url)} has under {source.ref} the commit {commit}\n"
            f"    {repository.describe(commit)}\n"
            "This is not the release that fooocus-nb knows: installing it runs its code as you. "
            "Install it?"
        )
        if not observer.confirm(question):
            msg = f"Nothing of {redact(source.url)} was installed: you did not agree to {commit}."
            raise InstallError(msg)
        target.note(agreed=commit)
    repository.check_out(commit, observer)
    target.finish("Source", commit)
    return commit


def _same(source: Source, target: Target) -> None:
    """Refuse to turn one installation into another, also one that was begun only."""
    there = target.get("source") or {}
    if (there.get("url"), there.get("ref")) != (source.url, source.ref):
        part = "" if target.step("Source") is not None else "a part of "
        msg = (
            f"{str(target.path)!r} holds {part}{there.get('ref')} of {there.get('url')}, and not "
            f"{source.ref} of {redact(source.url)}. Give another folder, or the same --from and "
            "--ref as before."
        )
        raise InstallError(msg)


def _git() -> str:
    found = shutil.which("git")
    if found is None:
        msg = f"git is needed to get Fooocus, and there is none on the PATH. {GIT_ADVICE}"
        raise InstallError(msg)
    return found


def _add_git_setting(environment: dict[str, str], name: str, value: str) -> None:
    """Add a setting for git behind those that the user's environment has already."""
    given = environment.get("GIT_CONFIG_COUNT", "")
    number = int(given) if given.isdecimal() else 0
    environment["GIT_CONFIG_COUNT"] = str(number + 1)
    environment[f"GIT_CONFIG_KEY_{number}"] = name
    environment[f"GIT_CONFIG_VALUE_{number}"] = value


class _Repository:
    """The target as a git repository."""

    def __init__(self, git: str, source: Source, target: Target, programs: Programs) -> None:
        self._source = source
        self._target = target
        self._programs = programs
        self._environment = clean_environment(os.environ)
        settings = (
            "protocol.allow=never",
            *(f"protocol.{name}.allow=always" for name in ("https", "ssh", "file")),
            f"core.hooksPath={os.devnull}",
            "advice.detachedHead=false",
            "init.defaultBranch=main",
            "gc.auto=0",  # it would go on in the background
        )
        self._options = [git, *(word for setting in settings for word in ("-c", setting))]
        if source.login:
            # The login reaches git by its environment: command lines are seen by everybody.
            _add_git_setting(self._environment, f"url.{source.login}.insteadOf", source.url)

    def _run(self, *words: str, what: str, observer: Observer) -> None:
        def follow(line: str) -> None:
            if match := RECEIVED.match(line.strip()):
                observer.update(Progress("Source", redact(match[0]), percent=int(match[1])))

        self._programs.run(
            [*self._options, *words], what=what, environment=self._environment, listener=follow
        )

    def _ask(self, *words: str, what: str) -> list[str]:
        return self._programs.ask(
            [*self._options, *words], what=what, environment=self._environment
        )

    def fetch(self, observer: Observer) -> str:
        """Fetch what is wanted, and return its commit; nothing is checked out."""
        what = f"{redact(self._source.url)} could not be fetched"
        self._ask("init", "-q", what="git could not make a repository")
        exclude = self._target.path / ".git" / "info" / "exclude"
        exclude.parent.mkdir(exist_ok=True)
        exclude.write_text(f"/{NOTES}/\n/venv/\n", encoding="utf-8")
        options = ("fetch", "--progress", "--no-tags", "--depth=1", "--no-recurse-submodules")
        self._run(*options, "--", self._source.url, self._source.ref, what=what, observer=observer)
        return self._commit("FETCH_HEAD")

    def _commit(self, name: str) -> str:
        lines = self._ask(
            "rev-parse", "--verify", f"{name}^{{commit}}", what="the commit cannot be told"
        )
        found = next((line for line in reversed(lines) if HASH.fullmatch(line)), None)
        if found is None:
            msg = f"git does not tell the commit of {redact(self._source.url)}: {lines[-1:]}."
            raise InstallError(msg)
        return found

    def describe(self, commit: str) -> str:
        """Return when a commit was made, by whom, and its first line."""
        lines = self._ask(
            *("show", "-s", "--no-show-signature", "--format=%cs, %an: %s", commit),
            what="the commit cannot be read",
        )
        return redact(" ".join(lines[-1:])[:200])

    def check_out(self, commit: str, observer: Observer) -> None:
        """Write the files of a commit; files that are there and not in it stay."""
        self._run(
            *("checkout", "--force", "--progress", "--detach", commit),
            what="the files could not be written",
            observer=observer,
        )
        if (head := self._commit("HEAD")) != commit:
            msg = f"git has checked out {head} and not {commit}."
            raise InstallError(msg)
        # For later updates by hand; without a login.
        self._ask("config", "remote.origin.url", self._source.url, what="git")
