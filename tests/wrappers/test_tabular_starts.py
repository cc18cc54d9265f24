"""The start wrappers on small MDPs: laws, snapshots, and Monte Carlo against exact values."""

import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_match import check_environments_match

from reason_env.agents.tabular.exact import TabularMDP, restarts
from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.worlds import families
from reason_env.errors import ConfigError, StateError
from reason_env.snapshot import restore, snapshot
from reason_env.tabular import CRITICAL, RECOVERABLE
from reason_env.tabular.model import WRONG
from reason_env.wrappers.curriculum import Curriculum
from reason_env.wrappers.hint import Hint
from reason_env.wrappers.prefix_rollin import PrefixRollin
from reason_env.wrappers.reset_to_state import ResetToState
from reason_env.wrappers.reward_shaping import RewardShaping
from reason_env.wrappers.stack import stack_from_json, stack_to_json
from reason_env.wrappers.tabular_starts import TabularPrefixRollin, TabularResetToState

TREE = {"num_steps": 3, "critical_rate": 0.5, "ceiling": 0.9, "floor": 0.1}


def tree(**changes):
    return gym.make("ReasonTree-v0", **(TREE | changes))


WRAP = {
    "reset": lambda env: TabularResetToState(env, [5, (0, 6, 10)], probability=0.6),
    "failures": lambda env: TabularResetToState(env, keep="failures", probability=0.7, capacity=3),
    "rollin": lambda env: TabularPrefixRollin(env, steps=(0, 2), probability=0.8),
    "policy": lambda env: TabularPrefixRollin(
        env, lambda state, rng: int(rng.integers(4)), steps=2
    ),
}
SILENT = {
    "probability 0": lambda env: TabularResetToState(env, [5], probability=0.0),
    "an empty archive": TabularResetToState,
    "a roll-in of probability 0": lambda env: TabularPrefixRollin(env, steps=2, probability=0.0),
    "a roll-in of no steps": lambda env: TabularPrefixRollin(env, steps=0),
}


@pytest.mark.parametrize("name", SILENT)
def test_strength_0_is_the_bare_environment(name):
    check_environments_match(tree(), SILENT[name](tree()), 60, seed=3)


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version:UserWarning")
@pytest.mark.parametrize("name", WRAP)
def test_a_wrapped_environment_keeps_gymnasium_s_contract_and_follows_its_seed(name):
    check_env(WRAP[name](tree()), skip_render_check=True)
    check_environments_match(WRAP[name](tree()), WRAP[name](tree()), 60, seed=4)


@pytest.mark.parametrize("name", WRAP)
def test_an_explicit_state_overrides_the_wrapper(name):
    env = WRAP[name](tree())
    for seed in range(10):
        assert env.reset(seed=seed, options={"state": 9})[0] == 9


def play(env, seed, steps=60):
    rng = np.random.default_rng(seed)
    said = []
    over = True
    for _ in range(steps):
        said.append(env.reset() if over else env.step(int(rng.integers(4))))
        over = bool(said[-1][2] or said[-1][3]) if len(said[-1]) == 5 else False
    return said


@pytest.mark.parametrize("names", [("failures", "rollin"), ("policy", "reset"), ("failures",), ()])
def test_a_fork_continues_identically(names):
    def stack():
        env = tree()
        for name in names:
            env = WRAP[name](env)
        return env

    env, fork = stack(), stack()
    env.reset(seed=2)
    play(env, 0)
    env.reset()
    env.step(0)
    saved = json.loads(json.dumps(snapshot(env)))
    restore(fork, saved)
    assert snapshot(fork) == saved
    assert play(fork, 1) == play(env, 1)
    assert snapshot(fork) == snapshot(env)


def test_a_snapshot_of_another_mdp_or_budget_is_refused_and_changes_nothing():
    env = tree()
    env.reset(seed=0)
    before = snapshot(env)
    for other, name in ((tree(critical_rate=0.25), "model"), (tree(max_steps=7), "max_steps")):
        other.reset(seed=0)
        with pytest.raises(StateError, match=f"must be of an environment with {name} "):
            restore(env, snapshot(other))
    assert snapshot(env) == before


def starts_of(env, num, seed=0):
    env.reset(seed=seed)
    counts = np.zeros(env.observation_space.n)
    for _ in range(num):
        counts[env.reset()[0]] += 1
    return counts / num


def close(measured, exact, num):
    """Five standard errors of each frequency; exactly 0 where it must be."""
    assert (measured[exact == 0] == 0).all()
    width = 5 * np.sqrt(np.maximum(exact * (1 - exact), 1e-4) / num)
    assert (np.abs(measured - exact) <= width).all()


