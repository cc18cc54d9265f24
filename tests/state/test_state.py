import dataclasses
import json
import subprocess
import sys
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reason_env.codec import ByteCodec
from reason_env.errors import CodecError, ConfigError, StateError
from reason_env.problem import Problem
from reason_env.state import EpisodeRules, Guidance, ReasonState, is_over, is_truncated, transition
from reason_env.state.parts import GUIDANCE_KINDS, SOURCES
from reason_env.verdict import Outcome, Verdict

CODEC = ByteCodec()
EOS = CODEC.eos_id
PROBLEM = Problem(problem_id="toy/train/0", question="12*3=?", answer="36", solution=("12*3=36",))


def state_of(text: str = "", source="policy", codec: ByteCodec = CODEC) -> ReasonState:
    return ReasonState(problem=PROBLEM, codec=codec).extend(codec.encode(text), source)


def exact_grade(response: str, answer: str) -> Verdict:
    """Compares what follows the last "=" as text; no "=", no answer."""
    _, mark, found = response.rpartition("=")
    if not mark:
        return Verdict(Outcome.NO_ANSWER)
    found = found.strip()
    return Verdict(Outcome.CORRECT if found == answer else Outcome.INCORRECT, found, "text")


def step_on(state, action, *, rules=None, close=False, source="policy", **limits) -> ReasonState:
    """Does one transition; an answer is anything after a "!" and is graded after the last "="."""
    tokens = CODEC.encode(action) if isinstance(action, str) else action
    return transition(
        state,
        tokens,
        rules=rules or EpisodeRules(**limits),
        grade=exact_grade,
        has_answer=lambda text: "!" in text,
        close=close,
        source=source,
    )


TEXT = st.text(st.characters(exclude_categories=()), min_size=0, max_size=8).filter(
    lambda text: json.loads(json.dumps(text)) == text
)
GUIDANCES = st.lists(
    st.builds(
        Guidance,
        st.sampled_from(GUIDANCE_KINDS),
        st.lists(TEXT, min_size=1, max_size=3).map(tuple),
    ),
    max_size=3,
).map(tuple)
PARTS = st.lists(
    st.tuples(st.lists(st.integers(0, 257), max_size=6), st.sampled_from(SOURCES)), max_size=5
)
VERDICTS = st.none() | st.builds(Verdict, st.sampled_from(Outcome), st.none() | TEXT, TEXT)


@st.composite
def states(draw) -> ReasonState:
    codec = ByteCodec(draw(st.sampled_from(["\n", "\n\n", ";"])))
    question = draw(TEXT.filter(str.strip))
    problem = Problem(
        problem_id="p/0", question=question, answer="1", solution=("a",), level=draw(st.integers())
    )
    state = ReasonState(problem=problem, codec=codec).with_guidance(*draw(GUIDANCES))
    for tokens, source in draw(PARTS):
        state = state.extend(tokens, source)
    return dataclasses.replace(state, verdict=draw(VERDICTS))


def test_no_field_of_a_state_can_be_changed():
    state = state_of("a")
    for field in dataclasses.fields(ReasonState):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(state, field.name, None)
    with pytest.raises((AttributeError, TypeError)):
        state.colour = "red"


def test_extending_and_cutting_do_not_change_the_original_state():
    state = state_of("ab\ncd")
    before = state.to_json()
    state.extend(CODEC.encode("x\n"), "env")
    state.cut(1)
    state.with_guidance(Guidance("answer", ("36",)))
    assert state.to_json() == before
    assert state.step_ends == (3,)


def test_tokens_keep_the_source_that_wrote_them():
    state = state_of("ab", "reference").extend(CODEC.encode("c"), "reset")
    state = state.extend(CODEC.encode("d")).extend((EOS,), "env")
    assert state.sources == ("reference", "reference", "reset", "policy", "env")
    assert state.response == (97, 98, 99, 100, EOS)
    assert [type(token) for token in state.response] == [int] * 5


def test_steps_are_closed_by_the_delimiter_and_the_last_may_be_open():
    state = state_of("ab\ncd\n").extend(CODEC.encode("e"))
    assert state.steps == ("ab\n", "cd\n", "e")
    assert (state.num_steps, state.step_ends) == (3, (3, 6))
    assert state_of().steps == ()
    assert state_of().num_steps == 0
    assert state_of("\n").steps == ()


