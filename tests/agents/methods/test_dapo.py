"""DAPO: dynamic sampling by hand, next to other methods, in a run, with CPI and after a kill."""

from dataclasses import replace

import numpy as np
import pytest

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import AdvantageConfig
from reason_env.agents.methods import (
    ComposedConfig,
    DAPOConfig,
    LTEConfig,
    build_method,
    method_config,
)
from reason_env.agents.methods.dapo import is_mixed
from reason_env.agents.rollout import initial_states
from reason_env.agents.runs import CheckpointConfig
from reason_env.agents.scripted import ScriptedPolicy, dry_run
from reason_env.agents.train import TrainConfig, build_session, iterate, prepare
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError
from reason_env.problem import Problem
from tests.agents.methods.toy import toy_env

PROBLEMS = tuple(
    Problem(problem_id=f"toy/train/{n}", question=f"{n}+1=?", answer=str(n + 1)) for n in range(6)
)
IDS = [problem.problem_id for problem in PROBLEMS]
DAPO = DAPOConfig(group_size=3, overlong_penalty=0.0)


def script(*successes):
    """For each problem in order, which of its three responses are right."""
    return {
        f"{n}+1=?\n>": [f"#### {n + right}$" for right in own] for n, own in enumerate(successes)
    }


ALL, NONE = (1, 1, 1), (0, 0, 0)


def run(successes, config=DAPO, *, begin=2, **options):
    method = build_method(config)
    found = dry_run(
        method,
        IDS[:begin],
        env=toy_env(*PROBLEMS),
        policy=ScriptedPolicy(script(*successes)),
        further_ids=IDS[begin:],
        **options,
    )
    return method, found


def test_further_problems_replace_those_that_all_episodes_solve_or_fail():
    # Of the first two only the second is mixed; then one round for one problem, and another.
    method, found = run([ALL, (1, 0, 1), NONE, (0, 0, 1), ALL])
    assert [[start.draw for start in starts] for starts in found.batches] == [[0, 1], [2], [3]]
    assert all(start.num_samples == 3 for starts in found.batches for start in starts)
    # (r - 2/3) / (sqrt(1/3) + 1e-4) and (r - 1/3) / the same.
    scale = 1 / (3**-0.5 + 1e-4)
    assert [(one.group, one.advantage) for one in found.samples] == [
        ("1:toy/train/1", pytest.approx(scale / 3)),
        ("1:toy/train/1", pytest.approx(-2 * scale / 3)),
        ("1:toy/train/1", pytest.approx(scale / 3)),
        ("3:toy/train/3", pytest.approx(-scale / 3)),
        ("3:toy/train/3", pytest.approx(-scale / 3)),
        ("3:toy/train/3", pytest.approx(2 * scale / 3)),
    ]
    assert method.metrics(found.groups) == {
        "rollout/unmixed_groups": 2,
        "rollout/missing_groups": 0,
    }
    assert found.asked.further_problems == 2
    # Every generated token is counted, also of the groups that are left out.
    assert found.num_sampled_tokens == 12 * len("#### 0$")


def test_as_many_problems_are_drawn_as_are_missing():
    _, found = run([ALL, NONE, NONE, (1, 0, 0), ALL, (0, 1, 1)], begin=3)
    assert [[start.draw for start in starts] for starts in found.batches] == [[0, 1, 2], [3, 4, 5]]
    assert {one.group for one in found.samples} == {"3:toy/train/3", "5:toy/train/5"}


@pytest.mark.parametrize(
    ("max_rounds", "batches", "missing"), [(1, [2], 2), (2, [2, 2], 1), (10, [2, 2, 1, 1], 1)]
)
def test_sampling_ends_after_some_rounds_or_with_the_problems(max_rounds, batches, missing):
    config = replace(DAPO, max_rounds=max_rounds)
    method, found = run([ALL, NONE, NONE, (1, 0, 0), ALL, NONE], config)
    assert [len(starts) for starts in found.batches] == batches
    assert method.metrics(found.groups)["rollout/missing_groups"] == missing
    assert len(found.samples) == (0 if max_rounds == 1 else 3)


