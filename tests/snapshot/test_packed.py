"""The packed form of states is as exact and as strict as the plain one."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reason_env.codec import ByteCodec
from reason_env.errors import CodecError, StateError, UnknownNameError
from reason_env.problem import Problem, ProblemSet
from reason_env.snapshot import pack_state, unpack_state
from reason_env.snapshot.packed import pack_ids, unpack_ids
from reason_env.state import Guidance, ReasonState, expand_sources, source_runs
from reason_env.verdict import Outcome, Verdict

CODEC = ByteCodec()
TOY = ProblemSet(
    "toy",
    (
        Problem(problem_id="t/0", question="?", answer="7"),
        Problem(problem_id="t/1", question="!", answer="8"),
    ),
)
IDS = st.lists(st.integers(0, 257), max_size=12) | st.lists(st.integers(0, 255), max_size=12)
SOURCES = st.sampled_from(["policy", "reference", "reset", "env"])


@given(st.lists(st.integers(0, 2**32 - 1), max_size=9) | IDS)
@settings(deadline=None)
def test_packed_ids_round_trip_through_json(ids):
    text = json.loads(json.dumps(pack_ids(ids)))
    assert text.isascii()
    assert unpack_ids(text, 2**32) == tuple(ids)


@given(st.lists(st.tuples(IDS, SOURCES), max_size=4), st.booleans(), st.integers(0, 1))
@settings(deadline=None)
def test_a_packed_state_round_trips(parts, is_graded, row):
    state = ReasonState(problem=TOY[row], codec=CODEC)
    state = state.with_guidance(Guidance("mistakes", ("1", "√")), Guidance("text", ("so",)))
    for ids, source in parts:
        state = state.extend(ids, source)
    verdict = Verdict(Outcome.INCORRECT, "3", "why") if is_graded else None
    state = ReasonState(
        problem=state.problem, codec=CODEC, guidance=state.guidance, response=state.response,
        sources=state.sources, verdict=verdict,
    )  # fmt: skip
    again = unpack_state(json.loads(json.dumps(pack_state(state))), problems=TOY, codec=CODEC)
    assert again == state
    assert again.step_ends == state.step_ends
    assert again.problem is TOY[row]


@given(st.lists(SOURCES, max_size=12))
def test_source_runs_round_trip(sources):
    runs = source_runs(tuple(sources))
    assert expand_sources(runs, len(sources)) == tuple(sources)
    assert all(first[0] != second[0] for first, second in itertools.pairwise(runs))


def packed(**changes):
    names = ("problem", "ids", "runs", "guidance", "verdict")
    given = {"problem": "t/0", "ids": pack_ids((65, 10)), "runs": [["policy", 2]], "guidance": [],
             "verdict": None} | changes  # fmt: skip
    return [given[name] for name in names]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"problem": "t/9"}, UnknownNameError, "no problem 't/9'"),
        ({"ids": pack_ids((65, 258))}, CodecError, r"must lie in 0\.\.257, got 258"),
        ({"ids": "2QQo="}, ValueError, "ids must begin with 1 or 4, got '2'"),
        ({"ids": "1QQ"}, ValueError, "padding"),
        ({"ids": "4QQo="}, ValueError, "multiple of element size"),
        ({"runs": [["policy", 3]]}, StateError, "must add up to the 2 tokens"),
        ({"runs": [["policy", 2], ["env", 0]]}, StateError, "must add up to the 2 tokens"),
        ({"runs": [["me", 2]]}, StateError, "sources must be among"),
        ({"guidance": [["answer", "7"]]}, StateError, "must be a list of texts, got '7'"),
        ({"verdict": ["right", None, ""]}, ValueError, "'right' is not a valid Outcome"),
    ],
)
def test_a_malformed_packed_state_is_refused(changes, error, message):
    assert unpack_state(packed(), problems=TOY, codec=CODEC).text == "A\n"
    with pytest.raises(error, match=message):
        unpack_state(packed(**changes), problems=TOY, codec=CODEC)


def test_ids_of_a_small_vocabulary_are_checked_too():
    assert unpack_ids(pack_ids((0, 9)), 10) == (0, 9)
    with pytest.raises(CodecError, match=r"must lie in 0\.\.9, got 10"):
        unpack_ids(pack_ids((0, 10)), 10)
