import importlib.util
import sys
import time
from pathlib import Path

import pytest
import torch

from reason_env.agents.engines import Context, EngineConfig, SamplingConfig
from reason_env.agents.engines.vllm import server as vllm_server
from reason_env.agents.engines.vllm.engine import VLLMEngine
from reason_env.agents.engines.vllm.requests import EngineFailure, request_seed
from reason_env.agents.engines.vllm.server import ServerBackend
from reason_env.agents.engines.vllm.settings import ModelFacts
from reason_env.agents.engines.vllm.weights import Weights
from reason_env.errors import ConfigError, EngineError

# Loaded by its path, because test folders are not packages.
_spec = importlib.util.spec_from_file_location(
    "fake_vllm_server", Path(__file__).with_name("fake_vllm_server.py")
)
fake_vllm_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_vllm_server)
Fake = fake_vllm_server.Fake
FACTS = ModelFacts(dtype="float32", vocab_size=8, context_length=32, max_batch_size=4, is_cpu=False)
CONTEXTS = [
    Context(token_ids=(3, 4, 5), num_samples=3, max_new_tokens=6),
    Context(token_ids=(7,), num_samples=2, max_new_tokens=5),
]


class FakeFiles:
    def __init__(self, folder):
        self.folder, self.number, self.adapter = folder, 1, 0

    def current(self):
        return Weights(
            directory=self.folder / f"w{self.number}",
            version=f"v{self.number}",
            adapter=self.folder / f"a{self.adapter}" if self.adapter else None,
            adapter_number=self.adapter,
        )

    def drop_old(self):
        pass

    def close(self):
        pass


@pytest.fixture
def server():
    fake = Fake()
    yield fake
    fake.close()


@pytest.fixture
def engine(server, tmp_path, monkeypatch):
    monkeypatch.setattr(vllm_server, "POLL_S", 0.01)

    def make(**numbers):
        config = EngineConfig(
            kind="vllm_server",
            server_url=server.url + "/",
            sync_dir=str(tmp_path),
            **({"start_s": 20.0} | numbers),
        )
        made = VLLMEngine(
            torch.nn.Linear(2, 2),
            ServerBackend(config, FACTS),
            config,
            vocab_size=8,
            context_length=32,
        )
        made.files.close()
        made.files = FakeFiles(tmp_path)
        return made

    return make


def sample(engine, *, seed=5):
    return engine.sample(CONTEXTS, SamplingConfig(top_k=4), seed=seed, stop_ids=(2,))


def test_requests_and_replies_carry_token_ids_and_samples_keep_their_order(
    engine, server, tmp_path
):
    own = engine()
    first, second = sample(own)
    seed = request_seed(5, 0)
    expected = [tuple(3 + (seed + index + place) % 5 for place in range(6)) for index in range(3)]
    assert [item.token_ids for item in first] == expected
    assert first[0].log_probs == tuple(-token / 4 for token in first[0].token_ids)
    assert [len(item.token_ids) for item in second] == [5, 5]
    assert (own.num_sampled_tokens, own.num_prefill_tokens) == (28, 4)
    assert server.weights == str(tmp_path / "w1")
    assert (server.version, server.resets) == ("v1", 1)
    bodies = [body for path, body in server.asked if path == "/inference/v1/generate"]
    assert sorted(body["token_ids"] for body in bodies) == [[3, 4, 5], [7]]
    assert {body["model"] for body in bodies} == {"policy"}
    assert bodies[0]["sampling_params"]["top_k"] == 4


def test_new_weights_are_loaded_before_the_cache_is_emptied_and_the_version_set(
    engine, server, tmp_path
):
    own = engine()
    sample(own)
    server.asked.clear()
    own.files.number = 2
    sample(own)
    paths = [path for path, _ in server.asked]
    assert paths[:3] == ["/collective_rpc", "/reset_prefix_cache", "/update_weight_version"]
    assert server.asked[0][1] == {
        "method": "reload_weights",
        "kwargs": {"weights_path": str(tmp_path / "w2")},
    }
    server.asked.clear()
    sample(own)
    assert {path for path, _ in server.asked} == {"/inference/v1/generate"}


def test_a_server_that_restarted_between_two_calls_gets_the_weights_again(engine, server, tmp_path):
    own = engine()
    whole = sample(own)
    server.drop()
    assert sample(own) == whole
    assert server.weights == str(tmp_path / "w1")
    assert (own.num_restarts, own.num_sampled_tokens) == (1, 56)


def test_after_a_failure_the_trainer_waits_for_the_server_and_repeats_the_call(engine, server):
    own = engine()
    whole = sample(own)
    server.fail = {"/inference/v1/generate": [500], "/health": [503, 503]}
    assert sample(own) == whole
    assert (own.num_restarts, own.num_sampled_tokens) == (1, 56)


