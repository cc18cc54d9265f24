"""In training, the starts of a stack are distributed as those of plain resets are."""

from collections import Counter

import gymnasium as gym
import pytest

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.report.data import report_data
from reason_env.agents.rollout import chosen_starts, initial_states
from reason_env.agents.runs import RunDir
from reason_env.agents.train import TrainConfig, build_session, iterate, train
from reason_env.agents.train.collecting import draw_problems
from reason_env.env import WRAPPERS, EnvConfig, chooses_problems
from reason_env.errors import ConfigError
from reason_env.problems import reference_response
from reason_env.snapshot import restore, snapshot
from reason_env.wrappers import (
    Curriculum,
    Hint,
    PrefixRollin,
    RecordEpisodes,
    ResetToState,
    RewardShaping,
    stack_to_json,
)

DRAWS = 4000
TOLERANCE = 0.06
"""Largest total variation between two samples of `DRAWS` starts from one distribution."""
STACKS = {
    "Curriculum": [
        lambda env: Curriculum(env, by="level", measured={"3": 0.99}, floor=0.0, memory=0.99),
        lambda env: Curriculum(env, by="problem", probability=0.8, memory=0.3),
    ],
    "Hint": [
        lambda env: Hint(env, trigger=0.3),
        lambda env: Hint(env, "mistakes", trigger="after_failure"),
    ],
    "PrefixRollin": [
        lambda env: PrefixRollin(env, probability=0.7),
        lambda env: PrefixRollin(env, "trajectory", conditioning="prompt"),
        lambda env: PrefixRollin(env, schedule="binary_search"),
    ],
    "RecordEpisodes": [lambda env: RecordEpisodes(env, "episodes.jsonl")],
    "ResetToState": [
        lambda env: ResetToState(env, keep="failures", probability=0.5),
        lambda env: ResetToState(env, keep="all", pick="any", capacity=3),
    ],
    "RewardShaping": [lambda env: RewardShaping(env, progress=1.0)],
}
ONE_OF_ALL = [(name, at) for name, stacks in STACKS.items() for at in range(len(stacks))]


def bare(**changes):
    arguments = {"problems": "chain", "levels": (3, 6), "size": 4, "max_tokens": 96}
    return gym.make("MathReason-v0", **(arguments | changes))


def session_of(stack, **changes):
    arguments = {
        "method": GRPOConfig(group_size=2),
        "env": EnvConfig(stack=stack_to_json(stack)),
        "eval": EvalConfig(num_problems=1, samples=1, k=1, greedy=False),
        "learner": LearnerConfig(learning_rate=2e-4),
        "problems_per_iteration": 4,
        "iterations": DRAWS,
    }
    return build_session(TrainConfig(**(arguments | changes)))


def fill(env):
    """Play a failure of each problem, and successes, so that the wrappers remember something."""
    inner = env.unwrapped
    for number, problem in enumerate(inner.problems):
        right = reference_response(problem, "\n")
        wrong = right.rsplit("####", 1)[0] + "#### 0\n"
        for text in (wrong, *(right,) * (4 * number)):
            start = inner.initial_state(problem)
            env.reset(options={"state": start})
            env.step(inner.codec.encode(text))


def key(state):
    return state.problem.problem_id, state.response, state.guidance


def trained_starts(session):
    found = []
    while len(found) < DRAWS:
        session.iteration += 1
        found += [key(state) for state in draw_problems(session).states]
    return Counter(found)


def plain_starts(env):
    found = []
    for number in range(DRAWS):
        env.reset(seed=0 if number == 0 else None)
        found.append(key(env.unwrapped.state))
    return Counter(found)


def total_variation(one, other):
    return sum(abs(one[name] - other[name]) for name in {*one, *other}) / (2 * DRAWS)


def test_every_wrapper_for_language_is_tested_here():
    assert set(STACKS) == {name for name in WRAPPERS if not name.startswith("Tabular")}


@pytest.mark.parametrize(("name", "at"), ONE_OF_ALL)
def test_training_starts_as_plain_resets_do(tmp_path, monkeypatch, name, at):
    monkeypatch.chdir(tmp_path)
    session = session_of(STACKS[name][at](bare()))
    fill(session.env)
    plain = session.config.env.make(session.policy.codec)
    restore(plain, snapshot(session.env))
    trained, expected = trained_starts(session), plain_starts(plain)
    assert total_variation(trained, expected) < TOLERANCE
    if chooses_problems(session.env):
        ids = [problem.problem_id for problem in session.env.unwrapped.problems]
        named = initial_states(session.env, ids * (DRAWS // len(ids)), seed=0)
        assert total_variation(Counter(map(key, named)), expected) > 2 * TOLERANCE


def test_a_curriculum_that_allows_one_level_trains_on_it_alone_and_the_report_says_so(tmp_path):
    rates = {"3": 0.0, "4": 0.0, "5": 1.0, "6": 0.5}
    stack = Curriculum(bare(size=8), by="level", measured=rates, floor=0.0, memory=1.0)
    session = session_of(stack, iterations=2, problems_per_iteration=3)
    with RunDir.create(tmp_path / "run", session.config, command=["test"]) as run:
        rows = train(session, run)
    for row in rows[1:]:
        assert row["rollout/drawn_fraction/level_6"] == 1.0
        assert not [name for name in row if name.startswith("rollout/drawn_fraction/level_3")]
        assert 1 <= row["rollout/drawn_problems"] <= 2
    data = report_data([tmp_path / "run"], num_episodes=10)
    first, last = data["by_source"]["chain"]["drawn"]["grpo"]
    assert first["shares"] == last["shares"] == {"6": 1.0}
    assert first["problems"] == rows[1]["rollout/drawn_problems"]
    # Evaluation names its problems, of every level.
    assert session.eval_env is not None
    assert not chooses_problems(session.eval_env)


def test_runs_whose_wrappers_choose_nothing_have_no_numbers_of_it():
    session = session_of(Hint(bare()))
    assert not [name for name in iterate(session).metrics if "drawn" in name]
    assert not chooses_problems(Curriculum(bare(), probability=0.0))
    assert not chooses_problems(ResetToState(bare(), pick="any", probability=0.0))


def test_only_problems_that_the_method_trains_on_are_drawn():
    env = Curriculum(bare(format="tokens", granularity="response"), by="level", floor=0.01)
    wanted = env.unwrapped.problems[2].problem_id
    starts = chosen_starts(env, 5, among=[wanted], seed=3)
    assert {start.state.problem.problem_id for start in starts} == {wanted}
    rates = {"3": 1.0, "4": 1.0, "5": 0.0}
    env = Curriculum(
        bare(format="tokens", granularity="response"), by="level", measured=rates, floor=0.0
    )
    easy = [item.problem_id for item in env.unwrapped.problems if item.level == 3]
    with pytest.raises(ConfigError, match=r"none of its 1 in 4000 draws; give Curriculum a floor"):
        chosen_starts(env, 1, among=easy, seed=0)
