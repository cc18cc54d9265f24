"""PrefixRL, failure-prefix conditioning, Prefix Sampling: prefixes of the policy's own chains."""

from dataclasses import replace

import numpy as np
import pytest

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import AdvantageConfig, LearnerConfig
from reason_env.agents.methods import (
    ComposedConfig,
    FailurePrefixConfig,
    GRPOConfig,
    LTEConfig,
    PrefixRLConfig,
    PrefixSamplingConfig,
    build_method,
)
from reason_env.agents.methods.own_chains import steps_kept
from reason_env.agents.runs import CheckpointConfig
from reason_env.agents.scripted import ScriptedPolicy, dry_run
from reason_env.agents.train import TrainConfig
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem
from reason_env.state import ReasonState
from tests.agents.methods.toy import toy_env

CODEC = ByteCodec()
MEAN = AdvantageConfig(kind="mean")
PROBLEMS = tuple(
    Problem(problem_id=f"toy/train/{at}", question=question, answer="24")
    for at, question in enumerate(("2*3*4=?", "3*4*2=?"))
)
PROMPT, OTHER = "2*3*4=?\n>", "3*4*2=?\n>"
RIGHT, WRONG = "#### 24$", "#### 20$"
LONG_RIGHT = "2*3=6\nso\n6*4=24\n#### 24$"  # four steps
LONG_WRONG = "2*3=5\nso\nthen\n5*4=20\n#### 20$"  # five steps


def toy():
    return toy_env(*PROBLEMS, max_tokens=60)


def run(config, script, names=("toy/train/0",), method=None):
    method = build_method(config) if method is None else method
    policy = ScriptedPolicy(script)
    found = dry_run(method, list(names), env=toy(), policy=policy)
    return method, found, [(one.text, one.num_samples) for one in policy.asked]


def trained(found):
    return [(s.role, s.group, sum(s.action_mask), s.advantage) for s in found.samples]


@pytest.mark.parametrize(
    ("share", "kept"), [(0.0, 1), (0.1, 1), (0.37, 1), (0.38, 2), (0.6, 2), (0.63, 3), (1.0, 3)]
)
def test_a_prefix_keeps_a_step_and_leaves_one(share, kept):
    chain = ReasonState(problem=PROBLEMS[0], codec=CODEC)
    chain = chain.extend(CODEC.encode("a\nb\nc\nd\n"), "policy")
    assert steps_kept(share, chain) == kept


PREFIXRL = PrefixRLConfig(
    group_size=2, attempts=4, hard_pass_rate=0.5, fraction=(0.5, 0.5), advantage=MEAN
)


def test_prefixrl_trains_the_problem_and_its_copy_after_its_first_success():
    method, found, asked = run(
        PREFIXRL,
        {
            # The first success has one step and no prefix; the second one is the chain.
            PROMPT: [WRONG, RIGHT, LONG_RIGHT, WRONG, RIGHT, WRONG],
            PROMPT + "2*3=6\nso\n": [WRONG, "6*4=24\n#### 24$"],
        },
    )
    # Half of four steps is two.
    assert asked == [(PROMPT, 4), (PROMPT, 2), (PROMPT + "2*3=6\nso\n", 2)]
    assert trained(found) == [
        ("base", "0:toy/train/0", 8, 0.5),
        ("base", "0:toy/train/0", 8, -0.5),
        ("prefixed", "0:toy/train/0/prefixed", 8, -0.5),
        ("prefixed", "0:toy/train/0/prefixed", 15, 0.5),
    ]
    known = len("2*3=6\nso\n")
    assert found.samples[2].action_mask[:known] == (False,) * known
    assert found.samples[2].context_ids == CODEC.encode(PROMPT)
    assert method.chains["toy/train/0"] == (*CODEC.encode(LONG_RIGHT[:-1]), CODEC.eos_id)