def test_white_space_belongs_to_the_step_after_it_and_after_the_last_to_none():
    state = state_of("\n ab\n\ncd\n \n").extend((EOS,))
    assert state.steps == ("\n ab\n", "\ncd\n")
    assert (state.num_steps, state.step_ends) == (2, (5, 9))
    assert state.cut(2).text == "\n ab\n\ncd\n"
    assert state_of("ab\n \n").extend(CODEC.encode("c")).steps == ("ab\n", " \nc")


def test_a_state_that_is_built_from_its_fields_finds_its_steps():
    state = ReasonState(
        problem=PROBLEM, codec=CODEC, response=CODEC.encode("a\nb\nc"), sources=("reset",) * 5
    )
    assert (state.steps, state.step_ends) == (("a\n", "b\n", "c"), (2, 4))
    assert state == state_of("a\nb\nc", "reset")


def test_the_end_token_belongs_to_no_step():
    state = state_of("ab\n").extend((EOS,))
    assert (state.steps, state.num_steps) == (("ab\n",), 1)
    state = state_of("ab\ncd").extend((EOS,))
    assert (state.steps, state.num_steps) == (("ab\n", "cd"), 2)
    assert state.cut(2).response == CODEC.encode("ab\ncd")
    assert state_of().extend((EOS,)).steps == ()
    assert state_of().extend((EOS, EOS)).steps == ()


def test_cut_keeps_the_first_steps_with_their_sources_and_reopens():
    state = state_of("ab\n", "reference").extend(CODEC.encode("cd\ne"), "policy")
    graded = dataclasses.replace(state, verdict=Verdict(Outcome.INCORRECT, "e"))
    cut = graded.cut(2)
    assert (cut.text, cut.verdict, cut.step_ends) == ("ab\ncd\n", None, (3, 6))
    assert cut.sources == ("reference",) * 3 + ("policy",) * 3
    assert graded.cut(2, "reset").sources == ("reset",) * 6
    assert graded.cut(0).response == ()
    assert graded.cut(3).text == "ab\ncd\ne"
    assert graded.cut(1).extend(CODEC.encode("x\n")).steps == ("ab\n", "x\n")


def test_cutting_all_steps_of_a_graded_state_gives_the_state_before_its_end():
    open_state = state_of("7=36")
    ended = step_on(open_state, (EOS,))
    assert ended.verdict is not None
    assert ended.cut(ended.num_steps) == open_state


def test_guidance_accumulates_and_is_removed_as_a_whole():
    first, second = Guidance("mistakes", ("35", "37")), Guidance("answer", ("36",))
    state = state_of("a").with_guidance(first).with_guidance(second)
    assert state.guidance == (first, second)
    assert state.without_guidance() == state_of("a")
    assert state.with_guidance().guidance == (first, second)


def test_characters_of_the_step_before_do_not_complete_a_delimiter():
    state = state_of("a\n\n", codec=ByteCodec("\n\n")).extend(CODEC.encode("\n"))
    assert state.steps == ("a\n\n",)
    assert state.extend(CODEC.encode("b\n\n")).steps == ("a\n\n", "\nb\n\n")
    assert state_of("aa", codec=ByteCodec("aa")).extend(CODEC.encode("a")).steps == ("aa", "a")


@given(states(), st.data())
@settings(deadline=None)
def test_extending_in_pieces_equals_extending_at_once(state, data):
    tokens = data.draw(st.lists(st.sampled_from([97, 98, 10, 59, EOS, 255]), max_size=12))
    cut = data.draw(st.integers(0, len(tokens)))
    start = dataclasses.replace(state, verdict=None)
    whole, parts = start.extend(tokens), start.extend(tokens[:cut]).extend(tokens[cut:])
    assert whole == parts
    assert whole.step_ends == parts.step_ends
    assert whole.steps == parts.steps


@given(states())
@settings(deadline=None)
def test_every_cut_is_a_prefix_with_that_many_steps(state):
    for step in range(state.num_steps + 1):
        cut = state.cut(step)
        assert cut.steps == state.steps[:step]
        assert cut.response == state.response[: len(cut.response)]
        assert cut.guidance == state.guidance
        assert cut.step_ends == state.step_ends[:step]


