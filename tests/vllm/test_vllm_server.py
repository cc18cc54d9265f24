"""vLLM's HTTP server, started here: token ids, weight updates, recovery and a clean end."""

import os
from pathlib import Path

import pytest
import torch

from reason_env.agents.engines import Context, EngineConfig, SamplingConfig
from reason_env.agents.policy import LanguageModelPolicy

pytestmark = pytest.mark.vllm


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def processes_of(session):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def gap(policy, asked, found):
    scored = policy.score(
        [context.token_ids for context, own in zip(asked, found, strict=True) for _ in own],
        [item.token_ids for own in found for item in own],
        SamplingConfig(),
    )
    sampled = [item.log_probs for own in found for item in own]
    return max(
        abs(a - b) for x, y in zip(scored, sampled, strict=True) for a, b in zip(x, y, strict=True)
    )


def test_a_server_samples_as_torch_does_takes_new_weights_and_survives_kill_9():
    policy = LanguageModelPolicy.load(
        "base", engine=EngineConfig(kind="vllm_server"), max_batch_size=32
    )
    try:
        ids = policy.codec.encode("start: 12, 40, 7\nops: a*3 b+9 c-2 a+b a*c b*b\n" * 2)
        asked = [
            Context(token_ids=ids[: 40 + index], num_samples=3, max_new_tokens=24)
            for index in range(6)
        ]
        greedy = SamplingConfig(temperature=0)
        ours = policy.sample(asked, greedy, seed=0)
        theirs = LanguageModelPolicy.load("base").sample(asked, greedy, seed=0)
        assert [[c.token_ids for c in own] for own in ours] == [
            [c.token_ids for c in own] for own in theirs
        ]
        first = policy.sample(asked, SamplingConfig(), seed=2)
        assert gap(policy, asked, first) <= 1e-3
        assert policy.sample(asked, SamplingConfig(), seed=2) == first
        engine = policy.engine
        assert 0 < engine.num_prefill_tokens < 5 * sum(3 * len(c.token_ids) for c in asked) / 2
        with torch.no_grad():
            for item in policy.model.parameters():
                item.mul_(1.05)
        second = policy.sample(asked, SamplingConfig(), seed=2)
        assert gap(policy, asked, second) <= 1e-3
        assert (engine.num_weight_updates, engine.num_restarts) == (1, 0)
        # Kill the engine core; the server's front end then reports an error or stops answering.
        group = engine.backend.group
        cores = [
            pid
            for pid in processes_of(group)
            if "EngineCore" in Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
        ]
        assert cores
        os.kill(cores[0], 9)
        counted = engine.num_sampled_tokens
        assert policy.sample(asked, SamplingConfig(), seed=2) == second
        assert engine.num_restarts == 1
        assert engine.num_sampled_tokens - counted == sum(
            len(item.token_ids) for own in second for item in own
        )
        assert processes_of(group) == []
    finally:
        group = policy.engine.backend.group
        policy.engine.close()
    assert processes_of(group) == []
