"""Pyright sees every file of the project; `make check` runs this, since it takes pyright's time."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("reason_env", "agents", "wrappers", "benchmarks")
PLANTED = 'BROKEN: int = "text"\n'
PLACES = ("reason_env/planted.py", "agents/learning/planted.py", "wrappers/planted.py",
          "benchmarks/planted.py")  # fmt: skip

pytestmark = pytest.mark.types


def checked(folder: Path) -> dict:
    """Returns what pyright says of the checkout in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(done.stdout)


def test_a_type_error_in_any_folder_is_found_and_no_file_is_passed_over(tmp_path):
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True)
    for name in ("pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    for place in PLACES:
        (tmp_path / place).write_text(PLANTED)
    found = checked(tmp_path)
    errors = [item for item in found["generalDiagnostics"] if item["severity"] == "error"]
    assert sorted(Path(item["file"]).relative_to(tmp_path).as_posix() for item in errors) == sorted(
        PLACES
    )
    files = [
        path
        for folder in FOLDERS
        for path in (tmp_path / folder).rglob("*.py")
        if not path.is_relative_to(tmp_path / "reason_env" / "agents")
        and not path.is_relative_to(tmp_path / "reason_env" / "wrappers")
    ]
    assert found["summary"]["filesAnalyzed"] == len(files) + 1  # and setup.py
