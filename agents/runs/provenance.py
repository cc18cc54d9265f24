"""The provenance of a run: commit, package versions, command and platform.

The commit is recorded only if this file is tracked in the repository: a copy installed in a virtual
environment inside another project must not record that project's commit. Not recorded: host name,
user, environment variables. Tokens in the command are left out.
"""

import platform
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from reason_env.errors import redacted


def provenance(*, command: Sequence[str], device: str) -> dict[str, Any]:
    """Collect the facts of a start as a JSON-able object."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [redacted(word) for word in command],
        "git": git_state(Path(__file__)),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "packages": package_versions(),
    }


def git_state(file: Path) -> dict[str, Any] | None:
    """Find the commit of the repository that tracks `file`, and whether the tree is dirty.

    None if there is no git, no commit, or the file is not tracked.
    """
    folder = file.resolve().parent
    if (
        shutil.which("git") is None
        or _git(folder, "ls-files", "--error-unmatch", file.name) is None
    ):
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "is_dirty": bool(_git(folder, "status", "--porcelain"))}


def package_versions() -> dict[str, str]:
    """List the version of every installed distribution, by name."""
    found = {item.metadata["Name"]: item.version for item in distributions()}
    return {name: found[name] for name in sorted(filter(None, found))}


def _git(folder: Path, *arguments: str) -> str | None:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None