@given(states())
@settings(deadline=None)
def test_a_state_round_trips_through_json(state):
    text = state.to_json()
    again = ReasonState.from_json(text, state.codec)
    assert again == state
    assert again.step_ends == state.step_ends
    assert again.steps == state.steps
    assert hash(again) == hash(state)
    assert again.to_json() == text
    assert text.isascii()


@given(states(), states())
@settings(deadline=None)
def test_states_are_equal_exactly_when_their_ids_are(first, second):
    assert (first == second) == (first.state_id == second.state_id)
    assert len(first.state_id) == 32


def test_every_part_of_a_state_changes_its_id():
    state = state_of("ab\n")
    verdict = Verdict(Outcome.CORRECT, "36", "r")
    others = [
        state,
        state_of("ab\n", "reset"),
        state_of("ac\n"),
        state_of("ab\n", codec=ByteCodec(";")),
        state.with_guidance(Guidance("answer", ("36",))),
        state.with_guidance(Guidance("text", ("36",))),
        state.with_guidance(Guidance("text", ("3", "6"))),
        dataclasses.replace(state, verdict=verdict),
        dataclasses.replace(state, verdict=dataclasses.replace(verdict, extracted="37")),
        dataclasses.replace(state, verdict=dataclasses.replace(verdict, extracted=None)),
        dataclasses.replace(state, verdict=dataclasses.replace(verdict, reason="s")),
        dataclasses.replace(state, verdict=dataclasses.replace(verdict, outcome=Outcome.ERROR)),
        dataclasses.replace(state, problem=dataclasses.replace(PROBLEM, answer="37")),
    ]
    assert len({one.state_id for one in others}) == len(others)
    assert all(first != second for first, second in combinations(others, 2))
    assert state != "ab\n"


def test_surrogate_pairs_in_verdicts_and_guidance_survive_json_as_one_character():
    state = state_of("a").with_guidance(Guidance("mistakes", ("\ud83d\ude00", "\ud83d")))
    state = dataclasses.replace(state, verdict=Verdict(Outcome.INCORRECT, "\ud83d\ude00"))
    assert state.guidance[0].pieces == ("\U0001f600", "\ud83d")
    assert ReasonState.from_json(state.to_json()) == state


def test_a_state_has_the_same_id_in_every_process():
    program = (
        "from reason_env import *\n"
        "p = Problem(problem_id='t/0', question='√?', answer='2', solution=('a',))\n"
        "c = ByteCodec()\n"
        "s = ReasonState(problem=p, codec=c).extend(c.encode('a\\n√'), 'reset')\n"
        "s = s.with_guidance(Guidance('mistakes', ('3', '\\ud800')))\n"
        "print(s.state_id, hash(s))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "999")
    }
    problem = Problem(problem_id="t/0", question="√?", answer="2", solution=("a",))
    state = ReasonState(problem=problem, codec=CODEC).extend(CODEC.encode("a\n√"), "reset")
    state = state.with_guidance(Guidance("mistakes", ("3", "\ud800")))
    assert found == {f"{state.state_id} {hash(state)}\n"}