def test_a_server_that_stays_broken_ends_the_run_with_its_answer(engine, server):
    own = engine(max_restarts=1)
    server.fail = {"/inference/v1/generate": [500] * 8}
    with pytest.raises(EngineError, match=r"1 restarts, got 2 failures: .*status 500: as the test"):
        sample(own)
    assert own.num_sampled_tokens == 0


def test_a_server_without_the_weight_endpoints_is_refused_with_the_remedy(engine, server):
    server.fail = {"/collective_rpc": [404]}
    with pytest.raises(EngineError, match=r"must accept /collective_rpc, .*VLLM_SERVER_DEV_MODE=1"):
        sample(engine())


def test_a_server_of_an_unknown_version_is_refused(engine, server):
    server.vllm = "0.19.1"
    with pytest.raises(
        ConfigError, match=r"one of the versions 0\.32\.x, 0\.33\.x, got '0\.19\.1'"
    ):
        sample(engine())


def test_a_cache_that_was_not_emptied_is_a_failure(engine, server):
    server.reset_succeeds = False
    with pytest.raises(EngineError, match="did not clear its prefix cache"):
        sample(engine(max_restarts=0))


def test_a_missing_server_is_reported_after_the_time_to_start(engine, server):
    own = engine(max_restarts=0, start_s=0.2)
    own.backend.config = EngineConfig(
        kind="vllm_server", server_url="http://127.0.0.1:9", sync_dir="x", start_s=0.2
    )
    with pytest.raises(
        EngineError, match=r"no healthy server at http://127\.0\.0\.1:9 within 0\.2"
    ):
        sample(own)


def test_the_deadline_ends_the_wait_for_an_answer(engine, server):
    own = engine(deadline_s=0.5, max_restarts=0)
    slow = server.change
    server.change = lambda answer: (time.sleep(1.5), slow(answer))[1]
    with pytest.raises(EngineError, match="no answer"):
        sample(own)


def test_a_server_that_sends_byte_after_byte_is_given_up_at_the_deadline(engine, server):
    own = engine(deadline_s=0.6, max_restarts=0)
    began = time.monotonic()
    server.pause_s = 0.05
    with pytest.raises(EngineError, match="the answer did not end before the deadline"):
        sample(own)
    assert time.monotonic() - began < 20
    # The same answers in time.
    server.pause_s = 0.0
    assert sample(engine()) == sample(engine())


def test_a_server_that_dies_within_its_answer_is_asked_again(engine, server):
    expected = sample(engine())
    server.cut = [100]
    own = engine(max_restarts=1)
    assert sample(own) == expected
    assert (own.num_restarts, server.cut) == (1, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {"error": "x"}, "cannot read"),
        (lambda a: a | {"choices": a["choices"][:1]}, "1 of 3 completions"),
        (lambda a: a | {"choices": [c | {"logprobs": None} for c in a["choices"]]}, "cannot read"),
        (lambda a: a | {"choices": [c | {"token_ids": [3]} for c in a["choices"]]}, "other tokens"),
        (lambda a: a | {"choices": [c | {"weight_versions": []} for c in a["choices"]]}, "weights"),
        (lambda a: [1], "not a JSON object|cannot read"),
    ],
)
def test_a_malformed_reply_is_a_failure(engine, server, change, message):
    server.change = change
    with pytest.raises(EngineError, match=message):
        sample(engine(max_restarts=0))


def test_an_adapter_is_loaded_by_a_new_name_and_the_old_one_is_unloaded(engine, server):
    own = engine()
    own.files.adapter = 1
    sample(own)
    sample(own)
    assert server.adapters == ["v1-adapter-1"]
    own.files.adapter = 2
    sample(own)
    assert server.adapters == ["v1-adapter-2"]
    names = [body["model"] for path, body in server.asked if path == "/inference/v1/generate"]
    assert names == ["v1-adapter-1"] * 4 + ["v1-adapter-2"] * 2
    # Only the first call loaded base weights.
    assert [path for path, _ in server.asked].count("/collective_rpc") == 1


def test_stopping_leaves_another_users_server_running(engine, server):
    own = engine()
    sample(own)
    own.close()
    assert own.backend.group is None
    assert server.get("/health")[0] == 200


def test_a_server_that_cannot_start_reports_the_end_of_its_log(tmp_path):
    config = EngineConfig(kind="vllm_server", start_s=20.0)
    backend = ServerBackend(
        config, FACTS, command=[sys.executable, "-S", "-c", "raise SystemExit('no such GPU')"]
    )
    with pytest.raises(EngineFailure, match="the server ended; end of its log: no such GPU"):
        backend.start(FakeFiles(tmp_path).current())
    backend.stop()
