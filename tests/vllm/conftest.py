"""Tests of the real vLLM, which needs a separate environment: `make test-vllm`."""

from importlib.util import find_spec

import pytest


def pytest_collection_modifyitems(items):
    if find_spec("vllm") is not None:
        return
    skip = pytest.mark.skip(reason="vLLM is not in this environment: make test-vllm")
    for item in items:
        if item.get_closest_marker("vllm") is not None:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def own_address(monkeypatch):
    """vLLM asks a socket to a public address what this machine's own is, unless it is told."""
    monkeypatch.setenv("VLLM_HOST_IP", "127.0.0.1")
