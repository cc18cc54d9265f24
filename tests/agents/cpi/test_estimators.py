"""Sampled advantages, compared with hand-computed values on scripts and a twin's exact ones."""

import math
from dataclasses import replace
from functools import partial

import gymnasium as gym
import numpy as np
import pytest

from reason_env.agents.cpi.estimators import (
    PolicyPair,
    response_advantages,
    weighted_advantage,
    weighted_advantages,
)
from reason_env.agents.cpi.interval import advantage_interval
from reason_env.agents.cpi.restarts import Restart, draw_restarts, initial_restarts
from reason_env.agents.cpi.step_advantages import (
    _sample_steps,
    step_advantages,
    step_states,
    step_stop_ids,
)
from reason_env.agents.engines import Context, SamplingConfig
from reason_env.agents.methods import GRPOConfig, build_method, method_config
from reason_env.agents.methods.lte import LTEConfig
from reason_env.agents.methods.rrpo import RRPOConfig
from reason_env.agents.methods.srpo import SRPOConfig
from reason_env.agents.rollout import collect, initial_states
from reason_env.agents.scripted import ScriptedPolicy, scripted_log_probs
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError
from reason_env.problem import Problem, ProblemSet

PROBLEM = Problem(
    problem_id="toy/train/0", question="2*3*4=?", answer="24", solution=("2*3=6", "6*4=24")
)
START = "2*3*4=?\n>"
CODEC = ByteCodec()


@pytest.fixture(scope="module")
def env():
    return gym.make(
        "MathReason-v0",
        problems=ProblemSet("toy", (PROBLEM,)),
        format="tokens",
        granularity="response",
        disable_env_checker=True,
    )


def at(env, text="", draw=0, is_initial=True):
    (state,) = initial_states(env, ["toy/train/0"], seed=0)
    state = state.extend(state.codec.encode(text)) if text else state
    return Restart(state=state, draw=draw, is_initial=is_initial)


class Scoring(ScriptedPolicy):
    """Scores completion n of a context as `weights[n]` times as likely as it was sampled."""

    def __init__(self, weights):
        super().__init__({})
        self.weights = weights

    def score(self, contexts, completions, sampling):
        numbers = range(len(completions))
        return [
            (sum(scripted_log_probs(n, len(own))) + math.log(self.weights[n]),)
            for n, own in zip(numbers, completions, strict=True)
        ]


def pair(env, old, new, **sampling):
    return PolicyPair(old=old, new=new, env=env, sampling=SamplingConfig(**sampling))


def test_response_compares_mean_returns_at_each_restart(env):
    middle = START + "2*3=6\n"
    old = ScriptedPolicy({START: ["#### 24$", "#### 9$"], middle: ["#### 24$", "#### 24$"]})
    new = ScriptedPolicy({START: ["#### 24$", "#### 24$"], middle: ["#### 6$", "#### 8$"]})
    found = response_advantages(
        pair(env, old, new), [at(env), at(env, "2*3=6\n")], samples=2, seed=0
    )
    assert found.values == (0.5, -1.0)
    # "#### 24" and the end token are 8
    assert found.num_tokens == 8 + 7 + 8 + 8 + 8 + 8 + 7 + 7
    assert sorted(found.returns) == [0.0] * 3 + [1.0] * 5


def test_weighted_advantages_use_importance_weights_instead_of_candidate_samples(env):
    old = ScriptedPolicy({START: ["#### 24$", "#### 9$", "#### 24$"]})
    new = Scoring([1.5, 0.25, 0.5])
    found = weighted_advantages(pair(env, old, new), [at(env)], samples=3, seed=0)
    # r 1, 0, 1; means of the others 0.5, 1, 0.5: (1.5 * 0.5 - 0.25 * 1 + 0.5 * 0.5) / 3
    assert found.values[0] == pytest.approx(0.25)
    assert found.num_tokens == 23
    with pytest.raises(ConfigError, match=r"untruncated sampling, got top_p 0\.9"):
        weighted_advantages(pair(env, old, new, top_p=0.9), [at(env)], samples=2, seed=0)


def test_weighted_advantage_is_the_difference_of_values_on_average():
    # Two responses: returns 1 and 0, pi (0.25, 0.75), pi' (0.5, 0.5): V' - V = 0.25, by all pairs.
    pi, ratio, returns = (0.25, 0.75), (2.0, 2 / 3), (1.0, 0.0)
    mean = sum(
        pi[a] * pi[b] * weighted_advantage([returns[a], returns[b]], [ratio[a], ratio[b]])
        for a in (0, 1)
        for b in (0, 1)
    )
    assert mean == pytest.approx(0.25)


