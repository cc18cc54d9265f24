"""A small share of `python -m benchmarks.security.fuzz`, and values from scratch."""

import json
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.security.fuzz import Target, damaged, fault_in, fault_of, fuzz, targets
from reason_env.errors import ConfigError, UnknownNameError
from reason_env.state import read_template

NAMES = (
    "state", "reset", "snapshot", "served", "spec", "config", "comparison", "template",
    "rows.jsonl", "rows.json", "rows.csv", "responses", "cached evaluation", "run metrics",
    "run config", "run provenance", "run episodes",
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(("format", "kind", "problem", "response", "id", "a", "prompt"))
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    logging.disable(logging.CRITICAL)
    yield {one.name: one for one in targets(tmp_path_factory.mktemp("fuzz"))}
    logging.disable(logging.NOTSET)


def test_there_is_a_reader_of_every_kind_of_file(readers):
    assert tuple(readers) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_damaged_texts_are_read_or_refused_in_one_line(readers, name):
    count = 30 if name.startswith("run") else 150
    faults = [found for seed in range(count) if (found := fault_of(readers[name], seed))]
    assert faults == []


@pytest.mark.parametrize("name", NAMES[:10])
@given(value=JSON)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_read_or_refused_in_one_line(readers, name, value):
    assert fault_in(readers[name], json.dumps(value)) is None


def test_a_reader_that_raises_anything_else_is_found_with_its_seed_and_place():
    def careless(text):
        return json.loads(text)["a"]

    def of_lines(text):
        raise ConfigError("two\nlines")

    target = Target("careless", ('{"a": 1}',), careless)
    counts, faults = fuzz((target,), inputs=500, seconds=10.0, seed=7)
    assert counts == {"careless": 500}
    kinds = {fault.error.partition(":")[0] for fault in faults}
    assert kinds & {"JSONDecodeError", "KeyError", "TypeError"}
    assert all(damaged(target, fault.seed) == fault.text for fault in faults)
    assert all(".py:" in fault.error for fault in faults)
    found = fault_of(Target("lines", ("{}",), of_lines), 0)
    assert found is not None
    assert found.error == "several lines: two\nlines"


def test_equal_seeds_damage_a_text_alike_and_other_seeds_otherwise():
    target = Target("x", ('{"a": [1, 2, {"b": "c"}]}', '{"d": 1}'), json.loads)
    texts = [damaged(target, seed) for seed in range(300)]
    assert texts == [damaged(target, seed) for seed in range(300)]
    assert len(set(texts)) > 200


@pytest.mark.parametrize("text", ["[" * 300, "x" * 5000, "a\0b", "/".join("ab" * 2000)])
def test_a_text_that_can_name_no_file_is_no_template(text):
    with pytest.raises(UnknownNameError, match="no template"):
        read_template(text)
