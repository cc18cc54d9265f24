"""Pyright sees every file of the project and finds no error; `make check` runs this for it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLANTED = 'BROKEN: int = "text"\n'
PLACES = [
    "agents/learning/planted.py",
    "benchmarks/planted.py",
    "reason_env/planted.py",
    "wrappers/planted.py",
]
NOT_CHECKED = ("tests/", ".ci/")
"""Test functions are untyped; pyright passes over folders that begin with a dot."""

pytestmark = pytest.mark.types


def project_files() -> list[str]:
    """List the Python files that git tracks or would track, but those of `NOT_CHECKED`."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [
        name
        for name in listed.stdout.splitlines()
        if not name.startswith(NOT_CHECKED) and (ROOT / name).is_file()
    ]


def test_a_type_error_in_any_folder_is_found_and_no_file_is_passed_over(tmp_path):
    files = project_files()
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for room in ("agents", "wrappers"):
        (tmp_path / "reason_env" / room).symlink_to(Path("..") / room)
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    for place in PLACES:
        (tmp_path / place).write_text(PLANTED)
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    def place_of(item):
        return Path(item["file"]).relative_to(tmp_path).as_posix()

    found = json.loads(done.stdout)
    errors = [item for item in found["generalDiagnostics"] if item["severity"] == "error"]
    others = [item for item in errors if place_of(item) not in PLACES]
    assert others == [], "\n".join(
        f"{place_of(item)}:{item['range']['start']['line'] + 1}: {item['message']}"
        for item in others
    )
    assert sorted(map(place_of, errors)) == PLACES
    assert found["summary"]["filesAnalyzed"] == len(files) + len(PLACES)
