"""A LoRA adapter: updates send only the adapter, and samples never use an old one."""

import pytest
import torch

from reason_env.agents.engines import Context, EngineConfig, SamplingConfig, build_engine
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.policy import LanguageModelPolicy, LoraConfig
from reason_env.agents.policy.load import load_model
from reason_env.agents.train import TrainConfig, build_session, iterate, prepare
from reason_env.env import EnvConfig

pytestmark = pytest.mark.vllm


def test_an_update_sends_only_the_adapter_and_samples_use_it():
    peft = pytest.importorskip("peft")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    model, codec = load_model("base")
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = peft.get_peft_model(
            model,
            peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj", "up_proj", "down_proj"]),
        )
        engine = build_engine(
            EngineConfig(kind="vllm"),
            model,
            vocab_size=codec.vocab_size,
            context_length=512,
            max_batch_size=32,
        )
        policy = LanguageModelPolicy(model, codec, engine=engine)
        ids = codec.encode("start: 12, 40, 7\nops: a*3 b+9 c-2 a+b a*c b*b\n" * 3)[:100]
        asked = [Context(token_ids=ids, num_samples=8, max_new_tokens=16)]
        try:
            seen = set()
            for update in range(3):
                found = policy.sample(asked, SamplingConfig(), seed=1)
                scored = policy.score(
                    [ids] * 8, [item.token_ids for item in found[0]], SamplingConfig()
                )
                gaps = [
                    abs(a - b)
                    for own, item in zip(scored, found[0], strict=True)
                    for a, b in zip(own, item.log_probs, strict=True)
                ]
                assert max(gaps) <= 1e-3, f"after update {update}"
                seen.add(found[0][0].log_probs)
                with torch.no_grad():
                    for name, item in model.named_parameters():
                        if "lora_B" in name:
                            item.add_(torch.randn_like(item) * 0.1)
            assert len(seen) == 3
            # The base was written and loaded once; the adapter three times.
            assert (engine.files.num_written, engine.files.num_adapters) == (1, 3)
            assert (engine.num_weight_updates, engine.num_restarts) == (0, 0)
        finally:
            engine.close()
            torch.set_num_threads(before)


def test_a_run_with_lora_sends_its_adapter_after_each_update():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    config = TrainConfig(
        method=GRPOConfig(group_size=4),
        env=EnvConfig(levels=(2, 3), max_tokens=48),
        eval=EvalConfig(num_problems=2, samples=1, k=1, greedy=False),
        learner=LearnerConfig(learning_rate=5e-3),
        problems_per_iteration=4,
        lora=LoraConfig(rank=4, alpha=7, use_rslora=True),
        engine=EngineConfig(kind="vllm", kv_cache_gb=0.25),
    )
    session = build_session(config)
    engine = session.policy.engine
    try:
        prepare(session)
        rows = [iterate(session).metrics for _ in range(3)]
        assert [row["update/num_updates_total"] for row in rows] == [1, 2, 3]
        # Stale or wrongly scaled adapters would be far off at this rate.
        assert all(row["rollout/mismatch_mean"] < 1e-4 for row in rows)
        # The third update has not been sampled from.
        assert (engine.files.num_written, engine.files.num_adapters) == (1, 3)
        assert (engine.num_weight_updates, engine.num_restarts) == (0, 0)
    finally:
        engine.close()
        torch.set_num_threads(before)
