import pytest

from reason_env.env import ReasonEnv
from reason_env.errors import ConfigError
from reason_env.problem import Problem, ProblemSet
from reason_env.wrappers.hint import Hint

TOY = ProblemSet(
    "toy",
    (
        Problem(problem_id="toy/train/0", question="?", answer="47", solution=("a", "b", "c")),
        Problem(problem_id="toy/train/1", question="!", answer="8"),
    ),
)
TO_0, TO_1 = {"problem": "toy/train/0"}, {"problem": "toy/train/1"}


def toy_env(**changes) -> ReasonEnv:
    return ReasonEnv(TOY, **({"max_tokens": 400, "max_prompt_tokens": 64} | changes))


def shown(env, options=TO_0) -> str:
    obs, info = env.reset(options=options)
    assert obs == env.unwrapped.state.problem.question + "\n" + info["privileged_context"] + ">"
    return info["privileged_context"]


def answer(env, text: str, options=TO_0) -> None:
    env.reset(options=options)
    env.step(f"#### {text}\n")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "Answer: 47\n"),
        ({"kind": "answer", "strength": 0.5}, "Answer: 4\n"),
        ({"kind": "partial_solution"}, "Begin:\na\nb\nc\n"),
        ({"kind": "partial_solution", "strength": 0.5}, "Begin:\na\nb\n"),
        ({"kind": "next_step"}, "a\n"),
        ({"kind": "text", "text": "think"}, "think\n"),
        ({"kind": "mistakes"}, ""),
    ],
)
def test_each_kind_of_hint_shows_its_text(settings, text):
    assert shown(Hint(toy_env(), **settings)) == text


def test_a_problem_without_a_solution_shows_no_steps():
    assert shown(Hint(toy_env(), "partial_solution"), TO_1) == ""
    assert shown(Hint(toy_env(), "next_step"), TO_1) == ""


def test_mistakes_are_the_wrong_answers_to_this_problem_with_the_newest_last():
    env = Hint(toy_env(), "mistakes")
    for text in ("3", "5", "47", "3"):
        answer(env, text)
    answer(env, "9", TO_1)
    assert shown(env) == "Not: 5, 3\n"
    assert shown(env, TO_1) == "Not: 9\n"


def test_mistakes_are_bounded_in_number():
    env = Hint(toy_env(max_prompt_tokens=200), "mistakes")
    for number in range(20):
        answer(env, str(number))
    assert shown(env) == "Not: 12, 13, 14, 15, 16, 17, 18, 19\n"


def test_mistakes_that_do_not_fit_the_prompt_are_left_out_the_oldest_first():
    env = Hint(toy_env(), "mistakes")
    for digit in "123":
        answer(env, digit * 30)
    # Two of them and the rest of the prompt: 2 + 5 + 30 + 2 + 30 + 1 + 1 = 71 of 64 tokens.
    assert shown(env) == "Not: " + "3" * 30 + "\n"
    env = Hint(toy_env(max_prompt_tokens=40), "mistakes")
    answer(env, "1" * 60)
    assert shown(env) == ""


def test_the_after_failure_trigger_hints_only_on_the_failed_problem_until_a_success():
    env = Hint(toy_env(), "answer", trigger="after_failure")
    assert shown(env) == ""
    answer(env, "3")
    assert shown(env) == "Answer: 47\n"
    assert shown(env, TO_1) == ""
    # An episode that is left changes nothing; a success takes the help away.
    assert shown(env) == "Answer: 47\n"
    answer(env, "47")
    assert shown(env) == ""


def test_a_truncated_episode_is_a_failure():
    env = Hint(toy_env(max_tokens=5), "answer", trigger="after_failure")
    env.reset(options=TO_0)
    assert env.step("too long")[3]
    assert shown(env) == "Answer: 47\n"


def test_a_failed_verifier_is_no_failure_and_no_mistake():
    from reason_env.verdict import Outcome, Verdict

    env = Hint(toy_env(), "answer", trigger="after_failure")
    inner = env.unwrapped
    inner._grade = lambda text, reference: Verdict(Outcome.ERROR, "3")
    answer(env, "3")
    assert shown(env) == ""
    assert env.memory()["mistakes"] == {}


def test_a_number_as_trigger_is_the_probability_of_a_hint():
    env = Hint(toy_env(), "answer", trigger=0.25)
    helped = sum(env.reset(seed=seed)[1]["privileged_context"] != "" for seed in range(400))
    # Standard deviation: sqrt(400 * 3/16) = 8.7.
    assert abs(helped - 100) < 4 * 8.7


def test_the_reward_and_the_response_do_not_change():
    env = Hint(toy_env(), "answer")
    env.reset(options=TO_0)
    obs, reward, terminated, _, info = env.step("#### 47\n")
    assert (reward, terminated, info["num_tokens"]) == (1.0, True, 8)
    assert obs == "?\nAnswer: 47\n>#### 47\n"
    assert env.unwrapped.state.without_guidance().text == "#### 47\n"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "anwser"}, "kind must be one of answer, .*got 'anwser'; did you mean 'answer'"),
        ({"kind": "text"}, "text must be given for kind 'text' and for no other, got kind 'text'"),
        ({"kind": "answer", "text": "x"}, "text must be given for kind 'text' and for no other"),
        ({"trigger": "sometimes"}, "trigger must be 'always', 'after_failure' or a probability"),
        ({"trigger": "after_failur"}, "did you mean 'after_failure'"),
        ({"trigger": 1.25}, r"trigger must lie in 0\.\.1, got 1\.25"),
        ({"strength": -0.5}, r"strength must lie in 0\.\.1, got -0\.5"),
        ({"strength": True}, r"strength must be a number in 0\.\.1, got True"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_at_construction(settings, message):
    with pytest.raises(ConfigError, match=message):
        Hint(toy_env(), **settings)