def changed(**changes) -> str:
    graded = dataclasses.replace(state_of("ab\n"), verdict=Verdict(Outcome.CORRECT, "36", "r"))
    data = graded.with_guidance(Guidance("answer", ("36",))).to_dict()
    return json.dumps(data | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"^a state must be JSON as to_json\(\) writes it, got ''"),
        ("{", r"^a state must be JSON as to_json\(\) writes it, got '\{'"),
        ("[" * 100_000, r"^a state must be JSON as to_json\(\) writes it, got '\[\["),
        ("9" * 5000, r"^a state must be JSON as to_json\(\) writes it, got '999"),
        (None, r"^a state must be JSON as to_json\(\) writes it, got None"),
        ("[]", r"^a state must be a dict as to_dict\(\) writes it, got \[\]; TypeError"),
        ("null", r"^a state must be a dict as to_dict\(\) writes it, got None; TypeError"),
        ("{}", r"^a state must be a dict as to_dict\(\) writes it, got \{\}; KeyError: 'format'"),
        (changed(format=2), r"^state format must be 1, got 2; write the state again"),
        (changed(codec_id="hf-7"), r"^state must be of codec \"bytes-'\\\\n'\", got 'hf-7'; pass"),
        (changed(response=[97, 98, 300]), r"; CodecError: token ids must lie in 0\.\.257, got 300"),
        (changed(response=[97, 98, "10"]), r"; CodecError: token ids must be integers"),
        (changed(response=[97, 98, 10.0]), r"; CodecError: token ids must be integers"),
        (changed(response=None), r"; CodecError: token ids must be integers, got None"),
        (changed(sources=[["poet", 3]]), r"^sources must be among policy, reference, reset, env"),
        (changed(sources=[["policy", 2]]), r"^source runs must add up to the 3 tokens, got "),
        (changed(sources=[["policy", 10**15]]), r"^source runs must add up to the 3 tokens"),
        (changed(sources=[["policy", 4], ["env", -1]]), r"^source runs must add up to the 3 to"),
        (changed(sources=[["policy", 3], ["env", 0]]), r"^source runs must add up to the 3 to"),
        (changed(sources=[["policy", 3.0]]), r"; TypeError: "),
        (changed(sources=[["policy"]]), r"; ValueError: "),
        (changed(guidance=[["gossip", ["a"]]]), r"^guidance kind must be one of answer, mistakes"),
        (
            changed(guidance=[["text", "abc"]]),
            r"^guidance pieces must be a list of texts, got 'abc'",
        ),
        (changed(guidance=[["text", [1]]]), r"^guidance pieces must be a non-empty tuple of texts"),
        (changed(guidance=[["text", []]]), r"^guidance pieces must be a non-empty tuple of texts"),
        (changed(verdict=["fine", None, ""]), r"; ValueError: 'fine' is not a valid Outcome$"),
        (changed(verdict=["correct", 5, ""]), r"; AttributeError: "),
        (changed(verdict=[]), r"; IndexError: "),
        (changed(verdict={}), r"; KeyError: 0$"),
        (changed(problem={}), r"; ProblemError: a problem must be a dict as to_dict\(\) writes it"),
        (changed(problem=[1]), r"; ProblemError: a problem must be a dict as to_dict\(\) writes"),
    ],
)
def test_malformed_json_of_a_state_is_refused(text, message):
    with pytest.raises(StateError, match=message):
        ReasonState.from_json(text)


def test_a_state_of_another_codec_needs_that_codec():
    state = state_of("a;b", codec=ByteCodec(";"))
    assert ReasonState.from_json(state.to_json(), ByteCodec(";")).steps == ("a;", "b")
    with pytest.raises(StateError, match="pass the codec that it was written with"):
        ReasonState.from_json(state.to_json())


def test_a_graded_state_cannot_be_extended():
    graded = dataclasses.replace(state_of("a"), verdict=Verdict(Outcome.TIMEOUT))
    message = r"^a graded state must not be extended, got verdict timeout; cut\(\) it first$"
    with pytest.raises(StateError, match=message):
        graded.extend((97,))


def test_an_unknown_source_is_refused():
    message = r"^source must be one of policy, reference, reset, env, got 'poet'$"
    with pytest.raises(StateError, match=message):
        state_of("a").extend((97,), "poet")
    with pytest.raises(StateError, match=message):
        state_of("a").cut(1, "poet")


def test_ids_outside_the_vocabulary_are_refused_by_extend_and_transition():
    for act in (state_of("a").extend, lambda ids: step_on(state_of("a"), ids)):
        with pytest.raises(CodecError, match=r"^token ids must lie in 0\.\.257, got 258; "):
            act((97, 258))
        with pytest.raises(CodecError, match=r"^token ids must be integers, got "):
            act((97.5,))


@pytest.mark.parametrize("step", [-1, 3])
def test_a_cut_outside_the_steps_is_refused(step):
    message = rf"^step must lie in 0\.\.2, got {step}; the response has 2 steps$"
    with pytest.raises(StateError, match=message):
        state_of("a\nb").cut(step)


def test_a_state_needs_one_source_per_token():
    message = r"^sources must name one writer per token, got 1 for 2 tokens; build states with ext"
    with pytest.raises(StateError, match=message):
        ReasonState(problem=PROBLEM, codec=CODEC, response=(97, 98), sources=("policy",))