def test_an_iteration_of_mixed_groups_samples_no_more_and_equals_grpo():
    successes = [(1, 0, 0), (0, 1, 1)]
    _, found = run(successes)
    plain = method_config("grpo")
    _, other = run(successes, replace(plain, group_size=3, loss=DAPO.loss))
    assert found.samples == other.samples
    assert len(found.batches) == 1


def test_a_group_is_kept_as_verl_s_release_keeps_it(build):
    rng = np.random.default_rng(0)
    state = build["problem_state"](0)
    seen = set()
    for _ in range(60):
        wins = rng.random(int(rng.integers(2, 6))) < rng.choice([0.1, 0.5, 0.9])
        items = [
            build["trajectory"](state, "#### 1", outcome="correct" if won else "incorrect")
            for won in wins
        ]
        # `filter_groups.metric=acc`: the standard deviation of successes is above 0.
        assert is_mixed(items) == (np.std(wins) > 0)
        seen.add(is_mixed(items))
    assert seen == {True, False}
    right, wrong, failed = (
        build["trajectory"](state, "#### 1", outcome=outcome)
        for outcome in ("correct", "incorrect", "timeout")
    )
    assert not is_mixed([right, failed])
    assert is_mixed([right, wrong, failed])


def test_returns_that_differ_by_length_alone_keep_no_group(build):
    state = build["problem_state"](0)
    items = [
        replace(build["trajectory"](state, "#### 1", outcome="correct"), episode_return=value)
        for value in (1.0, 0.75)
    ]
    assert not is_mixed(items)


def test_with_lte_a_failed_group_is_trained_once_it_holds_a_hinted_success():
    both = ComposedConfig(
        methods=(
            replace(DAPO, group_size=2, advantage=AdvantageConfig(kind="mean")),
            LTEConfig(group_size=2),
        )
    )
    method = build_method(both)
    policy = ScriptedPolicy(
        {
            "0+1=?\n>": ["#### 0$", "#### 9$"],
            "0+1=?\nNot: 0, 9\n>": ["#### 1$", "#### 0$"],
            "1+1=?\n>": ["#### 2$", "#### 2$"],
            "2+1=?\n>": ["#### 3$", "#### 2$"],
        }
    )
    found = dry_run(method, IDS[:1], env=toy_env(*PROBLEMS), policy=policy, further_ids=IDS[1:3])
    rounds = [[(start.role, start.draw) for start in starts] for starts in found.batches]
    assert rounds == [[("base", 0)], [("base", 1), ("hinted", 0)], [("base", 2)]]
    trained = [(one.group, one.role) for one in found.samples]
    assert sorted(trained) == [
        ("0:toy/train/0", "base"),
        ("0:toy/train/0", "hinted"),
        ("2:toy/train/2", "base"),
        ("2:toy/train/2", "base"),
    ]


