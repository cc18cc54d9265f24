"""The folder of the user's cache, where files that can be made again are kept."""

import os
import sys
from pathlib import Path


def cache_directory() -> Path:
    """Return the user's cache of converted models: XDG_CACHE_HOME's, or the platform's."""
    home = os.environ.get("XDG_CACHE_HOME")
    if home and Path(home).is_absolute():
        base = Path(home)
    else:
        base = Path("~/Library/Caches" if sys.platform == "darwin" else "~/.cache").expanduser()
    return base / "reason-env" / "models"
