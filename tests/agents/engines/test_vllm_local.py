import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reason_env.agents.engines import Context, EngineConfig, SamplingConfig
from reason_env.agents.engines.vllm.engine import VLLMEngine
from reason_env.agents.engines.vllm.local import LocalBackend
from reason_env.agents.engines.vllm.settings import ModelFacts
from reason_env.agents.engines.vllm.weights import Weights
from reason_env.errors import ConfigError, EngineError, ModelError

HOST = Path(__file__).with_name("fake_vllm_host.py")
FACTS = ModelFacts(dtype="float32", vocab_size=8, context_length=32, max_batch_size=4, is_cpu=True)
CONTEXTS = [
    Context(token_ids=(3, 4, 5), num_samples=3, max_new_tokens=6),
    Context(token_ids=(7,), num_samples=2, max_new_tokens=5),
]
NUM_TOKENS = 3 * 6 + 2 * 5
PREFILLED = 7
"""What the stand-in counts in a call."""
REUSED = 3 * 3 + 2 * 1 - PREFILLED


class FakeFiles:
    """Weights whose version a test sets."""

    def __init__(self, folder):
        self.folder, self.number = folder, 1

    def current(self):
        return Weights(directory=self.folder / f"w{self.number}", version=f"v{self.number}")

    def drop_old(self):
        pass

    def close(self):
        pass


@pytest.fixture
def engine(tmp_path):
    made = []

    def make(**numbers):
        config = EngineConfig(kind="vllm", **({"deadline_s": 60.0} | numbers))
        command = [sys.executable, "-S", "-E", str(HOST), str(tmp_path)]
        backend = LocalBackend(config, FACTS, command=command)
        model = torch.nn.Linear(2, 2)
        engine = VLLMEngine(model, backend, config, vocab_size=8, context_length=32)
        engine.files.close()
        engine.files = FakeFiles(tmp_path)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()


def sample(engine, *, seed=5, contexts=CONTEXTS):
    return engine.sample(contexts, SamplingConfig(), seed=seed, stop_ids=(2,))


def asked(folder):
    return [json.loads(line) for line in (folder / "asked").read_text().splitlines()]