def test_prefixrl_leaves_out_problems_that_are_solved_too_often_or_never():
    script = {
        PROMPT: [LONG_RIGHT, LONG_RIGHT, LONG_RIGHT, WRONG],  # 3 of 4 is above a half
        OTHER: [LONG_RIGHT, LONG_RIGHT, WRONG, WRONG, RIGHT, WRONG],
        OTHER + "2*3=6\nso\n": [WRONG, WRONG],
    }
    method, found, _ = run(PREFIXRL, script, ("toy/train/0", "toy/train/1"))
    assert {s.group.partition("/pre")[0] for s in found.samples} == {"0:toy/train/1"}
    assert method.trained_problems(["toy/train/0", "toy/train/1"]) == ["toy/train/1"]
    with pytest.raises(
        ProblemError, match="prefixrl must have problems with a success and a low pass rate, got"
    ):
        run(PREFIXRL, {PROMPT: [WRONG] * 4})


def test_prefixrl_draws_shares_from_its_range_and_measures_a_problem_once():
    config = replace(PREFIXRL, fraction=(0.0, 1.0), copies="prefixed_only")
    method = build_method(config)
    chain = (*CODEC.encode(LONG_RIGHT[:-1]), CODEC.eos_id)
    method.load_state_dict({"chains": {"toy/train/0": list(chain)}})
    assert method.state_dict() == {"chains": {"toy/train/0": list(chain)}}
    state = ReasonState(problem=PROBLEMS[0], codec=CODEC)
    assert method.measure([state], lambda starts: pytest.fail("measured again")) == [state]
    kept = [
        method.plan([state], np.random.default_rng(seed))[0].state.num_steps for seed in range(40)
    ]
    shares = [float(np.random.default_rng(seed).uniform(0.0, 1.0)) for seed in range(40)]
    assert kept == [min(max(1, int(share * 4 + 0.5)), 3) for share in shares]
    assert set(kept) == {1, 2, 3}
    assert (method.planned_responses, build_method(PREFIXRL).planned_responses) == (2, 4)


FAILURE = FailurePrefixConfig(
    group_size=2,
    attempts=4,
    saturated_pass_rate=0.75,
    shares=(0.2, 0.4, 0.8),
    probe_samples=2,
    target=0.5,
    advantage=MEAN,
)
ONE, TWO, FOUR = "2*3=5\n", "2*3=5\nso\n", "2*3=5\nso\nthen\n5*4=20\n"


def test_failure_prefix_trains_after_the_length_whose_pass_rate_is_nearest_to_the_target():
    method, found, asked = run(
        FAILURE,
        {
            PROMPT: [RIGHT, LONG_WRONG, RIGHT, RIGHT],
            PROMPT + ONE: [RIGHT, RIGHT],
            PROMPT + TWO: [RIGHT, WRONG, WRONG, "no: 24\n#### 24$"],
            PROMPT + FOUR: [WRONG, RIGHT],
        },
    )
    # Shares of five steps: 1, 2, 4. Two and four are at the target: the shorter one.
    probes = [(PROMPT + prefix, 2) for prefix in (ONE, TWO, FOUR)]
    assert asked == [(PROMPT, 4), *probes, (PROMPT + TWO, 2)]
    assert method.kept == {"toy/train/0": 2}
    assert trained(found) == [
        ("prefixed", "0:toy/train/0/prefixed", 8, -0.5),
        ("prefixed", "0:toy/train/0/prefixed", 15, 0.5),
    ]
    assert found.samples[0].action_mask[: len(TWO)] == (False,) * len(TWO)
    again = build_method(FAILURE)
    again.load_state_dict(method.state_dict())
    assert (again.chains, again.kept) == (method.chains, method.kept)


def test_failure_prefix_takes_the_target_from_the_config():
    script = {
        PROMPT: [RIGHT, LONG_WRONG, RIGHT, RIGHT],
        PROMPT + ONE: [RIGHT, RIGHT],
        PROMPT + TWO: [RIGHT, WRONG],
        PROMPT + FOUR: [WRONG, WRONG, WRONG, RIGHT],
    }
    method, _, asked = run(replace(FAILURE, target=0.1), script)
    assert method.kept == {"toy/train/0": 4}
    assert asked[-1] == (PROMPT + FOUR, 2)


