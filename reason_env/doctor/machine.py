"""Processors, devices, folders and settings.

Of environment variables only those in `SETTINGS` are shown, and of `SECRETS` only whether they are
set: a report that is pasted somewhere must hold no token. Proxies are in neither list, because
their addresses may hold passwords.
"""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from reason_env.cache import cache_directory
from reason_env.doctor.finding import Finding
from reason_env.errors import SECRETS

SETTINGS = (
    "CUDA_VISIBLE_DEVICES", "DO_NOT_TRACK", "HF_DATASETS_CACHE", "HF_HOME", "HF_HUB_CACHE",
    "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "OMP_NUM_THREADS", "TMPDIR", "XDG_CACHE_HOME",
)  # fmt: skip


def processors() -> list[Finding]:
    """Report the processors that this process may use, and its memory."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = [Finding(topic="devices", name="cpu", value=f"{usable} cores, {platform.machine()}")]
    if "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        found.append(Finding(topic="devices", name="memory", value=f"{memory / 2**30:.1f} GiB"))
    return found


def devices(torch: Mapping[str, Any] | None) -> list[Finding]:
    """Report what torch can compute on.

    Args:
        torch: What it says of itself; None where it cannot be imported.
    """
    if torch is None:
        return [
            Finding(
                topic="devices", name="gpu", status="missing", value="not looked up without torch"
            )
        ]
    threads = Finding(topic="devices", name="threads", value=f"{torch['threads']} of torch")
    gpus = cast("list[tuple[str, int]]", torch["cuda"])
    found = [
        Finding(
            topic="devices",
            name=f"cuda:{at}",
            value=f"{name}, {memory / 2**30:.1f} GiB, bfloat16 {'yes' if torch['bf16'] else 'no'}",
        )
        for at, (name, memory) in enumerate(gpus)
    ]
    if torch["mps"]:
        found.append(Finding(topic="devices", name="mps", value="torch has it; not tested here"))
    return [threads, *(found or [Finding(topic="devices", name="gpu", value="none")])]


def folders() -> list[Finding]:
    """Report each folder that the commands write to: whether they can, and how much is free."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()
    data = Path(os.environ.get("HF_DATASETS_CACHE", home / "datasets")).expanduser()
    return [
        _folder("working directory", Path.cwd(), advice="give --out"),
        _folder("temporary files", Path(_temporary()), advice="set TMPDIR", needed=True),
        _folder("converted models", cache_directory(), advice="set XDG_CACHE_HOME"),
        _folder("hub models", hub, advice="set HF_HOME"),
        _folder("hub data sets", data, advice="set HF_HOME"),
    ]


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        # Python found no folder that it could write to.
        return os.environ.get("TMPDIR", "/tmp")


def _folder(name: str, path: Path, *, advice: str, needed: bool = False) -> Finding:
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return Finding(
            topic="folders",
            name=name,
            status="broken" if needed else "missing",
            value=f"{str(path)!r} cannot be written",
            advice=f"{advice}, or change its permissions",
        )
    free = f"{shutil.disk_usage(place).free / 2**30:.1f} GiB free"
    made = "" if place == path else ", made when it is needed"
    return Finding(topic="folders", name=name, value=f"{str(path)!r}, {free}{made}")


def settings() -> list[Finding]:
    """Report the environment variables that change what commands do."""
    shown = [
        Finding(topic="settings", name=name, value=repr(os.environ[name]))
        for name in SETTINGS
        if name in os.environ
    ]
    hidden = [
        Finding(topic="settings", name=name, value="set; its value is not shown")
        for name in SECRETS
        if name in os.environ
    ]
    return shown + hidden


def system() -> list[Finding]:
    """Report Python, the platform and the programs that are used."""
    found = [
        Finding(
            topic="system",
            name="python",
            status="ok" if sys.version_info >= (3, 11) else "broken",
            value=f"{platform.python_version()} at {sys.executable!r}",
            advice="" if sys.version_info >= (3, 11) else "use Python 3.11 or later",
        ),
        Finding(topic="system", name="platform", value=platform.platform()),
    ]
    has_git = shutil.which("git") is not None
    found.append(
        Finding(
            topic="system",
            name="git",
            status="ok" if has_git else "missing",
            value="runs record their commit" if has_git else "runs record no commit",
            advice="" if has_git else "install git",
        )
    )
    return found
