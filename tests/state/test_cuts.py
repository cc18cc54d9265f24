from collections import Counter

import numpy as np
import pytest

from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError, StateError
from reason_env.problem import Problem
from reason_env.state import (
    Guidance,
    ReasonState,
    answer_guidance,
    checked_fraction,
    checker_cut,
    entropy_cut,
    last_cut,
    mistakes_guidance,
    next_step_guidance,
    num_shortened,
    partial_solution_guidance,
    solution_guidance,
    steps_of_fraction,
    text_guidance,
    uniform_cut,
    with_reference_prefix,
    with_response_of,
)
from reason_env.state.cuts import reference_tokens, step_bounds

CODEC = ByteCodec()
PROBLEM = Problem(
    problem_id="toy/train/0", question="?", answer="25", solution=("2*3=6", "6*4=24", "24+1=25")
)
EMPTY = ReasonState(problem=PROBLEM, codec=CODEC)


def chain(text: str, *, ends=False) -> ReasonState:
    return EMPTY.extend((*CODEC.encode(text), *([CODEC.eos_id] if ends else [])))


def test_a_uniform_cut_keeps_each_number_of_steps_but_all_of_them_equally_often():
    rng = np.random.default_rng(0)
    counts = Counter(uniform_cut(chain("a\nb\nc\nd"), rng) for _ in range(4000))
    assert sorted(counts) == [0, 1, 2, 3]
    # Standard deviation of each count: sqrt(4000 * 3/16) = 27.4.
    assert all(abs(count - 1000) < 4 * 27.4 for count in counts.values())


@pytest.mark.parametrize(
    ("text", "most"), [("", 0), ("a", 0), ("a\n", 0), ("a\nb", 1), ("a\nb\n", 1)]
)
def test_a_cut_keeps_at_most_all_steps_but_the_last(text, most):
    assert last_cut(chain(text)) == last_cut(chain(text, ends=True)) == most
    assert {uniform_cut(chain(text), np.random.default_rng(seed)) for seed in range(30)} == set(
        range(most + 1)
    )


@pytest.mark.parametrize(("wrong", "kept"), [(1, 0), (2, 1), (4, 3), (5, 3), (None, 3)])
def test_a_checker_cut_keeps_what_precedes_the_first_wrong_step(wrong, kept):
    assert checker_cut(chain("a\nb\nc\nd"), lambda problem, steps: wrong) == kept


def test_the_checker_sees_the_problem_and_the_steps():
    seen = []
    checker_cut(chain("a\nb"), lambda problem, steps: seen.append((problem, tuple(steps))))
    assert seen == [(PROBLEM, ("a\n", "b"))]


def test_an_entropy_cut_keeps_what_precedes_the_least_certain_step():
    # Steps "ab\n", "c\n", "d": means 3/3 = 1, 2.2/2 = 1.1, 0.5. The largest sum is the first's.
    assert entropy_cut(chain("ab\nc\nd"), [1, 1, 1, 2, 0.2, 0.5]) == 1
    assert entropy_cut(chain("ab\nc\nd"), [0, 0, 0, 0, 0, 9]) == 2
    # The end token belongs to no step.
    assert entropy_cut(chain("a\nb", ends=True), [1, 1, 0, 99]) == 0
    assert entropy_cut(EMPTY, []) == 0


def test_entropies_are_one_a_token():
    with pytest.raises(StateError, match="entropies must be one number per token, got 2 for 3"):
        entropy_cut(chain("abc"), [1.0, 2.0])


def test_the_bounds_of_steps_are_token_indices():
    assert step_bounds(chain("ab\nc\nd", ends=True)) == (0, 3, 5, 6)
    assert step_bounds(EMPTY) == (0,)


def test_taking_another_chain_s_response_keeps_the_state_s_own_guidance():
    own = EMPTY.with_guidance(Guidance("text", ("mine",))).extend(CODEC.encode("dropped"))
    other = chain("a\nb\nc").with_guidance(Guidance("answer", ("25",)))
    moved = with_response_of(own, other, 2)
    assert moved.text == "a\nb\n"
    assert moved.guidance == (Guidance("text", ("mine",)),)
    assert set(moved.sources) == {"reset"}


def test_reference_tokens_are_whole_steps():
    assert CODEC.decode(reference_tokens(EMPTY, 2)) == "2*3=6\n6*4=24\n"
    assert reference_tokens(EMPTY, 0) == ()
    assert CODEC.decode(reference_tokens(EMPTY, 9)) == "2*3=6\n6*4=24\n24+1=25\n"


def test_a_delimiter_in_the_solution_is_not_doubled():
    problem = Problem(problem_id="t/t/0", question="?", answer="1", solution=("a\n", "b"))
    assert CODEC.decode(reference_tokens(ReasonState(problem=problem, codec=CODEC), 2)) == "a\nb\n"