def test_step_advantages_replace_one_step_at_each_state_of_an_episode(env):
    first, second, wrong = START + "2*3=6\n", START + "2*3=6\n6*4=24\n", START + "2*3=6\n6*4=25\n"
    old = ScriptedPolicy(
        {
            # the episode that is rolled in; then the step at its first state
            START: ["2*3=6\n6*4=24\n#### 24$", "2*3=6\nwhat follows is cut off"],
            # the step there; then how the old policy goes on after the old first step: wrong
            first: ["6*4=24\n", "6*4=20\n#### 20$"],
            second: ["#### 24$", "#### 24$"],
            START + "2*3=7\n": ["7*4=28\n#### 24$"],
            wrong: ["#### 25$"],
        }
    )
    new = ScriptedPolicy({START: ["2*3=7\n"], first: ["6*4=25\n"], second: ["#### 28$"]})
    found = step_advantages(pair(env, old, new), [at(env)], samples=5, seed=0)
    # 1 - 0 at the first step, 0 - 1 at the second, 0 - 1 at the last; three of three steps.
    assert found.values == (-1.0,)
    assert found.max_steps == 3
    # episode 21; steps 29 + 7 + 8 and 6 + 7 + 8; then 15 + 15 after the first, 8 + 8 the second
    assert found.num_tokens == 21 + 44 + 21 + 30 + 16


def test_sampled_steps_are_weighted_up_and_equal_steps_have_difference_0(env):
    text = "2*3=6\n6*4=24\n#### 24$"
    states = (START, START + "2*3=6\n", START + "2*3=6\n6*4=24\n")
    seen = set()
    for seed in range(6):
        old = ScriptedPolicy(
            {
                states[0]: [text, text],
                states[1]: ["6*4=24\n", "6*4=24\n"],
                states[2]: ["#### 24$"],
                START + "2*3=6\n6*4=25\n": ["#### 24$"],
            }
        )
        new = ScriptedPolicy({states[0]: [text], states[1]: ["6*4=25\n"], states[2]: ["#### 28$"]})
        old.script[states[2]] = ("#### 9$", "#### 9$")
        if seed % 2:
            old.script[states[2]] = ("#### 24$", "#### 24$")
        found = step_advantages(pair(env, old, new), [at(env)], samples=1, seed=seed)
        seen.add((seed % 2, found.values[0]))
    # The first step is the same (0). After the second, 24 against 9 or 24; the last, 28 against
    # those. One of three steps is weighted by 3.
    assert seen <= {(0, 0.0), (0, 3.0), (1, 0.0), (1, -3.0)}
    assert len(seen) > 2


def test_without_roll_in_the_step_is_replaced_at_the_restart(env):
    middle = START + "2*3=6\n"
    old = ScriptedPolicy({middle: ["#### 6$", "#### 24$"]})
    new = ScriptedPolicy({middle: ["#### 24$", "#### 24$"]})
    found = step_advantages(
        pair(env, old, new), [at(env, "2*3=6\n")], samples=2, seed=0, roll_in=False
    )
    assert found.values == (0.5,)
    assert found.num_tokens == 7 + 8 + 8 + 8
    assert len(found.returns) == 2


def test_the_states_before_each_step_are_those_the_policy_acted_in(env):
    restart = at(env, "2*3=6\n")
    old = ScriptedPolicy({START + "2*3=6\n": ["6*4=24\n\n#### 24"]})
    batch = collect([restart.start(1, "0")], env=env, policy=old, sampling=SamplingConfig(), seed=0)
    states = step_states(batch.trajectories[0])
    # The blank line begins the step that answers.
    texts = ["2*3=6\n", "2*3=6\n6*4=24\n"]
    assert [state.text for state in states] == texts
    assert set(states[-1].sources) == {"policy"}


def test_the_step_that_answers_is_the_last_with_a_state_before_it(env):
    restart = at(env)
    old = ScriptedPolicy({START: ["2*3=6\n#### 24\nmore"]})
    batch = collect([restart.start(1, "0")], env=env, policy=old, sampling=SamplingConfig(), seed=0)
    assert [state.text for state in step_states(batch.trajectories[0])] == ["", "2*3=6\n"]