def left_in(group):
    """Live processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(session) == group and state != "Z":
            found.append(path.parent.name)
    return found


def gone(group, within_s=20.0):
    until = time.monotonic() + within_s
    while left_in(group):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_requests_hold_token_ids_and_equal_seeds_repeat_the_samples(engine, tmp_path):
    own = engine()
    first = sample(own)
    assert [len(completions) for completions in first] == [3, 2]
    assert [len(item.token_ids) for own_ in first for item in own_] == [6, 6, 6, 5, 5]
    assert (own.num_prefill_tokens, own.num_reused_tokens) == (PREFILLED, REUSED)
    assert (own.num_sampled_tokens, own.num_restarts) == (NUM_TOKENS, 0)
    assert sample(own) == first
    assert sample(own, seed=6) != first
    start, generate = asked(tmp_path)[:2]
    assert start["arguments"]["logprobs_mode"] == "processed_logprobs"
    assert [item["token_ids"] for item in generate["requests"]] == [[3, 4, 5], [7]]
    assert generate["adapter"] is None


def test_killing_the_process_while_it_samples_only_adds_a_restart(engine, tmp_path):
    own = engine()
    whole = sample(own)
    (tmp_path / "hang").touch()
    first_group, pid = own.backend.group, own.backend.engine_pid

    def kill_while_sampling():
        while (tmp_path / "hang").exists():
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_while_sampling)
    killer.start()
    began = time.monotonic()
    assert sample(own) == whole
    killer.join()
    assert time.monotonic() - began < 30
    assert (own.num_prefill_tokens, own.num_reused_tokens) == (2 * PREFILLED, 2 * REUSED)
    assert own.num_sampled_tokens == 2 * NUM_TOKENS
    assert own.num_restarts == 1
    assert gone(first_group)
    assert own.backend.group != first_group


def test_a_process_that_dies_by_itself_is_started_again(engine, tmp_path, caplog):
    own = engine()
    (tmp_path / "die").touch()
    sample(own)
    assert (own.num_sampled_tokens, own.num_restarts) == (NUM_TOKENS, 1)
    assert "out of memory, I believe" in caplog.text


def test_the_deadline_detects_a_process_that_hangs(engine, tmp_path):
    own = engine(deadline_s=1.0)
    (tmp_path / "hang").touch()
    began = time.monotonic()
    sample(own)
    assert time.monotonic() - began >= 1.0
    assert (own.num_sampled_tokens, own.num_restarts) == (NUM_TOKENS, 1)


def test_a_start_over_its_deadline_counts_as_a_failure(engine):
    own = engine(start_s=1e-6, max_restarts=1)
    with pytest.raises(EngineError, match=r"within 1 restarts, got 2 failures: .*'start' before"):
        sample(own)


def test_restarts_are_limited_and_a_failed_call_counts_no_tokens(engine, tmp_path):
    own = engine(max_restarts=0)
    (tmp_path / "die").touch()
    with pytest.raises(
        EngineError, match="within 0 restarts, got 1 failures: the engine died during 'gene"
    ):
        sample(own)
    assert (own.num_sampled_tokens, own.num_prefill_tokens, own.num_restarts) == (0, 0, 0)
    sample(own)
    assert own.num_sampled_tokens == NUM_TOKENS


def test_a_model_that_vllm_refuses_ends_the_run_at_once(engine, tmp_path):
    (tmp_path / "refuse").touch()
    own = engine()
    with pytest.raises(EngineError, match=r"must start .* got ValueError: no such model"):
        sample(own)
    assert len(asked(tmp_path)) == 1


def test_new_weights_are_loaded_into_the_running_engine(engine, tmp_path):
    own = engine()
    sample(own)
    own.files.number = 2
    sample(own)
    sample(own)
    loads = [item for item in asked(tmp_path) if item["op"] == "load"]
    assert [item["version"] for item in loads] == ["v2"]
    assert loads[0]["directory"].endswith("w2")
    assert (own.num_weight_updates, own.num_restarts) == (1, 0)


def test_samples_from_old_weights_are_rejected(engine, tmp_path):
    own = engine(max_restarts=0)
    sample(own)
    own.files.number = 2
    (tmp_path / "stale").touch()
    with pytest.raises(EngineError, match=r"sampled from weights \('v1',\), not from 'v2'"):
        sample(own)


def test_close_leaves_no_process_and_may_be_called_twice(engine):
    own = engine()
    sample(own)
    group = own.backend.group
    assert left_in(group)
    own.close()
    # Everything is killed by now; the system may need a moment to reap a grandchild.
    assert gone(group, within_s=5.0)
    own.close()
    assert own.backend.group is None


def test_a_garbage_collected_engine_leaves_no_process(tmp_path):
    config = EngineConfig(kind="vllm")
    command = [sys.executable, "-S", "-E", str(HOST), str(tmp_path)]
    forgotten = VLLMEngine(
        torch.nn.Linear(2, 2),
        LocalBackend(config, FACTS, command=command),
        config,
        vocab_size=8,
        context_length=32,
    )
    forgotten.files.close()
    forgotten.files = FakeFiles(tmp_path)
    sample(forgotten)
    group = forgotten.backend.group
    del forgotten
    assert gone(group)


def test_a_trainer_that_is_killed_takes_its_engine_with_it():
    program = """
    import sys, time
    from reason_env.agents.engines.vllm.process import EngineProcess
    sleeps = "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', "
    sleeps += "'import time; time.sleep(600)'])"
    process = EngineProcess([sys.executable, "-S", "-c", sleeps], environment={})
    print(process.group, flush=True)
    time.sleep(600)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    ) as trainer:
        group = int(trainer.stdout.readline())
        until = time.monotonic() + 20
        while len(left_in(group)) < 3 and time.monotonic() < until:
            time.sleep(0.02)
        assert len(left_in(group)) == 3  # the guard, the command and its child
        trainer.kill()
    assert gone(group)


def test_a_context_that_keeps_entropies_is_refused_before_the_start(engine, tmp_path):
    contexts = [CONTEXTS[0], replace(CONTEXTS[1], keeps_entropies=True)]
    with pytest.raises(ConfigError, match="no entropies with vLLM, got 1 of 2 that do"):
        sample(engine(), contexts=contexts)
    assert not (tmp_path / "asked").exists()


def test_an_empty_call_sends_no_request_and_a_long_context_is_refused_before_the_start(
    engine, tmp_path
):
    own = engine(max_context_tokens=9)
    assert sample(own, contexts=[]) == []
    longer = Context(token_ids=(3, 4, 5, 6), num_samples=1, max_new_tokens=6)
    with pytest.raises(ModelError, match=r"must fit 9 tokens, got 10; raise engine\.max_context"):
        sample(own, contexts=[longer])
    assert not (tmp_path / "asked").exists()