def test_a_roll_in_over_all_steps_starts_where_the_occupancy_is():
    """d_{pi,mu} of the policy that is rolled in, pi the reference's (POPE) or a learner's."""
    env = TabularPrefixRollin(tree(), steps=(0, 3))
    model = env.unwrapped.model
    mdp = TabularMDP.from_model(model, horizon=4)
    reference_SA = np.eye(model.num_actions)[model.reference_action]
    exact = restarts.Occupancy(reference_SA).distribution(mdp, reference_SA).sum(0)
    close(starts_of(env, 4000), exact, 4000)
    policy_SA = families.tree_policy(model, right=0.5, repair=0.4)

    def acted(state, rng):
        return int(rng.choice(model.num_actions, p=policy_SA[state]))

    own = finite.evaluate(mdp, policy_SA).occupancy_HS.mean(0)
    assert np.abs(own - exact).max() > 0.05
    close(starts_of(TabularPrefixRollin(tree(), acted, steps=(0, 3)), 4000, seed=1), own, 4000)


def test_the_return_after_a_roll_in_is_the_exact_value_of_its_starts():
    env = TabularPrefixRollin(tree(), steps=2)
    model = env.unwrapped.model
    mdp = TabularMDP.from_model(model, horizon=4)
    policy_SA = families.tree_policy(model, right=0.5, repair=0.4)
    reference_SA = np.eye(model.num_actions)[model.reference_action]
    mu_S = finite.occupancy(mdp, reference_SA, mdp.start_S)[2]
    # Two steps and the answer are left; an absorbing end pays nothing more.
    exact = float(mu_S @ finite.evaluate(mdp, policy_SA).value_HS[1])
    rng, num = np.random.default_rng(0), 3000
    env.reset(seed=5)
    returns = np.zeros(num)
    for index in range(num):
        state, _ = env.reset()
        over = False
        while not over:
            action = int(rng.choice(model.num_actions, p=policy_SA[state]))
            state, reward, terminated, truncated, _ = env.step(action)
            returns[index] += reward
            over = terminated or truncated
    assert abs(returns.mean() - exact) <= 5 * returns.std() / np.sqrt(num)
    assert abs(exact - finite.evaluate(mdp, policy_SA).performance) > 0.05


def test_uniform_cuts_of_own_failures_follow_rrpo_s_restart_distribution():
    model = tree().unwrapped.model
    mdp = TabularMDP.from_model(model, horizon=4)
    policy_SA = families.tree_policy(model, right=0.5, repair=0.4)
    exact = restarts.OwnFailures().distribution(mdp, policy_SA).sum(0)
    env = TabularResetToState(tree(), keep="failures", capacity=4000)
    rng = np.random.default_rng(1)
    env.reset(seed=0)
    for _ in range(2500):
        # Collected from the start distribution, whatever the archive holds by now.
        first = int(rng.choice(len(mdp.start_S), p=mdp.start_S))
        state, _ = env.reset(options={"state": first})
        over = False
        while not over:
            action = int(rng.choice(model.num_actions, p=policy_SA[state]))
            state, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
    assert {len(chain) for chain in env.chains} == {4}
    # The archive's chains vary too, four states each: their number bounds the precision.
    close(starts_of(env, 4000), exact, min(4000, len(env.chains)))


def test_each_cut_chooses_its_state():
    chain = (0, CRITICAL + 4, RECOVERABLE + 8)
    seen = []
    for cut in (None, 0, 1, 9, lambda states, rng: len(states) - 2):
        env = TabularResetToState(tree(), [chain], cut=cut)
        seen.append({int(env.reset(seed=seed)[0]) for seed in range(5)})
    assert seen == [{10}, {0}, {5}, {10}, {5}]
    env = TabularResetToState(tree(), [chain])
    assert {int(env.reset(seed=seed)[0]) for seed in range(40)} == set(chain)
    env = TabularResetToState(tree(), [5], capacity=2)
    env.add([1, 6])
    env.add(WRONG)
    assert list(env.chains) == [(1, 6), (3,)]


def test_a_roll_in_stops_in_the_last_open_state():
    env = TabularPrefixRollin(tree(critical_rate=0.0, ceiling=1.0), steps=9)
    # The right answer, state 4 * 3, is open: its reward is still to come.
    assert env.reset(seed=0)[0] == 12
    assert env.step(0)[1:3] == (1.0, True)


