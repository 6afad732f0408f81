"""``%fooocus install``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fooocus_nb.errors import InstallError
from fooocus_nb.install import STEPS, install
from fooocus_nb.magics.verb import Parser, Verb
from fooocus_nb.widgets.install_monitor import InstallMonitor

if TYPE_CHECKING:
    from argparse import Namespace

    from fooocus_nb.doctor import Report
    from fooocus_nb.install import Progress
    from fooocus_nb.magics.session import Session


def add_options(parser: Parser) -> None:
    """Add its options."""
    add = parser.add_argument
    add("directory", nargs="?", metavar="DIR",
        help="a new or empty folder; by default FOOOCUS_HOME, then ~/Fooocus")  # fmt: skip
    add("--from", dest="source", metavar="PATH_OR_URL",
        help="another repository (https, ssh, a folder); shows the commit and asks")  # fmt: skip
    add("--ref", help="the branch, tag or commit; by default the released tag")
    add("--yes", action="store_true", help="agree to the commit of another source unasked")
    add("--python", help="the Python 3.10 or 3.11 to make the environment with")
    add("--torch", default="auto", help="auto, nvidia, cpu, apple or none")


def run(session: Session, options: Namespace) -> Report:
    """Install Fooocus, and show the doctor's report on it."""
    monitor = InstallMonitor(STEPS)
    try:
        done = install(
            options.directory,
            _Notebook(session, monitor, yes=options.yes),
            source=options.source,
            ref=options.ref,
            python=options.python,
            torch=options.torch,
        )
    except BaseException:
        monitor.failed()
        raise
    monitor.done(f"Fooocus {done.version} is installed: %fooocus start --path {done.path}")
    return done.report.in_words_of("magic")


class _Notebook:
    """Shows the steps in the monitor, and what stays as printed lines."""

    def __init__(self, session: Session, monitor: InstallMonitor, *, yes: bool) -> None:
        self._session = session
        self._monitor = monitor
        self._yes = yes

    def say(self, text: str) -> None:
        for line in text.splitlines():
            self._session.write(line)

    def update(self, progress: Progress) -> None:
        self._monitor.draw(progress.step, progress.text, progress.percent)

    def confirm(self, question: str) -> bool:
        self.say(question if not self._yes else f"{question} Yes, by --yes.")
        if self._yes:
            return True
        try:
            answer = input("[y/N] ")
        except (RuntimeError, EOFError) as error:  # StdinNotImplementedError, no terminal
            msg = "Nobody can answer here: --yes agrees to exactly what --from and --ref name."
            raise InstallError(msg) from error
        return answer.strip().casefold() in ("y", "yes")


VERB = Verb(
    "install Fooocus into a folder of its own: [DIR] [--from PATH_OR_URL] [--ref NAME] [--torch K]",
    run,
    add_options,
)