def test_failure_prefix_leaves_out_problems_that_are_not_saturated_or_never_fail():
    for first in ([RIGHT, RIGHT, LONG_WRONG, LONG_WRONG], [RIGHT] * 4, [RIGHT] * 3 + [WRONG]):
        with pytest.raises(ProblemError, match="with a failure and a high pass rate, got none"):
            run(FAILURE, {PROMPT: first})


SAMPLING = PrefixSamplingConfig(
    group_size=4, band=(0.3, 0.6), share=0.5, share_step=0.1, advantage=MEAN
)


def test_prefix_sampling_gives_a_head_start_where_most_fail():
    method, found, asked = run(
        SAMPLING,
        {
            PROMPT: [WRONG, LONG_RIGHT, WRONG, WRONG],
            PROMPT + "2*3=6\nso\n": [RIGHT, RIGHT, RIGHT, WRONG],
        },
    )
    assert asked == [(PROMPT, 4), (PROMPT + "2*3=6\nso\n", 4)]
    assert [(role, advantage) for role, _, _, advantage in trained(found)] == [
        ("base", -0.25), ("base", 0.75), ("base", -0.25), ("base", -0.25),
        ("head_start", 0.25), ("head_start", 0.25), ("head_start", 0.25), ("head_start", -0.75),
    ]  # fmt: skip
    # 0.75 is above the target: the next head start is shorter.
    assert method.shares == {"head_start": 0.4, "handicap": 0.5}
    assert method.metrics(found.groups) == {
        "rollout/prefixed_groups": 1,
        "rollout/distance_to_target": 0.25,
        "rollout/head_start_share": 0.4,
        "rollout/handicap_share": 0.5,
    }


def test_prefix_sampling_gives_a_handicap_where_most_succeed():
    method, found, asked = run(
        SAMPLING,
        {
            PROMPT: [RIGHT, RIGHT, LONG_WRONG, RIGHT],
            # Half of five steps is 2.5, which rounds to three.
            PROMPT + "2*3=5\nso\nthen\n": [RIGHT, RIGHT, WRONG, RIGHT],
        },
    )
    assert asked[1] == (PROMPT + "2*3=5\nso\nthen\n", 4)
    assert found.samples[-1].role == "handicap"
    # 0.75 is above the target: the next handicap is longer.
    assert method.shares == {"head_start": 0.5, "handicap": 0.6}


@pytest.mark.parametrize(
    ("role", "rate", "share"),
    [
        ("head_start", 0.2, 0.6), ("head_start", 0.5, 0.5), ("head_start", 0.9, 0.4),
        ("handicap", 0.2, 0.4), ("handicap", 0.5, 0.5), ("handicap", 0.9, 0.6),
    ],
)  # fmt: skip
def test_a_share_moves_towards_the_target(role, rate, share):
    assert build_method(SAMPLING).moved(role, rate) == pytest.approx(share, rel=1e-12)


def test_a_share_stays_within_its_limits():
    method = build_method(replace(SAMPLING, share=0.9))
    assert method.moved("head_start", 0.0) == 0.95
    method = build_method(replace(SAMPLING, share=0.1))
    assert method.moved("handicap", 0.0) == 0.05


def test_prefix_sampling_leaves_groups_in_the_band_and_groups_without_a_chain():
    for first in ([RIGHT, RIGHT, WRONG, WRONG], [WRONG] * 4, [RIGHT] * 4):
        _, found, asked = run(SAMPLING, {PROMPT: first})
        assert asked == [(PROMPT, 4)]
        assert len(found.samples) == 4


