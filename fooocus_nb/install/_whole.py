"""Runs in the engine's environment: which packages an interrupted pip has left half.

It is handed over as text (``python -c``), so it uses the standard library only. For each package
that is not whole it prints its metadata's folder and what is wrong; with ``--mend`` it removes that
folder's name, so that pip takes the package for not installed and installs it again.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig

MARK = "fooocus-nb-whole:"


def broken(site: str) -> list[tuple[str, str]]:
    """Return the metadata folders whose packages are not whole, and why."""
    from importlib import metadata
    from pathlib import Path

    found = []
    for folder in sorted(Path(site).glob("*.dist-info")):
        reason = ""
        try:
            files = metadata.Distribution.at(folder).files
            if not (folder / "METADATA").is_file() or files is None:
                reason = "its list of files is missing"
            for file in files or ():
                path = Path(str(file.locate()))
                if file.size is None:  # RECORD itself, and bytecode
                    continue
                if not path.is_file() or path.stat().st_size != file.size:
                    reason = f"{file} is not whole"
                    break
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is not whole
            reason = f"{type(error).__name__}: {error}"
        if reason:
            found.append((folder.name, reason))
    # What pip was about to replace or remove.
    found += [(path.name, "left by pip") for path in sorted(Path(site).glob("~*"))]
    return found


def main() -> None:
    """Print what is not whole; mend it where that is asked for."""
    for site in dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")):
        for name, reason in broken(site):
            if "--mend" in sys.argv:
                shutil.rmtree(os.path.join(site, name))  # noqa: PTH118
            print(MARK + json.dumps([name, reason]))  # noqa: T201


if __name__ == "__main__":
    main()