@pytest.mark.parametrize("pieces", ["36", (), ["36"], (36,), None, ("a", None)])
def test_guidance_needs_a_tuple_of_texts(pieces):
    message = r"^guidance pieces must be a non-empty tuple of texts, got .*; wrap a single text as"
    with pytest.raises(StateError, match=message):
        Guidance("answer", pieces)


def test_an_unknown_kind_of_guidance_is_refused():
    with pytest.raises(StateError, match=r"^guidance kind must be one of .*, got 'gossip'; use 't"):
        Guidance("gossip", ("a",))


@pytest.mark.parametrize("name", ["max_tokens", "max_steps"])
def test_a_budget_of_zero_is_refused(name):
    with pytest.raises(ConfigError, match=rf"^{name} must be at least 1, got 0; raise the budget$"):
        EpisodeRules(**{name: 0})
    with pytest.raises(ConfigError, match=rf"^{name} must be at least 1, got '5'; raise"):
        EpisodeRules(**{name: "5"})
    assert getattr(EpisodeRules(**{name: 1}), name) == 1


def test_an_open_step_leaves_the_episode_open():
    state = step_on(state_of(), "12*3=")
    assert (state.text, state.verdict, is_over(state, EpisodeRules())) == ("12*3=", None, False)
    assert state.sources == ("policy",) * 5


def test_no_tokens_without_close_change_nothing():
    assert step_on(state_of("ab\n"), ()) == state_of("ab\n")


def test_the_end_token_grades_the_whole_response_and_drops_later_tokens():
    state = step_on(state_of("12*3"), (*CODEC.encode("=36"), EOS, *CODEC.encode("=37"), EOS))
    assert state.response == (*CODEC.encode("12*3=36"), EOS)
    assert state.verdict == Verdict(Outcome.CORRECT, "36", "text")
    assert step_on(state_of("12*3=3"), (EOS,)).verdict.outcome is Outcome.INCORRECT
    assert step_on(state_of("12"), (EOS,)).verdict.outcome is Outcome.NO_ANSWER


def test_the_first_closed_step_with_an_answer_ends_the_episode_and_drops_later_tokens():
    state = step_on(state_of("a\n"), "b\n!=36\n!=37\nc")
    assert state.text == "a\nb\n!=36\n"
    assert state.verdict == Verdict(Outcome.CORRECT, "36", "text")
    assert len(state.sources) == len(state.response)
    assert state.step_ends == (2, 4, 9)
    prefixed = step_on(state_of("a\n", "reference"), "!=36\nc", source="reset")
    assert prefixed.sources == ("reference",) * 2 + ("reset",) * 5


def test_an_answer_in_an_open_step_does_not_end_the_episode():
    state = step_on(state_of(), "a\n!=36")
    assert state.verdict is None
    assert step_on(state, "\n").verdict.is_correct


def test_an_answer_in_the_start_prefix_ends_the_episode_at_the_next_closed_step():
    state = step_on(state_of("!=36\n", "reference"), "on")
    assert state.verdict is None
    assert step_on(state, "e\nmore\n").text == "!=36\none\n"


def test_without_stop_at_answer_only_the_end_token_grades_the_response():
    state = step_on(state_of(), "!=35\n!=36\n", stop_at_answer=False)
    assert state.verdict is None
    assert step_on(state, (EOS,), stop_at_answer=False).verdict.is_correct


def test_the_grader_gets_the_text_and_the_reference_once_and_only_at_the_end():
    calls = []

    def note(response, answer):
        calls.append((response, answer))
        return Verdict(Outcome.INCORRECT)

    state = state_of("a\n")
    for action in (CODEC.encode("b\n"), CODEC.encode("!7\n")):
        state = transition(
            state,
            action,
            rules=EpisodeRules(),
            grade=note,
            has_answer=lambda text: "!" in text,
        )
    assert calls == [("a\nb\n!7\n", "36")]


def test_the_token_budget_truncates_exactly_when_it_is_used_up():
    state = step_on(state_of(), "12*3", max_tokens=5)
    assert not is_truncated(state, EpisodeRules(max_tokens=5))
    state = step_on(state, "=36", max_tokens=5)
    assert state.text == "12*3="
    assert state.verdict is None
    assert is_truncated(state, EpisodeRules(max_tokens=5))
    assert is_over(state, EpisodeRules(max_tokens=5))