def test_a_stack_is_one_json_string():
    env = TabularPrefixRollin(
        TabularResetToState(tree(), [5, (0, 6)], cut=None, probability=0.5), steps=(0, 1)
    )
    again = stack_from_json(stack_to_json(env))
    assert stack_to_json(again) == stack_to_json(env)
    assert [again.reset(seed=s)[0] for s in range(20)] == [env.reset(seed=s)[0] for s in range(20)]
    assert isinstance(again.env, TabularResetToState)


@pytest.mark.parametrize(
    ("wrapper", "instead", "settings"),
    [
        (ResetToState, "TabularResetToState", {}),
        (ResetToState, "TabularResetToState", {"states": [(0, 4)]}),
        (ResetToState, "TabularResetToState", {"states": [5]}),
        (ResetToState, "TabularResetToState", {"states": 5}),
        (ResetToState, "TabularResetToState", {"states": "nowhere.jsonl"}),
        (ResetToState, "TabularResetToState", {"cut": "last", "probability": 2}),
        (PrefixRollin, "TabularPrefixRollin", {}),
        (PrefixRollin, "TabularPrefixRollin", {"steps": 0.5}),
        (PrefixRollin, "TabularPrefixRollin", {"source": 3, "fraction": (1, 0)}),
        (PrefixRollin, "TabularPrefixRollin", {"schedule": "unknown"}),
    ],
)
def test_the_error_of_a_text_wrapper_names_the_tabular_wrapper_to_use(wrapper, instead, settings):
    message = f"^{wrapper.__name__} must wrap .* got a TabularEnv, .*; use {instead} there$"
    with pytest.raises(ConfigError, match=message):
        wrapper(tree(), **settings)


@pytest.mark.parametrize(
    ("wrapper", "settings", "reason"),
    [
        (Hint, {"kind": "unknown"}, "there is no prompt to add a hint to"),
        (Curriculum, {"by": "unknown"}, "an MDP is one problem, so there is none to choose"),
        (RewardShaping, {"discount": 2}, "its terms count tokens and steps of a text"),
    ],
)
def test_the_error_of_a_wrapper_without_a_tabular_form_gives_the_reason(wrapper, settings, reason):
    name = wrapper.__name__
    for given in ({}, settings):
        with pytest.raises(ConfigError, match=f"got a TabularEnv, .*; {reason}: leave {name} out$"):
            wrapper(tree(), **given)


@pytest.mark.parametrize(
    ("wrap", "instead"),
    [
        (TabularResetToState, "ResetToState"),
        (lambda env: TabularPrefixRollin(env, steps=1), "PrefixRollin"),
    ],
)
def test_a_tabular_wrapper_refuses_texts_and_names_the_wrapper_to_use(wrap, instead):
    with pytest.raises(ConfigError, match=f"stack on TabularEnv, got ReasonEnv; use {instead} for"):
        wrap(gym.make("MathReason-v0", problems="chain", size=2))


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda env: TabularResetToState(env, cut="checker"), "have no texts to look at"),
        (lambda env: TabularResetToState(env, cut=-1), "a number of steps, a function or None"),
        (lambda env: TabularResetToState(env, keep="failure"), "did you mean 'failures'"),
        (lambda env: TabularResetToState(env, capacity=0), "capacity must be at least 1, got 0"),
        (lambda env: TabularResetToState(env, "chains.jsonl"), "states must be states or chains"),
        (lambda env: TabularResetToState(env, probability=1.5), r"probability must lie in 0\.\.1"),
        (
            lambda env: TabularPrefixRollin(env, "trajectory", steps=1),
            "a policy of state and generator .* got 'trajectory'",
        ),
        (lambda env: TabularPrefixRollin(env, steps=(2, 1)), "steps must be 0 <= low <= high"),
        (lambda env: TabularPrefixRollin(env, steps=0.5), "steps must be one whole number or two"),
    ],
)
def test_arguments_about_texts_are_refused(wrap, message):
    with pytest.raises(ConfigError, match=message):
        wrap(tree())


def test_states_that_cannot_be_starts_are_refused():
    for state, message in (
        (14, "which is terminal"),
        (99, r"must be in 0\.\.14"),
        ("0", "integer"),
    ):
        with pytest.raises(StateError, match=message):
            TabularResetToState(tree(), [state])
    with pytest.raises(StateError, match="at least one state, got none"):
        TabularResetToState(tree(), [()])
    env = TabularResetToState(tree(), [(0, 5)], cut=lambda chain, rng: 2)
    with pytest.raises(ConfigError, match=r"must return an index in 0\.\.1, got 2"):
        env.reset(seed=0)
    with pytest.raises(ConfigError, match="must be a state or starts, got both"):
        tree().reset(options={"state": 1, "starts": ()})
