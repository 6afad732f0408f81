"""``fooocus-nb describe``."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from fooocus_nb.cli.command import FAILED, OK, Command, UsageError
from fooocus_nb.cli.engine_options import add_engine_options, chosen_engine
from fooocus_nb.cli.input_files import file_hash, image_files
from fooocus_nb.cli.report import error_document
from fooocus_nb.errors import FooocusError, OutputError, ParameterError
from fooocus_nb.fooocus.plain_files import read_plain_file
from fooocus_nb.fooocus.whole_files import writing_whole
from fooocus_nb.options.values import sides

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from fooocus_nb.engine.core import Engine

#: A description is a few hundred characters.
MAX_BYTES = 1 << 20


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("words", nargs="+", metavar="IMAGE", help="files, or folders of images")
    parser.add_argument(
        "--as",
        dest="content",
        type=sides,
        default=("photo",),
        metavar="KIND",
        help="photo, anime or both, as photo,anime (default: photo)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="write each description into a text file here, called as the image; those that are "
        "there already are kept, and not asked for again",
    )
    add_engine_options(parser)


def run(options: argparse.Namespace) -> int:
    """Describe the images."""
    files = image_files(options.words, None)
    work = _Descriptions(options, files)
    if work.waiting:
        with chosen_engine(options, output_dir=options.output or ".") as engine:
            work.ask(engine)
    return FAILED if work.failed else OK


class _Descriptions:
    """What is known of each file, and what failed."""

    def __init__(self, options: argparse.Namespace, files: list[Path]) -> None:
        from fooocus_nb.engine.folders import resolved

        self._options = options
        self._files = files
        self._folder = resolved(options.output, "-o") if options.output else None
        self._found: dict[int, dict[str, Any]] = {}
        self.failed: list[dict[str, Any]] = []
        self.waiting = [number for number in range(len(files)) if not self._known(number)]
        self._report()

    def _report(self) -> None:
        document: dict[str, Any] = {
            "descriptions": [self._found[number] for number in sorted(self._found)]
        }
        if self.failed:
            document["failed"] = self.failed
        self._options.report.document = document

    def ask(self, engine: Engine) -> None:
        """Let an engine describe what is not known yet."""
        from fooocus_nb.cli.progress_bar import ProgressBar

        began, bar = time.monotonic(), ProgressBar(sys.stderr)
        try:
            for done, number in enumerate(self.waiting):
                path = self._files[number]
                bar.show(done, len(self.waiting), time.monotonic() - began, path.name)
                try:
                    described = engine.describe(path, self._options.content)
                except ParameterError as error:
                    if len(self._files) == 1 or "content" in str(error):
                        raise UsageError(str(error)) from None
                    self._fail(path, error)
                except FooocusError as error:
                    self._fail(path, error)
                    if engine.state not in ("ready", "busy"):
                        return
                else:
                    bar.close()
                    self._add(number, str(described), list(described.styles))
        finally:
            bar.close()

    def _fail(self, path: Path, error: FooocusError) -> None:
        told = error_document(error)
        self.failed.append({"path": str(path.absolute()), "error": told})
        self._report()
        self._options.report.note(f"{path}: {told['message']}")

    # -- its text files ---------------------------------------------------------------------

    def _text_file(self, number: int) -> Path | None:
        """Return where a description goes; images that differ in their ending have two files."""
        from fooocus_nb.results.file_names import folded, safe_name

        if self._folder is None:
            return None
        path = self._files[number]
        stems = [folded(each.stem) for each in self._files]
        same = stems.count(folded(path.stem)) > 1
        name = safe_name(f"{path.stem}-{file_hash(path)[:8]}" if same else path.stem)
        return self._folder / f"{name}.txt"

    def _known(self, number: int) -> bool:
        target = self._text_file(number)
        if target is None:
            return False
        try:
            text = read_plain_file(target, MAX_BYTES).decode("utf-8", "replace").strip()
        except OSError:  # nothing is there, or it is no description
            return False
        self._remember(number, text, [], target, existing=True)
        return True

    def _add(self, number: int, text: str, styles: list[str]) -> None:
        target = self._text_file(number)
        if target is not None and target.exists():
            msg = f"{target} is there already, and is no description: nothing is overwritten."
            raise OutputError(msg)
        if target is not None:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with writing_whole(target) as part:
                    part.write_text(f"{text}\n", encoding="utf-8")
            except OSError as error:
                msg = f"The description of {self._files[number]} could not be written: {error}."
                raise OutputError(msg) from error
        self._remember(number, text, styles, target, existing=False)
        shown, several = " ".join(text.split()), len(self._files) > 1
        self._options.report.say(f"{self._files[number]}\t{shown}" if several else shown)

    def _remember(
        self, number: int, text: str, styles: list[str], target: Path | None, *, existing: bool
    ) -> None:
        self._found[number] = {
            "path": str(self._files[number].absolute()),
            "text": text,
            "styles": styles,
            "output": str(target) if target else None,
            "existing": existing,
        }
        self._report()


COMMAND = Command(
    "say what images show, as prompts",
    "Lets the engine say what images show. Of a folder all images in it are taken. With -o each "
    "description is written into a text file; run again, only the missing ones are asked for.",
    add_options,
    run,
)