def test_prefix_sampling_begins_a_failed_group_from_an_earlier_success():
    method = build_method(SAMPLING)
    run(SAMPLING, {PROMPT: [LONG_RIGHT, RIGHT, WRONG, WRONG]}, method=method)
    again = build_method(SAMPLING)
    again.load_state_dict(method.state_dict())
    _, found, asked = run(
        SAMPLING,
        {PROMPT: [WRONG] * 4, PROMPT + "2*3=6\nso\n": [WRONG, WRONG, RIGHT, WRONG]},
        method=again,
    )
    assert asked[1] == (PROMPT + "2*3=6\nso\n", 4)
    # One of four is below the target: the next head start is longer.
    assert again.shares["head_start"] == 0.6
    assert len(found.samples) == 8


RUN = {
    "env": EnvConfig(levels=(3, 5), size=12),
    "eval": EvalConfig(num_problems=2, samples=1, k=1, greedy=False),
    "learner": LearnerConfig(learning_rate=2e-4),
    "checkpoint": CheckpointConfig(every=1),
    "iterations": 3,
    "problems_per_iteration": 4,
}


@pytest.mark.parametrize(
    "method",
    [
        PrefixRLConfig(group_size=4, attempts=4, hard_pass_rate=0.75),
        FailurePrefixConfig(
            group_size=4, attempts=4, saturated_pass_rate=0.5, shares=(0.3, 0.7), probe_samples=2
        ),
        PrefixSamplingConfig(group_size=4, band=(0.3, 0.7)),
    ],
    ids=lambda config: config.kind,
)
def test_a_run_resumes_to_the_same_bits_and_its_tokens_add_up(cut_and_resumed, method):
    whole, again, rows = cut_and_resumed(TrainConfig(method=method, **RUN))
    assert whole.method.state_dict() == again.method.state_dict()
    total = 0
    for row in rows[1:]:
        total += row["rollout/sampled_tokens"] + row.get("rollout/preparation_tokens", 0)
        assert row["rollout/sampled_tokens_total"] == total
    assert sum(row.get("update/tokens/prefixed", 0) for row in rows) > 0 or any(
        row.get("rollout/prefixed_groups") for row in rows
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PrefixRLConfig(attempts=0), "attempts must be at least 1, got 0"),
        (lambda: PrefixRLConfig(hard_pass_rate=2.0), r"hard_pass_rate must lie in 0..1, got 2.0"),
        (lambda: PrefixRLConfig(fraction=(0.8, 0.4)), "fraction must be .* with low <= high, got"),
        (lambda: PrefixRLConfig(copies="all"), "copies must be one of both, prefixed_only, got"),
        (lambda: FailurePrefixConfig(shares=()), "shares must hold a share to measure, got none"),
        (lambda: FailurePrefixConfig(shares=(0.5, 3.0)), r"shares must lie in 0..1, got 3.0"),
        (lambda: FailurePrefixConfig(probe_samples=0), "probe_samples must be at least 1, got 0"),
        (lambda: FailurePrefixConfig(target=-0.1), r"target must lie in 0..1, got -0.1"),
        (lambda: PrefixSamplingConfig(band=(0.6, 0.9)), r"band must hold the target 0.5, got"),
        (lambda: PrefixSamplingConfig(share_step=2.0), r"share_step must lie in 0..1, got 2.0"),
        (lambda: PrefixSamplingConfig(group_size=1), "group_size must be at least 2, got 1"),
        (
            lambda: ComposedConfig(methods=(FailurePrefixConfig(), LTEConfig())),
            "use copies 'both'",
        ),
        (
            lambda: ComposedConfig(methods=(PrefixRLConfig(), FailurePrefixConfig(copies="both"))),
            "both own the episodes of prefixed",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_after_another_method_prefixed_copies_are_added():
    config = ComposedConfig(methods=(GRPOConfig(group_size=2, advantage=MEAN), PREFIXRL))
    _, found, asked = run(
        config,
        {
            PROMPT: [WRONG, LONG_RIGHT, WRONG, WRONG, RIGHT, WRONG],
            PROMPT + "2*3=6\nso\n": [WRONG, RIGHT],
        },
    )
    assert asked == [(PROMPT, 4), (PROMPT, 2), (PROMPT + "2*3=6\nso\n", 2)]
    assert [role for role, *_ in trained(found)] == ["base", "base", "prefixed", "prefixed"]