def test_a_step_stops_at_the_end_token_and_at_a_one_token_delimiter():
    assert step_stop_ids(ByteCodec()) == (ByteCodec().eos_id, ord("\n"))
    assert step_stop_ids(ByteCodec(step_delimiter="\n\n")) == (ByteCodec().eos_id,)
    two = ByteCodec()
    two.end_ids = (257, 256)
    assert step_stop_ids(two) == (257, 256, 10)


def test_a_blank_line_is_no_step_and_the_step_after_it_is_sampled(env):
    restart = at(env, "2*3=6\n")
    begun = START + "2*3=6\n"
    script = {
        begun: ["\n", "6*4=24\n"],
        begun + "\n": ["  \n", "6*4=24\n"],
        begun + "\n  \n": ["6*4=25\n"],
    }
    old, new = ScriptedPolicy(script), ScriptedPolicy({begun: ["6*4=24\n", "6*4=24\n"]})
    contexts = [
        Context(token_ids=CODEC.encode(begun), num_samples=1, max_new_tokens=room)
        for room in (60, 9)
    ]
    states = [restart.state] * 2
    steps, num_tokens = _sample_steps(old, contexts, states, SamplingConfig(), 3)
    assert [CODEC.decode(one.token_ids) for one in steps] == ["\n  \n6*4=25\n", "6*4=24\n"]
    assert num_tokens == 11 + 7
    assert [len(one.log_probs) for one in steps] == [11, 7]
    assert not any(one.is_finished for one in steps)
    # Room for the blank line and no more.
    contexts = [Context(token_ids=CODEC.encode(begun), num_samples=1, max_new_tokens=1)]
    old = ScriptedPolicy({begun: ["\n"]})
    steps, num_tokens = _sample_steps(old, contexts, states[:1], SamplingConfig(), 3)
    assert (steps[0].token_ids, num_tokens) == ((10,), 1)
    steps, _ = _sample_steps(new, contexts, states[:1], SamplingConfig(), 3)
    assert steps[0].token_ids == (ord("6"),)


def test_a_step_that_goes_on_after_text_closes_at_the_first_delimiter(env):
    restart = at(env, "2*3=")
    old = ScriptedPolicy({START + "2*3=": ["\nso\n"]})
    context = Context(token_ids=CODEC.encode(START + "2*3="), num_samples=1, max_new_tokens=9)
    steps, _ = _sample_steps(old, [context], [restart.state], SamplingConfig(), 3)
    assert CODEC.decode(steps[0].token_ids) == "\n"


def unsampled(starts):
    raise AssertionError("no episode was needed")


def test_a_method_without_resets_restarts_at_the_initial_states_without_sampling(env):
    states = initial_states(env, ["toy/train/0"] * 2, seed=0)
    method = build_method(GRPOConfig())
    restarts, tokens = draw_restarts(method, states, unsampled, np.random.default_rng(0))
    assert restarts == initial_restarts(states)
    assert tokens == 0


def collect_with(env, policy):
    return partial(collect, env=env, policy=policy, sampling=SamplingConfig(), seed=0)


def test_a_reset_belongs_to_the_draw_of_its_problem(env):
    states = initial_states(env, ["toy/train/0"] * 2, seed=0)
    # Draw 0 solves it twice and fails once; draw 1 never fails and is topped up.
    policy = ScriptedPolicy(
        {
            START: ["#### 24$", "2*3=5\n#### 20$", "#### 24$"] + ["#### 24$"] * 7,
            START + "2*3=5\n": ["#### 24$", "#### 20$"],
        }
    )
    method = build_method(
        SRPOConfig(num_base=2, num_reset=2, max_tries=4, localiser="checker", offset=9),
        lambda problem, steps: 2,
    )
    found, tokens = draw_restarts(
        method, states, collect_with(env, policy), np.random.default_rng(0)
    )
    assert [(one.draw, one.is_initial, one.state.text) for one in found] == [
        (0, True, ""),
        (1, True, ""),
        (0, False, "2*3=5\n"),
    ]
    assert tokens == sum(
        len(text.replace("$", "")) + 1
        for context, used in policy._used.items()
        for text in policy.script[context][:used]
    )


def test_hints_are_not_in_the_state_that_a_method_learns_from(env):
    states = initial_states(env, ["toy/train/0"], seed=0)
    method = build_method(LTEConfig(group_size=2))
    shown = []

    def sample(starts):
        shown.extend(starts)
        script = {
            "".join(chr(i) for i in env.unwrapped.prompt.token_ids(start.state)): [
                "#### 9$",
                "#### 7$",
            ]
            for start in starts
        }
        return collect(
            starts, env=env, policy=ScriptedPolicy(script), sampling=SamplingConfig(), seed=0
        )

    found, tokens = draw_restarts(method, states, sample, np.random.default_rng(0))
    assert shown[1].state.guidance
    assert [(one.draw, one.is_initial, one.state.guidance) for one in found] == [
        (0, True, ()),
        (0, False, ()),
    ]
    assert tokens == 4 * 7


