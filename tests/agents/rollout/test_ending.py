"""Engines stop where the environment would: the same episodes, fewer sampled tokens."""

from dataclasses import replace

import pytest

from reason_env.agents.engines import SamplingConfig
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout import Start, collect, initial_states
from reason_env.agents.rollout.ending import EpisodeEnd
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig
from reason_env.problem import Problem
from reason_env.state import EpisodeRules, ReasonState

PROBLEM = Problem(problem_id="t/train/0", question="?", answer="24")


def state(text: str = "") -> ReasonState:
    codec = ByteCodec()
    return ReasonState(problem=PROBLEM, codec=codec).extend(codec.encode(text), "reset")


@pytest.mark.parametrize(
    ("begin", "rest", "rules", "is_over"),
    [
        ("", "12*2=24\n", {}, False),
        ("", "#### 24\n", {}, True),
        ("", "#### 24", {}, False),
        ("a\n#### 2", "4\n", {}, True),  # the answer begins in the prefix
        ("#### ", "\n", {}, False),
        ("", "#### 24\n", {"stop_at_answer": False}, False),
        ("", "a\nb\n", {"max_steps": 2}, True),
        ("a\n", "b\n", {"max_steps": 2}, True),
        ("", "a\n\n", {"max_steps": 2}, False),  # a blank line is no step
        ("", "a\nQuestion: b\n", {"stops": ("Question:",)}, True),
        ("", "a\nQuestion\n", {"stops": ("Question:",)}, False),
    ],
)
def test_a_response_is_over_when_its_episode_is(begin, rest, rules, is_over):
    rule = EpisodeEnd(state(begin), EpisodeRules(**rules))
    assert rule.ends(ByteCodec().encode(rest)) is is_over


@pytest.mark.parametrize("precision", ["float32", "bf16-mixed"])
def test_engines_stop_there_and_the_episodes_are_the_same(monkeypatch, precision):
    policy = LanguageModelPolicy.load("base", precision=precision)
    assert policy.engine.path == ("model" if precision == "float32" else "fused")
    # Two steps: the model would write the chain to its end.
    env = EnvConfig(problems="chain", size=3, levels=(4, 4), max_steps=2).make(policy.codec)
    ids = [f"chain/train/{number}" for number in range(3)]
    starts = [
        Start(state=own, num_samples=3, learn_from=own, group=str(at))
        for at, own in enumerate(initial_states(env, ids, seed=0))
    ]
    whole = replace(starts[0], group="whole", is_auxiliary=True)

    def collected():
        return collect(
            [*starts, whole], env=env, policy=policy, sampling=SamplingConfig(), seed=5
        ).trajectories

    stopped = collected()
    monkeypatch.setattr(EpisodeEnd, "may_end", lambda self, token: False)
    unstopped = collected()
    assert [(t.final_state, t.outcome) for t in stopped] == [
        (t.final_state, t.outcome) for t in unstopped
    ]
    for short, long in zip(stopped, unstopped, strict=True):
        assert short.behavior_log_probs == pytest.approx(long.behavior_log_probs, abs=1e-2)
        assert short.sampled_ids == long.sampled_ids[: len(short.sampled_ids)]
        is_whole = short.start.is_auxiliary
        assert (len(short.sampled_ids) == len(long.sampled_ids)) is is_whole
        if not is_whole:
            assert short.sampled_ids == short.completion_ids
