"""Guidance that has no room in the prompt is found before anything is sampled."""

import logging
from dataclasses import replace

import pytest

from reason_env.agents.methods import AdaBackConfig, method_config
from reason_env.agents.methods.expo import ExPOConfig
from reason_env.agents.methods.lte import LTEConfig
from reason_env.agents.methods.pope import POPEConfig
from reason_env.agents.train.guidance_budget import check_guidance, problems_with_room
from reason_env.env import ReasonEnv
from reason_env.errors import ProblemError
from reason_env.problem import Problem, ProblemSet

# "Answer: " + answer + "\n": 9 + 3 and 9 + 30 bytes, after a question of 2 bytes and before ">".
SHORT = Problem(problem_id="toy/train/0", question="?", answer="123", solution=("a", "bb", "c"))
LONG = Problem(problem_id="toy/train/1", question="?", answer="4" * 30, solution=("x" * 40,))


def env_of(*problems: Problem, room: int) -> ReasonEnv:
    return ReasonEnv(ProblemSet("toy", problems), max_prompt_tokens=room, max_tokens=20)


def warnings_of(caplog, config, env, context_length=4096) -> list[str]:
    caplog.clear()  # making the environment may say that a solution does not fit a response
    with caplog.at_level(logging.WARNING):
        check_guidance(config, env, context_length)
    return [record.getMessage() for record in caplog.records]


def test_guidance_that_fits_to_the_token_is_silent(caplog):
    assert warnings_of(caplog, ExPOConfig(), env_of(SHORT, LONG, room=42)) == []
    # 42 + 20 tokens of the response.
    assert warnings_of(caplog, ExPOConfig(), env_of(SHORT, LONG, room=99), 62) == []


@pytest.mark.parametrize(("room", "context"), [(41, 4096), (99, 61)])
def test_one_token_less_names_the_problem_and_counts_those_affected(caplog, room, context):
    found = warnings_of(caplog, ExPOConfig(), env_of(SHORT, LONG, room=room), context)
    assert found == [
        "expo's longest guidance must fit into a prompt of 41 tokens, got 42 of 'toy/train/1'; "
        "raise max_prompt_tokens or shorten the guidance "
        "(1 of 2 problems may be sampled without it)"
    ]


def test_a_method_that_can_guide_no_problem_says_so(caplog):
    found = warnings_of(caplog, ExPOConfig(), env_of(SHORT, LONG, room=14))
    assert found[0].endswith("(2 of 2 problems may be sampled without it)")


def test_pope_shows_its_largest_share_and_its_instruction(caplog):
    # Half of three steps is one: "Begin:\na\n", and of one step all of it.
    config = POPEConfig(max_fraction=0.5)
    assert [piece.pieces for piece in config.longest_guidance(SHORT)] == [("a\n",)]
    config = POPEConfig(max_fraction=0.7, instruction="Go.")
    assert [piece.pieces for piece in config.longest_guidance(SHORT)] == [("a\n", "bb\n"), ("Go.",)]
    # "?\n" + "Begin:\n" + 40 + "\n" + "Go.\n" + ">": 55 bytes.
    assert warnings_of(caplog, config, env_of(SHORT, LONG, room=55)) == []
    assert "got 55 of 'toy/train/1'" in warnings_of(caplog, config, env_of(SHORT, LONG, room=54))[0]


def test_lte_shows_as_many_answers_as_its_group(caplog):
    # "?\n" + "Not: " + 3 * 64 + 2 * ", " + "\n" + "Short.\n" + ">": 212 bytes.
    config = LTEConfig(group_size=3, concise="Short.")
    assert warnings_of(caplog, config, env_of(SHORT, LONG, room=212)) == []
    found = warnings_of(caplog, config, env_of(SHORT, LONG, room=211))
    assert found[0].endswith("(2 of 2 problems may be sampled without it)")


@pytest.mark.parametrize(
    "config",
    [
        method_config("grpo"),
        method_config("srpo"),
        ExPOConfig(explanations="expert"),
        POPEConfig(conditioning="response"),
        LTEConfig(extra="unhinted"),
    ],
)
def test_a_method_without_guidance_has_no_budget(caplog, config):
    assert config.longest_guidance(SHORT) == ()
    assert warnings_of(caplog, config, env_of(SHORT, LONG, room=6)) == []


def test_each_method_of_a_composition_is_checked(caplog):
    found = warnings_of(caplog, method_config("lte+expo"), env_of(SHORT, LONG, room=41))
    assert [text.split("'s ")[0] for text in found] == ["lte", "expo"]


def response_env(max_tokens: int, max_steps: int) -> ReasonEnv:
    problems = ProblemSet("toy", (SHORT, replace(LONG, solution=("x",))))
    return ReasonEnv(problems, max_tokens=max_tokens, max_steps=max_steps)


@pytest.mark.parametrize("config", [AdaBackConfig(), method_config("adaback+lte")])
@pytest.mark.parametrize(
    ("limits", "kept"), [((8, 4), [0, 1]), ((7, 64), [1]), ((40, 3), [1]), ((3, 2), [1])]
)
def test_problems_whose_longest_prefix_fills_the_response_are_left_out(
    caplog, config, limits, kept
):
    env = response_env(*limits)  # 7 tokens in 3 steps, and 2 tokens in one
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert problems_with_room(config, env) == [f"toy/train/{number}" for number in kept]
    assert [record.getMessage() for record in caplog.records] == [
        "adaback leaves out 1 of 2 problems without room after the longest prefix in a response of "
        f"at most {limits[0]} tokens and {limits[1]} steps: toy/train/0"
    ] * (len(kept) == 1)


def test_other_methods_leave_out_no_problem_for_its_prefix():
    assert len(problems_with_room(POPEConfig(), response_env(2, 1))) == 2


def test_a_run_without_a_problem_with_room_is_refused():
    with pytest.raises(
        ProblemError,
        match=r"adaback must have problems with room after .* got none in 2; raise max",
    ):
        problems_with_room(AdaBackConfig(), response_env(2, 64))
