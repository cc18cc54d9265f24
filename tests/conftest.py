import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Small models are fastest on one thread, and several test processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A deadline measures the machine: a busy one would fail a property that holds.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

# No test needs a network. Attempts are refused and recorded, also those of child processes, so that
# one that the code under test survives fails its test too.
GUARD = Path(__file__).parent / "no_network"
RECORD = Path(tempfile.mkdtemp(prefix="reason-env-network-")) / f"{os.getpid()}"
RECORD.touch()
os.environ["REASON_ENV_NETWORK_RECORD"] = str(RECORD)
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(GUARD), os.environ.get("PYTHONPATH")]))
sys.path.append(str(GUARD))
_spec = importlib.util.spec_from_file_location("no_network", GUARD / "sitecustomize.py")
assert _spec is not None
assert _spec.loader is not None
_spec.loader.exec_module(importlib.util.module_from_spec(_spec))


@pytest.fixture(autouse=True)
def no_network() -> Iterator[Path]:
    """Fail a test that tried to connect to another machine; gives the record of attempts."""
    yield RECORD
    attempts = RECORD.read_text(encoding="utf-8")
    RECORD.write_text("", encoding="utf-8")
    assert not attempts, attempts


def pytest_unconfigure() -> None:
    """Remove the record."""
    RECORD.unlink(missing_ok=True)
    RECORD.parent.rmdir()


def pytest_make_parametrize_id(val: Any, argname: str) -> str | None:
    """Name bytes by their argument: two workers must collect the same names.

    Compressed bytes may hold the time of day.
    """
    return argname if isinstance(val, bytes) else None