def test_the_end_token_as_the_last_allowed_token_terminates_and_does_not_truncate():
    state = step_on(state_of(), (*CODEC.encode("7=36"), EOS), max_tokens=5)
    assert state.verdict.is_correct
    assert not is_truncated(state, EpisodeRules(max_tokens=5))
    beyond = step_on(state_of(), (*CODEC.encode("17=36"), EOS), max_tokens=5)
    assert (beyond.text, beyond.verdict) == ("17=36", None)
    assert is_truncated(beyond, EpisodeRules(max_tokens=5))


def test_an_answer_closed_by_the_last_allowed_token_terminates_and_does_not_truncate():
    state = step_on(state_of(), "!=36\n", max_tokens=5)
    assert state.verdict.is_correct
    assert step_on(state_of(), "a!=36\n", max_tokens=5).verdict is None
    state = step_on(state_of(), "a\n!=36\n", max_steps=2)
    assert state.verdict.is_correct
    assert not is_truncated(state, EpisodeRules(max_steps=2))


def test_the_step_budget_truncates_at_the_boundary_and_leaves_out_the_rest():
    state = step_on(state_of(), "a\nb\n!=36\n", max_steps=2)
    assert (state.text, state.verdict) == ("a\nb\n", None)
    assert is_truncated(state, EpisodeRules(max_steps=2))
    open_step = step_on(state_of(), "a\nb", max_steps=2)
    assert not is_truncated(open_step, EpisodeRules(max_steps=2))


def test_the_end_token_after_the_last_allowed_step_is_dropped_and_not_graded():
    state = step_on(state_of(), (*CODEC.encode("=36\n"), EOS), max_steps=1)
    assert (state.text, state.verdict) == ("=36\n", None)
    early = step_on(state_of(), (*CODEC.encode("=36"), EOS), max_steps=1)
    assert early.verdict.is_correct


def test_a_prefix_counts_in_both_budgets():
    prefix = state_of("ab\n", "reference")
    state = step_on(prefix, "cdef", max_tokens=5)
    assert state.text == "ab\ncd"
    assert is_truncated(state, EpisodeRules(max_tokens=5))
    assert is_truncated(step_on(prefix, "c\nd\n", max_steps=2), EpisodeRules(max_steps=2))
    assert step_on(prefix, "c\nd\n", max_steps=2).text == "ab\nc\n"


def test_close_ends_the_response_as_the_end_token_would_but_marks_it_as_the_environments():
    closed = step_on(state_of("1"), "2=36", close=True)
    said = step_on(state_of("1"), (*CODEC.encode("2=36"), EOS))
    assert closed.verdict == said.verdict == Verdict(Outcome.CORRECT, "36", "text")
    assert closed.response == said.response
    assert (closed.sources[-1], said.sources[-1]) == ("env", "policy")
    assert step_on(state_of("7=36"), (), close=True).verdict.is_correct


def test_close_adds_nothing_to_an_episode_that_has_already_ended():
    ended = step_on(state_of(), "!=36\nx", close=True)
    assert ended.text == "!=36\n"
    assert EOS not in ended.response
    said = step_on(state_of(), (*CODEC.encode("=36"), EOS), close=True)
    assert said.response.count(EOS) == 1
    used_up = step_on(state_of(), "7=36", max_tokens=4, close=True)
    assert used_up.verdict is None
    assert is_truncated(used_up, EpisodeRules(max_tokens=4))
    too_many = step_on(state_of(), "=36\n", max_steps=1, close=True)
    assert too_many.verdict is None


def test_close_may_use_the_last_allowed_token():
    state = step_on(state_of(), "7=36", max_tokens=5, close=True)
    assert state.verdict.is_correct
    assert len(state.response) == 5


def test_the_source_of_an_action_is_marked():
    assert step_on(state_of("a"), "b", source="reference").sources == ("policy", "reference")


@pytest.mark.parametrize(
    ("state", "limits"),
    [
        (dataclasses.replace(state_of("a"), verdict=Verdict(Outcome.NO_ANSWER)), {}),
        (state_of("abcd"), {"max_tokens": 4}),
        (state_of("abcd"), {"max_tokens": 3}),
        (state_of("a\nb\n"), {"max_steps": 2}),
    ],
)
def test_an_episode_that_is_over_cannot_be_stepped(state, limits):
    with pytest.raises(StateError, match=r"^an episode that is over must not be stepped; reset"):
        step_on(state, "x", **limits)


