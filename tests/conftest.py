import os
from typing import Any

from hypothesis import settings

# Small models are fastest on one thread, and several test processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A deadline measures the machine: a busy one would fail a property that holds.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")


def pytest_make_parametrize_id(val: Any, argname: str) -> str | None:
    """Name bytes by their argument: two workers must collect the same names.

    Compressed bytes may hold the time of day.
    """
    return argname if isinstance(val, bytes) else None
