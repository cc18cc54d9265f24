"""Tests with other people's packages, in environments of their own: `make test-interop`.

`test_x.py` needs the package x, unless its marker names others.
"""

from importlib.util import find_spec

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        marker = item.get_closest_marker("interop")
        if marker is None:
            continue
        for package in marker.args or (item.path.stem.removeprefix("test_"),):
            if find_spec(package) is None:
                reason = f"{package} is not in this environment: make test-interop"
                item.add_marker(pytest.mark.skip(reason=reason))
