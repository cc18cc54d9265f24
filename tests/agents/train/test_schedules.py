"""In training a schedule advances as it does in plain resets, by the episodes that ended."""

import copy
import operator

import gymnasium as gym
import pytest

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.engines import SamplingConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import GRPOConfig, POPEConfig, RRPOConfig
from reason_env.agents.train import TrainConfig, build_session, iterate, prepare
from reason_env.agents.train.collecting import collect_iteration
from reason_env.env import EnvConfig, layers_of
from reason_env.wrappers import (
    Curriculum,
    Hint,
    PrefixRollin,
    ResetToState,
    StartWrapper,
    stack_to_json,
)
from reason_env.wrappers.start import WatchingWrapper

SCHEDULES = {
    "constant": {"kind": "constant", "value": 0.5},
    "linear": {"kind": "linear", "episodes": 25},
    "cosine": {"kind": "cosine", "begin": 0.1, "end": 0.9, "episodes": 30},
    "reverse": {"kind": "reverse", "stages": 3, "window": 5, "pass_rate": 0.2},
    "binary_search": {"kind": "binary_search", "samples": 3, "pass_rate": 0.4},
    "shortest_helpful": {"kind": "shortest_helpful", "size": 4, "longest": 1.0, "samples": 3},
}
STACKS = {
    "of some episodes": lambda env: PrefixRollin(
        env, schedule=SCHEDULES["linear"], probability=0.5
    ),
    "in the prompt": lambda env: PrefixRollin(
        env, schedule=SCHEDULES["binary_search"], conditioning="prompt", probability=0.8
    ),
    "of own successes": lambda env: PrefixRollin(env, "trajectory", schedule=SCHEDULES["linear"]),
    "below wrappers that move the start": lambda env: ResetToState(
        Hint(
            PrefixRollin(env, schedule=SCHEDULES["linear"], probability=0.7),
            "mistakes",
            trigger="after_failure",
        ),
        keep="failures",
        probability=0.4,
    ),
    "around wrappers that move the start": lambda env: PrefixRollin(
        Hint(ResetToState(env, keep="all", probability=0.6), trigger=0.3),
        schedule=SCHEDULES["reverse"],
        probability=0.8,
    ),
    "two": lambda env: PrefixRollin(
        PrefixRollin(env, steps=(0, 2), schedule=SCHEDULES["linear"], probability=0.4),
        schedule=SCHEDULES["binary_search"],
        probability=0.6,
    ),
    "Curriculum": lambda env: Curriculum(
        PrefixRollin(env, schedule=SCHEDULES["cosine"], probability=0.6), memory=0.5
    ),
}


def bare(**changes):
    arguments = {"problems": "chain", "levels": (3, 4), "size": 4, "max_tokens": 80}
    return gym.make("MathReason-v0", **(arguments | changes))


def session_of(stack, **changes):
    arguments = {
        "method": GRPOConfig(group_size=3),
        "env": EnvConfig(stack=stack_to_json(stack)),
        "eval": EvalConfig(num_problems=1, samples=1, k=1, greedy=False),
        "learner": LearnerConfig(learning_rate=2e-4),
        # More than there are problems, so that some are drawn twice in an iteration.
        "problems_per_iteration": 6,
        "iterations": 4,
    }
    return build_session(TrainConfig(**(arguments | changes)))


def wrappers_of(env):
    return [layer for layer in layers_of(env) if isinstance(layer, WatchingWrapper)]


def plain_episode(env, problem, *, is_success):
    env.reset(options={"problem": problem.problem_id})
    start = env.unwrapped.state
    answer = problem.answer if is_success else "wrong"
    env.step(env.unwrapped.codec.encode(f"#### {answer}\n"))
    assert env.unwrapped.state.verdict.is_correct == is_success
    return start


@pytest.mark.parametrize("name", SCHEDULES)
def test_prefixes_in_training_are_those_of_plain_resets_after_as_many_episodes(name):
    # Hot enough that shortest_helpful finds no success at once.
    sampling = SamplingConfig(temperature=2.0 if name == "shortest_helpful" else 1.0)
    session = session_of(PrefixRollin(bare(), schedule=SCHEDULES[name]), sampling=sampling)
    outside = session.config.env.make(session.policy.codec)
    lengths = set()
    for _ in range(session.config.iterations):
        found = collected(session)
        for state in found.problems.states:
            outside.reset(options={"problem": state.problem.problem_id})
            assert outside.unwrapped.state == state
            lengths.add(len(state.step_ends))
        for item in found.batch.trajectories:
            plain_episode(outside, item.start.state.problem, is_success=item.is_success)
    assert len(lengths) > 2 or name == "constant"
    assert outside.memory()["schedule"] == session.env.memory()["schedule"]


def collected(session):
    session.iteration += 1
    return collect_iteration(session)


