"""The local engine with the real vLLM: against torch, under weight updates, killed and closed.

The tests share one engine, because each start takes seconds; every test restores the weights.
"""

import os
import signal
import threading
import time

import gymnasium as gym
import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

import reason_env  # noqa: F401 - registers the ids
from reason_env.agents.engines import Context, EngineConfig, SamplingConfig
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout import Start, collect, initial_states

pytestmark = pytest.mark.vllm
GREEDY = SamplingConfig(temperature=0)
EOS, NEWLINE = 257, 10


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def policy():
    made = LanguageModelPolicy.load("base", engine=EngineConfig(kind="vllm"), max_batch_size=128)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def torch_policy():
    return LanguageModelPolicy.load("base")


def qwen_model():
    """A random Qwen3 of 10 M parameters whose embedding is padded beyond the codec's ids."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=320,
                hidden_size=320,
                intermediate_size=960,
                num_hidden_layers=8,
                num_attention_heads=5,
                num_key_value_heads=5,
                head_dim=64,
                max_position_embeddings=512,
                tie_word_embeddings=False,
                bos_token_id=None,
                eos_token_id=None,
            )
        )
    assert 9e6 < sum(item.numel() for item in model.parameters()) < 12e6
    # Sharper than at initialisation, so that greedy choices have no near ties.
    with torch.no_grad():
        model.lm_head.weight *= 20
    return model


def questions(codec, count, *, split="test"):
    env = make_env(codec, split=split)
    problems = list(env.unwrapped.problems)[:count]
    return [codec.encode(problem.question + "\n>") for problem in problems]


def make_env(codec, *, split="test"):
    return gym.make(
        "MathReason-v0",
        problems="chain",
        split=split,
        format="tokens",
        granularity="response",
        codec=codec,
    )


def contexts(codec, count, *, samples=1, new=96):
    return [
        Context(token_ids=ids, num_samples=samples, max_new_tokens=new)
        for ids in questions(codec, count)
    ]


def largest_gap(policy, asked, found, sampling):
    pairs = [
        (context.token_ids, item) for context, own in zip(asked, found, strict=True) for item in own
    ]
    scored = policy.score([ids for ids, _ in pairs], [c.token_ids for _, c in pairs], sampling)
    return max(
        abs(a - b)
        for numbers, (_, item) in zip(scored, pairs, strict=True)
        for a, b in zip(numbers, item.log_probs, strict=True)
        if a > -1e30
    )


def assert_greedy_agrees(policy, torch_policy, asked):
    ours = [own[0] for own in policy.sample(asked, GREEDY, seed=0)]
    theirs = [own[0] for own in torch_policy.sample(asked, GREEDY, seed=0)]
    pairs = [
        (a, b)
        for x, y in zip(ours, theirs, strict=True)
        for a, b in zip(x.token_ids, y.token_ids, strict=False)
    ]
    total = sum(max(len(x.token_ids), len(y.token_ids)) for x, y in zip(ours, theirs, strict=True))
    equal = sum(a == b for a, b in pairs) / total
    gaps = [
        abs(a - b)
        for x, y in zip(ours, theirs, strict=True)
        if x.token_ids == y.token_ids
        for a, b in zip(x.log_probs, y.log_probs, strict=True)
    ]
    assert equal >= 0.99, f"{equal:.4f} of {total} tokens are equal"
    assert max(gaps) <= 1e-3, f"largest difference {max(gaps):.2e}"
    return equal, total, max(gaps)


def test_greedy_samples_of_200_prompts_are_the_torch_engines(policy, torch_policy, record_property):
    asked = contexts(policy.codec, 200)
    equal, total, gap = assert_greedy_agrees(policy, torch_policy, asked)
    record_property("greedy", f"{equal:.4f} of {total} tokens, gap {gap:.1e}")


def test_a_padded_qwen_of_10_m_parameters_agrees_and_never_samples_a_padded_id():
    model = qwen_model()
    codec = LanguageModelPolicy.load("base").codec
    from reason_env.agents.engines import build_engine

    engine = build_engine(
        EngineConfig(kind="vllm"), model, vocab_size=258, context_length=512, max_batch_size=64
    )
    own = LanguageModelPolicy(model, codec, engine=engine)
    other = LanguageModelPolicy(model, codec)
    try:
        assert_greedy_agrees(own, other, contexts(codec, 40, new=24))
        asked = contexts(codec, 12, samples=4, new=32)
        found = own.sample(asked, SamplingConfig(), seed=1, stop_ids=())
        assert max(token for one in found for item in one for token in item.token_ids) < 258
        assert largest_gap(own, asked, found, SamplingConfig()) <= 1e-3
    finally:
        engine.close()


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingConfig(),
        SamplingConfig(temperature=0.6),
        SamplingConfig(temperature=1.3, top_k=5),
        SamplingConfig(temperature=0.8, top_p=0.9, top_k=20),
    ],
)
def test_log_probs_are_of_the_distribution_that_was_sampled_from(policy, sampling):
    asked = contexts(policy.codec, 16, samples=4)
    found = policy.sample(asked, sampling, seed=3)
    assert largest_gap(policy, asked, found, sampling) <= 1e-3
    assert len({item.token_ids for own in found for item in own}) > 16


def test_equal_seeds_give_equal_samples_and_frequencies_are_the_models(policy):
    asked = [Context(token_ids=questions(policy.codec, 1)[0], num_samples=400, max_new_tokens=1)]
    first = policy.sample(asked, SamplingConfig(temperature=2.0), seed=4)[0]
    assert policy.sample(asked, SamplingConfig(temperature=2.0), seed=4)[0] == first
    assert policy.sample(asked, SamplingConfig(temperature=2.0), seed=5)[0] != first
    # Draws agree with the probabilities that come with them: chi-square over the likely tokens.
    counts, probs = {}, {}
    for item in first:
        counts[item.token_ids] = counts.get(item.token_ids, 0) + 1
        probs[item.token_ids] = 2.718281828459045 ** item.log_probs[0]
    likely = [ids for ids in counts if 400 * probs[ids] >= 4]
    assert len(likely) >= 3
    chi_square = sum((counts[ids] - 400 * probs[ids]) ** 2 / (400 * probs[ids]) for ids in likely)
    assert chi_square < 3 * len(likely)


def test_a_stop_at_a_step_boundary_keeps_the_delimiters_token(policy):
    asked = contexts(policy.codec, 8)
    found = policy.sample(asked, GREEDY, seed=0, stop_ids=(NEWLINE, EOS))
    assert all(own[0].is_finished for own in found)
    assert all(own[0].token_ids[-1] == NEWLINE for own in found)
    assert all(NEWLINE not in own[0].token_ids[:-1] for own in found)
    assert all(len(own[0].log_probs) == len(own[0].token_ids) for own in found)
    whole = policy.sample(asked, GREEDY, seed=0)
    for short, long in zip(found, whole, strict=True):
        assert long[0].token_ids[: len(short[0].token_ids)] == short[0].token_ids
    cut = [Context(token_ids=c.token_ids, num_samples=1, max_new_tokens=2) for c in asked]
    assert not any(own[0].is_finished for own in policy.sample(cut, GREEDY, seed=0))


def test_shared_prefixes_are_computed_and_counted_once(policy):
    ids = (50, 51, 52, 43) * 40  # 160 tokens: five blocks of 32
    asked = [Context(token_ids=ids, num_samples=6, max_new_tokens=2)]
    engine = policy.engine
    prefilled, reused = engine.num_prefill_tokens, engine.num_reused_tokens
    policy.sample(asked, SamplingConfig(), seed=0)
    # The last block is always run again, to have the logits after it.
    assert engine.num_prefill_tokens - prefilled == 160 + 5 * 32
    assert engine.num_reused_tokens - reused == 5 * 4 * 32
    # In the next call all six read what the last one computed.
    policy.sample(asked, SamplingConfig(), seed=1)
    assert engine.num_prefill_tokens - prefilled == 160 + (5 + 6) * 32
    assert engine.num_reused_tokens - reused == (5 + 6) * 4 * 32


class Nudged:
    """Changes the weights inside the block."""

    def __init__(self, model, size=0.05):
        self.model, self.size = model, size

    def __enter__(self):
        self.saved = {name: item.clone() for name, item in self.model.state_dict().items()}
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for item in self.model.parameters():
                item.add_(self.size * torch.randn(item.shape, generator=generator))

    def __exit__(self, *error):
        self.model.load_state_dict(self.saved)


def test_a_changed_weight_changes_the_next_samples_log_probs_on_cached_prefixes(policy):
    ids = questions(policy.codec, 1)[0] * 8
    asked = [Context(token_ids=ids[:200], num_samples=2, max_new_tokens=16)]
    policy.sample(asked, SamplingConfig(), seed=0)
    with Nudged(policy.model):
        found = policy.sample(asked, SamplingConfig(), seed=1)
        gap = largest_gap(policy, asked, found, SamplingConfig())
    policy.sample(asked, SamplingConfig(), seed=0)
    assert gap <= 1e-3


def test_kill_9_while_sampling_changes_no_trajectory_and_no_count(policy):
    env = make_env(policy.codec)
    ids = [problem.problem_id for problem in env.unwrapped.problems][:24]
    starts = [
        Start(state=state, num_samples=8, learn_from=state, group=str(index))
        for index, state in enumerate(initial_states(env, ids, seed=0))
    ]

    def rollout():
        before = policy.engine.num_sampled_tokens
        found = collect(starts, env=env, policy=policy, sampling=SamplingConfig(), seed=7)
        counted = sum(item.num_sampled_tokens for item in found.trajectories)
        assert policy.engine.num_sampled_tokens - before == counted
        return found.trajectories

    whole = rollout()
    began = time.monotonic()
    rollout()
    usual_s = time.monotonic() - began
    pid, group = policy.engine.backend.engine_pid, policy.engine.backend.group
    restarts = policy.engine.num_restarts
    threading.Timer(usual_s / 4, os.kill, (pid, signal.SIGKILL)).start()
    again = rollout()
    assert policy.engine.num_restarts == restarts + 1
    assert len(again) == len(whole) == 24 * 8
    assert [item.final_state for item in again] == [item.final_state for item in whole]
    assert policy.engine.backend.group != group


def test_closing_leaves_no_process_and_no_file():
    policy = LanguageModelPolicy.load("base", engine=EngineConfig(kind="vllm"))
    policy.sample(contexts(policy.codec, 1), GREEDY, seed=0)
    pid, root = policy.engine.backend.engine_pid, policy.engine.files.root
    os.kill(pid, 0)
    policy.engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not root.exists()