def test_problems_that_another_method_asks_for_change_neither_rounds_nor_wanted_groups():
    method, rng = build_method(DAPO), np.random.default_rng(0)
    states = initial_states(toy_env(*PROBLEMS), IDS[:5], seed=0)
    method.plan(states[:2], rng)
    method.load_state_dict(method.state_dict() | {"num_rounds": 7})
    further = method.plan_further(states, 3, rng)
    assert [(start.group, start.draw, start.num_samples) for start in further] == [
        ("3:toy/train/3", 3, 3),
        ("4:toy/train/4", 4, 3),
    ]
    assert method.state_dict() == {"num_wanted": 2, "num_rounds": 7}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_rounds": 0}, "max_rounds must be at least 1, got 0"),
        ({"overlong_penalty": -1.0}, "overlong_penalty must be at least 0 and finite, got -1.0"),
        ({"overlong_penalty": float("inf")}, "overlong_penalty must be at least 0 and finite"),
        ({"overlong_share": 0.0}, "overlong_share must lie in 0 < share <= 1, got 0.0"),
        ({"overlong_share": 1.5}, "overlong_share must lie in 0 < share <= 1, got 1.5"),
        ({"group_size": 1}, "group_size must be at least 2, got 1"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        DAPOConfig(**changes)


def test_the_penalty_is_a_wrapper_of_the_training_environment_alone():
    (spec,) = DAPOConfig(overlong_penalty=0.25, overlong_share=0.5).wrappers
    assert (spec.name, spec.kwargs) == (
        "RewardShaping",
        {"overlong_penalty": 0.25, "overlong_share": 0.5},
    )
    assert DAPO.wrappers == ()
    config = TrainConfig(method=DAPOConfig(), env=EnvConfig(levels=(3, 3), size=4, max_tokens=24))
    session = build_session(config)
    assert "RewardShaping" in str(session.env)
    assert "RewardShaping" not in str(session.eval_env)


def test_negative_returns_are_refused_where_they_have_no_meaning():
    with pytest.raises(ConfigError, match=r"with advantage kind 'maxrl', got -0\.5"):
        TrainConfig(method=DAPOConfig(advantage=AdvantageConfig(kind="maxrl")))
    with pytest.raises(ConfigError, match=r"conservative step, got -0.5 with the penalty of dapo"):
        TrainConfig(method=DAPOConfig(), cpi=CPIConfig())
    TrainConfig(method=DAPO, cpi=CPIConfig())


def run_config(**changes):
    settings = {
        "method": DAPOConfig(group_size=2),
        "env": EnvConfig(problems="chain", levels=(2, 3), size=12, max_tokens=40),
        "problems_per_iteration": 3,
        "iterations": 3,
        "eval": EvalConfig(num_problems=1, samples=1, k=1, greedy=False),
        "checkpoint": CheckpointConfig(every=1),
        "episodes_per_iteration": 0,
    }
    return TrainConfig(**(settings | changes))


def test_a_run_resumes_to_the_same_bits_and_its_tokens_add_up(cut_and_resumed):
    config = run_config(method=DAPOConfig(group_size=2, max_rounds=3))
    whole, _, rows = cut_and_resumed(config)
    later = rows[1:]
    assert sum(row.get("rollout/further_problems", 0) for row in later) > 0
    for row in later:
        groups = row["rollout/num_groups"]
        assert groups == 3 + row.get("rollout/further_problems", 0)
        kept = groups - row["rollout/unmixed_groups"]
        assert kept == 3 - row["rollout/missing_groups"]
    assert whole.num_drawn == sum(row["rollout/num_groups"] for row in later)
    tokens = [row["rollout/sampled_tokens"] for row in later]
    assert [row["rollout/sampled_tokens_total"] for row in later] == list(np.cumsum(tokens))


def test_no_group_is_sampled_once_the_budget_is_spent():
    session = build_session(run_config(max_generated_tokens=40))
    prepare(session)
    metrics = iterate(session).metrics
    assert metrics["rollout/num_groups"] == 3
    assert metrics["rollout/missing_groups"] == metrics["rollout/unmixed_groups"] > 0


@pytest.mark.parametrize("beta", [None, 0.5])
def test_a_conservative_run_counts_its_problems_apart(beta):
    config = run_config(
        method=replace(DAPO, group_size=2),
        cpi=CPIConfig(num_restarts=4, samples=1, beta=beta, realised_problems=0, accept="always"),
        iterations=1,
    )
    session = build_session(config)
    prepare(session)
    found = iterate(session)
    metrics = found.metrics
    further = metrics.get("rollout/further_problems", 0)
    assert session.num_drawn == metrics["rollout/num_groups"] == 3 + further
    # The wanted groups are the run's, not those of the test.
    kept = metrics["rollout/num_groups"] - metrics["rollout/unmixed_groups"]
    assert kept == 3 - metrics["rollout/missing_groups"]
    # Its episodes begin at problems: without weight on mu nothing is sampled to find restarts.
    assert metrics["cpi/num_restarts"] == 4
    assert ("cpi/further_problems" in metrics) == (beta is not None)
    total = metrics["rollout/sampled_tokens"] + metrics["cpi/tokens_advantage"]
    assert session.sampled_tokens_total == total
