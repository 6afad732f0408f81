"""The hosted workflows: they parse, so does their shell, and they test what we claim."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXPRESSION = re.compile(r"\$\{\{.*?\}\}")


def load(path: Path) -> dict:
    # A plain YAML 1.1 reader takes the key `on` for true.
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)


def steps(path: Path) -> list[dict]:
    return [step for job in load(path)["jobs"].values() for step in job["steps"]]


def matrix() -> list[dict]:
    """Every machine of the test job."""
    wanted = load(ROOT / ".github/workflows/tests.yml")["jobs"]["test"]["strategy"]["matrix"]
    plain = [
        {"os": system, "python": python, "dependencies": dependencies}
        for system in wanted["os"]
        for python in wanted["python"]
        for dependencies in wanted["dependencies"]
    ]
    return plain + wanted["include"]


def test_there_is_one() -> None:
    assert WORKFLOWS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_job_is_whole(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert "runs-on" in job, name
        assert int(job["timeout-minutes"]) <= (120 if name == "night" else 60), name
        for need in [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", []):
            assert need in workflow["jobs"]
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), step
            assert set(step) <= {"name", "uses", "with", "run", "if", "env", "id"}
            assert re.fullmatch(r"[\w-]+/[\w-]+@(release/)?v\d+", step.get("uses", "a/b@v1")), step


@pytest.mark.skipif(sys.platform == "win32", reason="its bash may be another system's")
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_shell_parses(path: Path) -> None:
    scripts = [EXPRESSION.sub("x", step["run"]) for step in steps(path) if "run" in step]
    assert scripts
    for script in scripts:
        done = subprocess.run(
            ["bash", "-n"], input=script, text=True, capture_output=True, timeout=20, check=False
        )
        assert done.returncode == 0, f"{script}\n{done.stderr}"


def test_expressions_name_what_is_there() -> None:
    text = (ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8")
    assert text.count("${{") == len(EXPRESSION.findall(text))
    for name in re.findall(r"matrix\.(\w+)", text):
        assert name in {"os", "python", "dependencies"}


def test_files_that_are_named_are_there() -> None:
    for path in WORKFLOWS:
        for step in steps(path):
            named = re.findall(r"(?:tests|\.ci)/[\w/.-]+", str(step))
            for name in named:
                assert (ROOT / name).exists(), name


def test_every_version_that_we_claim_runs_on_every_system() -> None:
    claimed = {
        match[1]
        for classifier in PROJECT["classifiers"]
        if (match := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", classifier))
    }
    assert f">={min(claimed, key=lambda version: int(version[2:]))}" == PROJECT["requires-python"]
    for system in ("ubuntu-latest", "macos-latest", "windows-latest"):
        runs = [row for row in matrix() if row["os"] == system]
        assert claimed <= {row["python"] for row in runs}
        assert {row["dependencies"] for row in runs} == {"oldest", "newest"}


def test_oldest_dependencies_are_the_floors_of_the_project() -> None:
    tool = ROOT / "tests" / "tools" / "make_constraints.py"
    lines = subprocess.run(
        [sys.executable, str(tool)], capture_output=True, text=True, timeout=30, check=True
    ).stdout.splitlines()
    pinned = dict(line.split("==") for line in lines)
    extras = PROJECT["optional-dependencies"].values()
    wanted = [*PROJECT["dependencies"], *(item for extra in extras for item in extra)]
    names = {re.split(r"[>=<\[ ]", item)[0] for item in wanted} - {"fooocus-nb"}
    assert set(pinned) == names, "every dependency has a floor"
    floors = [re.sub(r"\[[^]]*\]", "", item) for item in wanted]
    assert all(f"{name}>={version}" in " ".join(floors) for name, version in pinned.items())


def test_the_long_lane_runs_at_night_and_the_wheel_is_tested() -> None:
    jobs = load(ROOT / ".github/workflows/tests.yml")["jobs"]
    assert ".ci/run all" in [step.get("run") for step in jobs["night"]["steps"]]
    lane = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    sessions = re.findall(
        r"^def ([a-z]\w*)\(session", (ROOT / "noxfile.py").read_text("utf-8"), re.M
    )
    assert "installed" in sessions
    # What the sessions `tests` and `browser` run, `installed` runs on the wheel.
    for session in set(sessions) - {"tests", "browser"}:
        assert re.search(rf"all\).*\b{session}\b", lane), f"the long lane leaves out {session}"
