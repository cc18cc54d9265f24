"""AdaBack: GRPO in an environment whose wrapper searches how much of the reference suffices."""

import json
import zlib

import numpy as np
import pytest

from reason_env.agents.engines import SamplingConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import AdvantageConfig, LearnerConfig
from reason_env.agents.methods import AdaBackConfig, build_method, method_config
from reason_env.agents.rollout import collect, initial_starts
from reason_env.agents.runs import CheckpointConfig
from reason_env.agents.scripted import ScriptedPolicy
from reason_env.agents.train import TrainConfig, build_session, prepare
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig, layers_of
from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem
from reason_env.state import ReasonState, steps_of_fraction
from reason_env.wrappers import PrefixRollin

CODEC = ByteCodec()
CONFIG = AdaBackConfig(group_size=2, threshold=0.5, advantage=AdvantageConfig(kind="mean"))
SOLUTION = [f"step {number}" for number in range(16)]
LINES = json.dumps({"question": "6!=?", "answer": "720", "solution": SOLUTION})
RIGHT, WRONG = "#### 720$", "#### 9$"


class Episodes(ScriptedPolicy):
    """Gives each context the same completions."""

    def __init__(self, *texts):
        super().__init__({})
        self.texts = texts

    def sample(self, contexts, sampling, *, seed, stop_ids=None):
        for context in contexts:
            text = CODEC.decode(context.token_ids)
            self.script[text], self._used[text] = self.texts, 0
        return super().sample(contexts, sampling, seed=seed, stop_ids=stop_ids)


@pytest.fixture
def env(tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_text(LINES)
    config = EnvConfig(problems=str(path), max_tokens=160)
    return config.make(CODEC, CONFIG.wrappers)


def iteration(env, method, *texts):
    """One iteration without the update; gives the start and the training samples."""
    (name,) = (problem.problem_id for problem in env.unwrapped.problems)
    drawn = initial_starts(env, [name], seed=0)
    starts = method.plan([one.state for one in drawn], np.random.default_rng(0))
    batch = collect(
        starts,
        env=env,
        policy=Episodes(*texts),
        sampling=SamplingConfig(),
        seed=0,
        drawn=drawn,
    )
    return starts[0].state, method.training_samples(batch.groups, np.random.default_rng(0))


def test_prefixes_shrink_after_solved_groups_and_grow_after_others(env):
    method = build_method(CONFIG)
    (problem,) = env.unwrapped.problems
    draws = [
        float(np.random.default_rng((0, zlib.crc32(problem.problem_id.encode()), n)).random())
        for n in range(3)
    ]
    first = draws[0]
    above = first + (1 - first) * draws[1]
    below = above * draws[2]
    kept: list[int] = []
    # None right: above the first share. Half right is solved: below the second.
    for texts in ((WRONG, WRONG), (RIGHT, WRONG), (RIGHT, RIGHT)):
        state, _ = iteration(env, method, *texts)
        kept.append(state.num_steps)
        assert state.steps == tuple(f"{step}\n" for step in SOLUTION[: kept[-1]])
        assert set(state.sources) == {"reference"}
    assert kept == [steps_of_fraction(share, 16) for share in (first, above, below)]
    assert len(set(kept)) == 3


def test_the_prefix_is_masked_and_the_group_compared_with_itself(env):
    method = build_method(CONFIG)
    iteration(env, method, WRONG, WRONG)
    state, samples = iteration(env, method, RIGHT, WRONG)
    known = len(state.response)
    assert known > 0
    assert [(sample.role, sample.advantage) for sample in samples] == [
        ("base", 0.5),
        ("base", -0.5),
    ]
    for sample, text in zip(samples, (RIGHT, WRONG), strict=True):
        assert sample.action_mask == (False,) * known + (True,) * len(text)
        assert sample.token_ids[:known] == state.response


def test_the_wrapper_has_the_method_s_numbers_and_goes_around_the_run_s_stack():
    config = TrainConfig(method=AdaBackConfig(group_size=3, threshold=0.2), env=EnvConfig(size=4))
    outer = next(layers_of(build_session(config).env))
    assert isinstance(outer, PrefixRollin)
    assert (outer.schedule.kind, outer.schedule.samples) == ("stochastic_search", 3)
    assert outer.schedule.pass_rate == 0.2
    assert not TrainConfig(env=EnvConfig(size=4)).wrappers
    with_lte = TrainConfig(method=method_config("adaback+lte"), env=EnvConfig(size=4))
    assert isinstance(next(layers_of(build_session(with_lte).env)), PrefixRollin)


def test_a_run_resumes_with_its_shares(cut_and_resumed):
    config = TrainConfig(
        method=AdaBackConfig(group_size=4),
        env=EnvConfig(levels=(3, 4), size=4),
        eval=EvalConfig(num_problems=2, samples=1, k=1, greedy=False),
        learner=LearnerConfig(learning_rate=2e-4),
        checkpoint=CheckpointConfig(every=1),
        iterations=3,
        problems_per_iteration=4,
    )
    whole, again, rows = cut_and_resumed(config)
    memories = [next(layers_of(one.env)).memory()["schedule"] for one in (whole, again)]
    assert memories[0] == memories[1]
    assert [len(memories[0]), {own[2] for own in memories[0].values()}] == [4, {3}]
    assert len({row["rollout/pass_rate"] for row in rows if row["iteration"]}) > 1


def test_problems_without_a_solution_are_left_out():
    method = build_method(CONFIG)
    bare = Problem(problem_id="toy/train/1", question="1+1=?", answer="2")
    with pytest.raises(ProblemError, match="AdaBack must have problems with a reference solution"):
        method.prepare([ReasonState(problem=bare, codec=CODEC)], lambda starts: [])


def test_a_run_leaves_out_problems_whose_solution_fills_the_response():
    # Steps of 10 tokens: whole solutions have 20 to 50.
    env = EnvConfig(levels=(2, 5), size=8, max_tokens=31)
    session = build_session(TrainConfig(method=CONFIG, env=env))
    lengths = {one.problem_id: len(one.solution) for one in session.env.unwrapped.problems}
    short = [name for name, length in lengths.items() if length <= 3]
    assert 0 < len(short) < 8
    assert session.problem_ids == short
    prepare(session)
    assert session.problem_ids == short


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 1.5}, r"threshold must lie in 0..1, got 1.5"),
        ({"group_size": 1}, "group_size must be at least 2, got 1"),
    ],
)
def test_numbers_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        AdaBackConfig(**changes)