def test_drawing_restarts_does_not_change_the_method_s_state(env):
    states = initial_states(env, ["toy/train/0"], seed=0)
    method = build_method(method_config("expo"))
    before = method.state_dict()
    draw_restarts(method, states, unsampled, np.random.default_rng(0))
    assert method.state_dict() == before
    rrpo = build_method(RRPOConfig())
    with pytest.raises(AssertionError, match="no episode"):
        draw_restarts(rrpo, states, unsampled, np.random.default_rng(0))


def test_auxiliary_starts_are_not_restarts_and_equal_starts_count_once(env):
    states = initial_states(env, ["toy/train/0"], seed=0)
    method = build_method(GRPOConfig())
    (start,) = method.plan(states, np.random.default_rng(0))
    asked = [
        replace(start, role="localise", group=start.group + "/localise", is_auxiliary=True),
        replace(start, role="top_up"),
        replace(start, role="reset", num_samples=3),
        replace(start, role="reset", num_samples=2),
    ]
    method.plan = lambda states, rng: asked
    found, _ = draw_restarts(method, states, unsampled, np.random.default_rng(0))
    assert [one.is_initial for one in found] == [True, False]


def test_a_start_without_a_draw_is_refused(env):
    states = initial_states(env, ["toy/train/0"], seed=0)
    method = build_method(GRPOConfig())
    (start,) = method.plan(states, np.random.default_rng(0))
    for draw in (None, -1, 1):
        method.plan = lambda s, r, draw=draw: [replace(start, draw=draw, role="reset")]
        with pytest.raises(ConfigError, match=r"a draw in 0\.\.0"):
            draw_restarts(method, states, unsampled, np.random.default_rng(0))


def test_sampled_advantages_agree_with_the_exact_ones_of_a_real_model_s_twin():
    from reason_env.agents.cpi.measure import PolicyWithWeights
    from reason_env.agents.cpi.mixture import copy_weights, using_weights
    from reason_env.agents.policy import LanguageModelPolicy
    from reason_env.agents.tabular.exact import horizon as finite
    from reason_env.agents.tabular.worlds.twin import chain_twin
    from reason_env.problems.families import chain

    policy = LanguageModelPolicy.load("base")
    problem = chain.make("test", size=2, levels=(2, 2))[1]
    old = copy_weights(policy.model)
    # Logits 1.5 times as large: a policy that is better, by a known amount.
    new = {name: own * 1.5 if name == "model.norm.weight" else own for name, own in old.items()}

    def score(contexts, completions):
        return [sum(one) for one in policy.score(contexts, completions, SamplingConfig())]

    before = chain_twin(problem, score, codec=policy.codec)
    with using_weights(policy.model, new):
        after = chain_twin(problem, score, codec=policy.codec)
    assert before.texts == after.texts
    exact = finite.evaluate(before.mdp, before.policy_SA)
    advantage = finite.policy_advantage(exact, after.policy_SA) * before.mdp.horizon
    gain = after.performance - before.performance
    assert min(advantage, gain) > 0.02
    env = gym.make(
        "MathReason-v0",
        problems=ProblemSet("one", (problem,)),
        format="tokens",
        granularity="response",
        codec=policy.codec,
        max_tokens=80,
        disable_env_checker=True,
    )
    states = initial_states(env, [problem.problem_id] * 250, seed=0)
    both = pair(env, PolicyWithWeights(policy, old), PolicyWithWeights(policy, new))
    slack = before.lost + after.lost
    for estimate, samples, true in (
        (step_advantages, 1, advantage),
        (response_advantages, 1, gain),
        (weighted_advantages, 2, gain),
    ):
        restarts = initial_restarts(states)
        found = estimate(both, restarts, samples=samples, seed=5)
        draws = [one.draw for one in restarts]
        interval = advantage_interval(
            found.values, draws, [True] * 250, beta=1, confidence=0.999, limit=3
        )
        assert interval.low - slack <= true <= interval.high + slack, estimate.__name__
        # Narrow enough to tell the advantage from 0 or from twice itself.
        assert interval.high - interval.low < 0.6, estimate.__name__