def memory_by_hand(wrapper, at, starts, trajectories, memory):
    """The memory of a wrapper after these episodes, from its memory before them."""
    for item in trajectories:
        problem, is_success = item.start.state.problem.problem_id, item.is_success
        final = item.final_state
        match wrapper:
            case PrefixRollin():
                if at(starts[item.start.draw].memories)["was_scheduled"]:
                    memory = wrapper.schedule.updated(memory, problem, is_success=is_success)
            case Hint():
                memory = memory | {problem: not is_success}
            case Curriculum():
                memory = memory | {problem: memory[problem] + 0.5 * (is_success - memory[problem])}
            case ResetToState():
                is_kept = wrapper.keep == "all" or not is_success
                memory = [*memory, final.without_guidance()] if is_kept else memory
    return memory


def memory_now(wrapper):
    match wrapper:
        case PrefixRollin():
            return wrapper.memory()["schedule"]
        case Hint():
            return wrapper.memory()["failed"]
        case Curriculum():
            return wrapper.pass_rates
        case ResetToState():
            return [chain.state for chain in wrapper.archive.chains]


@pytest.mark.parametrize("name", STACKS)
def test_each_wrapper_remembers_every_episode_of_training_once(name):
    session = session_of(STACKS[name](bare()))
    wrappers = wrappers_of(session.env)
    starting = [wrapper for wrapper in wrappers if isinstance(wrapper, StartWrapper)]
    begun = set()
    for _ in range(3):
        before = [copy.deepcopy(memory_now(wrapper)) for wrapper in wrappers]
        found = collected(session)
        starts, trajectories = found.problems.starts, found.batch.trajectories
        assert len(trajectories) == 18
        for wrapper, memory in zip(wrappers, before, strict=True):
            at = operator.itemgetter(starting.index(wrapper)) if wrapper in starting else None
            by_hand = memory_by_hand(wrapper, at, starts, trajectories, memory)
            assert memory_now(wrapper) == by_hand
        begun |= {known["was_scheduled"] for start in starts for known in start.memories
                  if "was_scheduled" in known}  # fmt: skip
    assert begun == ({True} if name == "of own successes" else {False, True})


def test_equal_starts_of_one_iteration_are_told_apart():
    schedule = {"kind": "linear", "begin": 0.0, "end": 0.0, "episodes": 9}
    stack = PrefixRollin(bare(size=1), schedule=schedule, probability=0.5)
    session = session_of(stack)
    found = collected(session)
    assert len(set(found.problems.states)) == 1
    outside = session.config.env.make(session.policy.codec)
    scheduled = []
    for at, state in enumerate(found.problems.states):
        seed = session.config.seed_of("starts", 1) if at == 0 else None
        outside.reset(seed=seed, options={"problem": state.problem.problem_id})
        scheduled.append(outside.memory()["was_scheduled"])
    assert len(scheduled) == 6
    assert 0 < sum(scheduled) < 6
    assert [start.memories[0]["was_scheduled"] for start in found.problems.starts] == scheduled
    assert session.env.memory()["schedule"]["episodes"] == 3 * sum(scheduled)


def test_a_successful_prefix_is_archived_in_training():
    session = session_of(STACKS["of own successes"](bare()))
    found = collected(session).batch.trajectories
    right = [item.final_state for item in found if item.is_success]
    assert right
    assert [chain.state for chain in session.env.archive.chains] == right


@pytest.mark.parametrize(
    ("method", "cpi", "moves_starts"),
    [
        (RRPOConfig(num_base=3, num_reset=2), None, True),
        (POPEConfig(group_size=2, hard_samples=2, probe_samples=1), None, True),
        (
            POPEConfig(group_size=2, hard_samples=2, probe_samples=1, search="first_draw"),
            None,
            True,
        ),
        (
            GRPOConfig(group_size=2),
            CPIConfig(estimator="response", num_restarts=3, samples=2, realised_problems=2),
            False,
        ),
        (
            RRPOConfig(num_base=3, num_reset=2),
            CPIConfig(estimator="step", num_restarts=3, samples=2, max_return=1.0),
            True,
        ),
    ],
)  # fmt: skip
def test_the_schedule_counts_the_episodes_at_its_starts_and_no_others(
    method, cpi, moves_starts, monkeypatch
):
    """Measurements are episodes too; starts that a method moved are not the schedule's."""
    schedule = {"kind": "linear", "begin": 0.4, "end": 0.1, "episodes": 500}
    session = session_of(PrefixRollin(bare(), schedule=schedule), method=method, cpi=cpi)
    made, episodes = set(), []
    real_reset, real_ended = PrefixRollin.reset, PrefixRollin.ended

    def reset(self, *, seed=None, options=None):
        found = real_reset(self, seed=seed, options=options)
        self.begun = self.unwrapped.state
        if "state" not in options:
            made.add(self.begun)
        return found

    def ended(self, state):
        episodes.append(self.begun in made)
        real_ended(self, state)

    monkeypatch.setattr(PrefixRollin, "reset", reset)
    monkeypatch.setattr(PrefixRollin, "ended", ended)
    prepare(session)
    iterate(session)
    assert session.env.memory()["schedule"]["episodes"] == sum(episodes) >= 10
    assert (False in episodes) == moves_starts
