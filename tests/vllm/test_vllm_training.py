"""Full iterations of every method with the local engine; compares its contexts token by token."""

import pytest
import torch

from reason_env.agents.engines import EngineConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import method_config
from reason_env.agents.train import TrainConfig, build_session, iterate, prepare
from reason_env.env import EnvConfig, reason_env_of

pytestmark = pytest.mark.vllm


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def shared_engine():
    """The engine that all tests share."""
    made = []
    yield made
    for engine in made:
        engine.close()


class RecordingEngine:
    """An engine that records its requests and completions."""

    def __init__(self, engine):
        self.engine, self.calls = engine, []

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def sample(self, contexts, sampling, *, seed, stop_ids):
        found = self.engine.sample(contexts, sampling, seed=seed, stop_ids=stop_ids)
        self.calls.append((list(contexts), found))
        return found


def config_of(name):
    sizes = {"group_size": 4, "hard_samples": 4, "probe_samples": 4}
    known = type(method_config(name)).__dataclass_fields__
    method = type(method_config(name))(
        kind=name, **{key: size for key, size in sizes.items() if key in known}
    )
    return TrainConfig(
        method=method,
        env=EnvConfig(size=8, levels=(8, 12)),
        eval=EvalConfig(num_problems=4, samples=2, k=1),
        learner=LearnerConfig(learning_rate=2e-4),
        problems_per_iteration=6,
        iterations=2,
        engine=EngineConfig(kind="vllm"),
    )


@pytest.mark.parametrize("name", ["grpo", "rrpo", "srpo", "pope", "lte", "expo"])
def test_each_methods_starts_reach_the_engine_token_by_token(name, shared_engine):
    session = build_session(config_of(name))
    if shared_engine:
        # One process for all methods: its next call loads the weights of this method's policy.
        session.policy.engine.close()
        shared_engine[0].rebind(session.policy.model)
    else:
        shared_engine.append(session.policy.engine)
    engine = shared_engine[0]
    recorder = session.policy.engine = RecordingEngine(engine)
    inner = reason_env_of(session.env)
    prepare(session)
    recorder.calls.clear()
    restarts = engine.num_restarts
    iteration = iterate(session)
    metrics, batch = iteration.metrics, iteration.batch
    # The context of a Start is its prompt and its response so far.
    asked = [
        (context.token_ids, completion.token_ids)
        for contexts, found in recorder.calls
        for context, own in zip(contexts, found, strict=True)
        for completion in own
    ]
    for item in batch.trajectories:
        state = item.start.state
        prompt = inner.prompt.token_ids(state)
        assert item.prompt_ids == prompt
        tokens = item.completion_ids[: len(item.behavior_log_probs)]
        assert any(
            ids == prompt + state.response and sampled[: len(tokens)] == tokens
            for ids, sampled in asked
        )
        assert item.final_state.response[: len(state.response)] == state.response
    assert sum(len(ids) for _, ids in asked) == metrics["rollout/sampled_tokens"]
    assert metrics["rollout/mismatch_max"] <= 1e-3
    assert metrics["rollout/mismatch_alarm"] == 0
    assert metrics["rollout/engine_restarts"] == engine.num_restarts - restarts == 0
    roles = {item.start.role for item in batch.trajectories}
    expected = {
        "grpo": {"base"},
        "rrpo": {"base", "reset"},
        "srpo": {"base", "reset"},
        "pope": {"base"},
        "lte": {"base"},
        "expo": {"base", "explanation"},
    }[name]
    assert expected <= roles