@given(
    st.lists(st.sampled_from([*b"a=36!\n", 0xE2, 0x88, 256, EOS]), max_size=30),
    st.lists(st.integers(0, 30), max_size=6),
    st.integers(1, 20),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from(["", "a\n", "=3"]),
    st.sampled_from([(), ("36",), ("a\n",), ("6\na", "==")]),
)
@settings(deadline=None, max_examples=300)
def test_the_same_tokens_in_any_pieces_reach_the_same_state(
    tokens, cuts, max_tokens, max_steps, stop_at_answer, prefix, stops
):
    rules = EpisodeRules(
        max_tokens=max_tokens, max_steps=max_steps, stop_at_answer=stop_at_answer, stops=stops
    )
    start = state_of(prefix, "reference")
    if is_over(start, rules):
        return
    whole = step_on(start, tokens, rules=rules)
    parts = start
    bounds = [0, *sorted(min(cut, len(tokens)) for cut in cuts), len(tokens)]
    for a, b in pairwise(bounds):
        if is_over(parts, rules):
            break
        parts = step_on(parts, tokens[a:b], rules=rules)
    assert parts == whole
    assert parts.step_ends == whole.step_ends
    assert len(whole.response) <= max_tokens
    assert len(whole.step_ends) <= max_steps
    assert not (whole.verdict is not None and is_truncated(whole, rules))


@pytest.mark.parametrize(
    ("said", "stops", "text", "extracted"),
    [
        # The stop ends the response when its step closes; what follows it is not graded.
        ("=36\nQ: 4=7\n=8\n", ("Q:",), "=36\nQ: 4=7\n", "36"),
        ("=36 Q: =7\n=8\n", ("Q:",), "=36 Q: =7\n", "36"),
        # The first of several stops counts, whatever their order.
        ("=3 B =6 A =7\n", ("A", "B"), "=3 B =6 A =7\n", "3"),
        # A blank line belongs to the next step; a stop over two steps; only the end follows.
        ("=36\n\nQ=7\n=8\n", ("\n\n",), "=36\n\nQ=7\n", "36"),
        ("=36\nQ=7\n", ("6\nQ",), "=36\nQ=7\n", "3"),
        ("=36\nQ: =7", ("Q:",), "=36\nQ: =7", "36"),
        # No stop, and a stop that is only begun.
        ("=36\nR: =7", ("Q:",), "=36\nR: =7", "7"),
        ("=36\nQ\n: =7", ("Q:",), "=36\nQ\n: =7", "7"),
        ("Q: =36\n", ("Q:",), "Q: =36\n", None),
    ],
)
def test_a_stop_ends_a_response_with_its_step_and_hides_the_rest_from_grading(
    said, stops, text, extracted
):
    rules = EpisodeRules(stops=stops, stop_at_answer=False)
    whole = step_on(state_of(), (*CODEC.encode(said), EOS), rules=rules)
    assert (whole.text, whole.verdict.extracted) == (text, extracted)
    bytewise = state_of()
    for token in (*CODEC.encode(said), EOS):
        if not is_over(bytewise, rules):
            bytewise = step_on(bytewise, (token,), rules=rules)
    assert bytewise == whole


def test_a_stop_in_the_last_allowed_step_or_token_ends_the_response_by_grading():
    for limits in ({"max_steps": 1}, {"max_tokens": 6}):
        ended = step_on(state_of(), "=36 Q\n", stops=("Q",), **limits)
        assert ended.verdict.is_correct
    cut_off = step_on(state_of(), "=36 Q\n", stops=("Q",), max_tokens=5)
    assert cut_off.verdict is None


def test_a_stop_that_a_start_already_holds_ends_the_response_with_the_next_step():
    start = state_of("=36\nQ: =7\n", "reset")
    rules = EpisodeRules(stops=("Q:",), stop_at_answer=False)
    assert not is_over(start, rules)
    assert step_on(start, "=9\n=8\n", rules=rules).verdict.extracted == "36"


@pytest.mark.parametrize("stops", ["Q:", ("",), (3,), None])
def test_stops_that_are_no_texts_are_refused(stops):
    with pytest.raises(ConfigError, match=r"^stops must be non-empty texts, got .*; write them as"):
        EpisodeRules(stops=stops)
