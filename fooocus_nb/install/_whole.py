"""Runs in the engine's environment: which packages an interrupted pip has left half.

It is handed over as text (``python -c``), so it uses the standard library only. For each package
that is not whole it prints its metadata's folder and what is wrong; with ``--mend`` it removes that
folder's name, so that pip takes the package for not installed and installs it again.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
import sysconfig
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MARK = "fooocus-nb-whole:"


def broken(site: str) -> list[tuple[str, str]]:
    """Return the metadata folders whose packages are not whole, and why."""
    from pathlib import Path

    found = []
    for folder in sorted(Path(site).glob("*.dist-info")):
        try:
            reason = _what_is_wrong(folder)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is not whole
            reason = f"{type(error).__name__}: {error}"
        if reason:
            found.append((folder.name, reason))
    # What pip was about to replace or remove.
    found += [(path.name, "left by pip") for path in sorted(Path(site).glob("~*"))]
    return found


def _what_is_wrong(folder: Path) -> str:
    """Return what one package lacks by its list of files; nothing where it is whole."""
    record = folder / "RECORD"
    if not (folder / "METADATA").is_file() or not record.is_file():
        return "its list of files is missing"
    # Not by importlib.metadata: since Python 3.12 it leaves out the files that are missing.
    with record.open(encoding="utf-8", newline="") as file:
        for name, _, size in csv.reader(file):
            path = folder.parent / name
            # RECORD itself and bytecode have no size.
            if size and (not path.is_file() or path.stat().st_size != int(size)):
                return f"{name} is not whole"
    return ""


def _remove(path: str) -> None:
    # A link is removed and never what it leads to; of a module in one file pip leaves a file.
    if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
        shutil.rmtree(path)
    else:
        os.unlink(path)  # noqa: PTH108


def main() -> None:
    """Print what is not whole; mend it where that is asked for."""
    for site in dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")):
        for name, reason in broken(site):
            if "--mend" in sys.argv:
                _remove(os.path.join(site, name))  # noqa: PTH118
            print(MARK + json.dumps([name, reason]))  # noqa: T201


if __name__ == "__main__":
    main()
