"""Tests with other people's packages, each in its environment: `make test-interop`, `test-ray`.

`test_x.py` needs the package x, unless its marker names others. Without it a test is skipped; where
the Makefile has made its environment (`NEEDS`) that is an error, or nobody would see it.
"""

import os
from importlib.util import find_spec

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        marker = item.get_closest_marker("interop")
        if marker is None:
            continue
        for package in marker.args or (item.path.stem.removeprefix("test_"),):
            if find_spec(package) is None:
                target = "test-ray" if package == "ray" else "test-interop"
                reason = f"{package} is not in this environment: make {target}"
                if "NEEDS" in os.environ:
                    raise pytest.UsageError(f"the environment of {os.environ['NEEDS']!r}: {reason}")
                item.add_marker(pytest.mark.skip(reason=reason))