@pytest.mark.parametrize(
    ("response", "after"),
    [
        ("", "2*3=6\n6*4=24\n"),
        ("2*3=6\n", "2*3=6\n6*4=24\n"),
        ("2*", "2*3=6\n6*4=24\n"),
        ("2*3=7\n", "2*3=7\n"),
        ("2*3=6\n6*4=24\nx", "2*3=6\n6*4=24\nx"),
    ],
)
def test_a_reference_prefix_extends_a_response_only_if_it_starts_the_solution(response, after):
    begun = EMPTY.extend(CODEC.encode(response))
    moved = with_reference_prefix(begun, 2)
    assert moved.text == after
    added = len(after) - len(response)
    assert moved.sources == ("policy",) * len(response) + ("reference",) * added
    assert (moved is begun) == (added == 0)


def test_a_fraction_of_steps_is_rounded_to_the_nearest_halves_up():
    assert [steps_of_fraction(0.35, 10), steps_of_fraction(0.349, 10)] == [4, 3]
    # 0.58 * 25 is 14.499999999999998 in floating point.
    assert steps_of_fraction(0.58, 25) == 15
    assert [steps_of_fraction(0.5, 3), steps_of_fraction(0.5, 1), steps_of_fraction(1.0, 7)] == [
        2,
        1,
        7,
    ]


@pytest.mark.parametrize("value", [-0.001, 1.001, float("nan"), float("inf")])
def test_a_fraction_outside_0_to_1_is_refused(value):
    with pytest.raises(ConfigError, match=r"share must lie in 0\.\.1, got .*; it is a share, not"):
        checked_fraction(value, "share")


@pytest.mark.parametrize("value", [True, "0.5", None])
def test_a_fraction_that_is_no_number_is_refused(value):
    with pytest.raises(ConfigError, match=r"share must be a number in 0\.\.1, got "):
        checked_fraction(value, "share")


def test_strength_is_the_share_of_the_steps_rounded_up():
    shown = [
        partial_solution_guidance(PROBLEM, strength) for strength in (0.0, 0.01, 0.34, 2 / 3, 1.0)
    ]
    assert [() if piece is None else piece.pieces for piece in shown] == [
        (),
        ("2*3=6\n",),
        ("2*3=6\n", "6*4=24\n"),
        ("2*3=6\n", "6*4=24\n"),
        ("2*3=6\n", "6*4=24\n", "24+1=25\n"),
    ]


def test_strength_is_the_share_of_characters_of_answers_and_texts_rounded_up():
    assert answer_guidance(PROBLEM) == Guidance("answer", ("25",))
    assert answer_guidance(PROBLEM, 0.5) == Guidance("answer", ("2",))
    assert answer_guidance(PROBLEM, 0.0) is None
    # 0.28 * 25 is 7.000000000000001 in floating point.
    assert text_guidance("a" * 25, 0.28) == Guidance("text", ("a" * 7,))
    assert text_guidance("abcd", 0.26) == Guidance("text", ("ab",))


def test_strength_shows_the_newest_mistakes():
    assert mistakes_guidance(["1", "2", "3"], 0.4) == Guidance("mistakes", ("2", "3"))
    assert mistakes_guidance(["1", "2", "3"], 0.0) is None
    assert mistakes_guidance([]) is None


def test_a_mistake_is_shown_once_on_one_line_and_shortened_with_a_mark_if_it_is_long():
    answers = ["4\n2", "4 2", "", "9" * 65, "8" * 64, "9" * 65, "9" * 300]
    guidance = mistakes_guidance(answers)
    # 58 characters and the mark of 6 are 64; both long answers look alike now.
    assert guidance == Guidance("mistakes", ("4 2", "9" * 58 + " [...]", "8" * 64))
    assert num_shortened(answers) == 2
    assert num_shortened(["8" * 64, " " * 70]) == 0
    assert mistakes_guidance(["", " \n"]) is None


def test_the_next_step_is_the_one_after_the_closed_steps():
    assert next_step_guidance(EMPTY) == Guidance("text", ("2*3=6",))
    assert next_step_guidance(chain("x\ny")) == Guidance("text", ("6*4=24",))
    assert next_step_guidance(chain("x\ny\nz\n")) is None


def test_a_solution_without_steps_gives_no_guidance():
    assert solution_guidance(PROBLEM, 0) is None
    bare = Problem(problem_id="t/t/0", question="?", answer="1")
    assert partial_solution_guidance(bare) is None


def test_a_strength_outside_0_to_1_is_refused():
    with pytest.raises(ConfigError, match=r"strength must lie in 0\.\.1, got 1\.5"):
        answer_guidance(PROBLEM, 1.5)
