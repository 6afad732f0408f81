"""Write the oldest dependencies that pyproject.toml allows, as constraints for pip.

python tests/tools/make_constraints.py > constraints.txt
python -m pip install -c constraints.txt -e ".[test]"
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
FLOOR = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*>=\s*(?P<version>[0-9][0-9.]*)")


def main() -> int:
    """Print the constraints and return the exit status."""
    sys.stdout.write("".join(f"{line}\n" for line in constraints(PYPROJECT.read_text("utf-8"))))
    return 0


def constraints(pyproject: str) -> list[str]:
    """Return one line for each dependency that has a floor, sorted."""
    project = tomllib.loads(pyproject)["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(item for extra in extras for item in extra)]
    floors = [match for item in wanted if (match := FLOOR.match(item))]
    return sorted(f"{match['name']}=={match['version']}" for match in floors)


if __name__ == "__main__":
    sys.exit(main())
