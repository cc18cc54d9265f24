import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from reason_env.agents.engines import SamplingConfig
from reason_env.agents.learning import (
    Learner,
    LearnerConfig,
    LossConfig,
    PairLearner,
    PairLossConfig,
)
from reason_env.agents.methods.reference import likelihood
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.policy import log_probs as log_probs_module
from reason_env.agents.policy import prefix_tree as tree_module
from reason_env.agents.policy.log_probs import projected_log_probs
from reason_env.agents.policy.prefix_tree import (
    num_distinct,
    prefix_tree,
    sorted_prefixes,
    split_by_distinct,
)
from reason_env.agents.policy.tree_model import PRODUCT_HEADS, tree_refusal
from reason_env.agents.rollout import TrainingSample
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError
from tests.agents.policy.test_policy import SIZES, tiny_model

ROWS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=7), min_size=1, max_size=9)


def padded(rows):
    lengths = np.array([len(row) for row in rows])
    # 1 is also a token: padding must not be taken for one.
    return np.array([row + [1] * (lengths.max() - len(row)) for row in rows]), lengths


def prefixes(rows):
    return {tuple(row[: end + 1]) for row in rows for end in range(len(row))}


@given(ROWS)
def test_the_tree_has_each_distinct_prefix_once(rows):
    ids, lengths = padded(rows)
    assert num_distinct(ids, lengths) == len(prefixes(rows))
    tree = prefix_tree(torch.from_numpy(ids), torch.from_numpy(lengths), dtype=torch.float32)
    assert tree.num_tokens == len(prefixes(rows))
    places = {}
    for row, own in zip(rows, tree.place_BT.tolist(), strict=True):
        for at, token in enumerate(row):
            assert places.setdefault(tuple(row[: at + 1]), own[at]) == own[at]
            assert (tree.token_ids_N[own[at]], tree.positions_N[own[at]]) == (token, at)
            assert tree.parent_N[own[at]] == own[max(at - 1, 0)]
    assert sorted(places.values()) == list(range(tree.num_tokens))


@given(ROWS)
def test_each_query_attends_to_the_tokens_of_its_row_up_to_itself(rows):
    ids, lengths = padded(rows)
    tree = prefix_tree(torch.from_numpy(ids), torch.from_numpy(lengths), dtype=torch.float32)
    seen = {}
    number = 0
    for part in tree.attention:
        width = part.key_bk.shape[1]
        causal = torch.full((width, width), -math.inf).triu(1)
        for row, queries in enumerate(part.query_bq.tolist()):
            bias = causal if part.bias_bqk is None else part.bias_bqk[row]
            for at in range(len(queries)):
                allowed = part.key_bk[row][bias[at] == 0].tolist()
                seen[number] = allowed
                number += 1
    for own in range(tree.num_tokens):
        path = [own]
        while tree.positions_N[path[-1]] > 0:
            path.append(int(tree.parent_N[path[-1]]))
        assert seen[int(tree.order_N[own])] == path[::-1]


@given(ROWS, st.integers(1, 20))
def test_parts_hold_each_row_once_and_at_most_the_budget(rows, budget):
    ids, lengths = padded(rows)
    parts = split_by_distinct(ids, lengths, budget)
    assert sorted(row for part in parts for row in part) == list(range(len(rows)))
    for part in parts:
        assert len(part) == 1 or len(prefixes([rows[row] for row in part])) <= budget


def test_sorting_compares_ids_as_numbers_not_as_their_bytes():
    order, shared = sorted_prefixes(np.array([[256, 7], [3, 9], [256, 1]]), np.array([2, 2, 2]))
    assert (order.tolist(), shared.tolist()) == ([1, 2, 0], [0, 0, 1])


def model_of(kind, dtype=torch.float32):
    if kind == "qwen2":
        with torch.random.fork_rng():
            torch.manual_seed(3)
            model = Qwen2ForCausalLM(Qwen2Config(**(SIZES | {"vocab_size": 270})))
            for weight in model.parameters():
                torch.nn.init.normal_(weight, std=0.25)
        return model.to(dtype)
    return tiny_model(kind, dtype=dtype)


class ExactNorm(torch.nn.Module):
    """transformers' norm rounds to float32, also in float64, which hides equality beyond 1e-7."""

    def __init__(self, norm):
        super().__init__()
        self.weight, self.eps = norm.weight, norm.variance_epsilon

    def forward(self, hidden):
        return self.weight * hidden * (hidden.square().mean(-1, True) + self.eps).rsqrt()


def exact(model):
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child).__name__.endswith("RMSNorm"):
                setattr(module, name, ExactNorm(child))
    return model


def policies(kind, dtype=torch.float32):
    """A policy that shares prefixes, one that projects rows, and one that computes all logits."""
    models = [model_of(kind, dtype) for _ in range(3)]
    models = [exact(model) if dtype == torch.float64 else model for model in models]
    found = [LanguageModelPolicy(model, ByteCodec()) for model in models]
    assert found[0].is_prefix_shared
    found[1]._tree_refusal = "for the test"
    found[2].forget_structure()
    return found


def gradients(policy):
    return {name: value.grad.clone() for name, value in policy.model.named_parameters()}


def _norm(values):
    return math.sqrt(sum(float(value.square().sum()) for value in values))


# Groups of two prompts, nested prefixes, a row inside another, and a row twice.
GROUPS = [
    [5, 6, 7, 8, 9, 10, 11],
    [5, 6, 7, 8, 9, 10, 12, 13, 4],
    [5, 6, 7, 8, 2],
    [5, 6, 7],
    [20, 21, 3, 3, 3, 3],
    [20, 21, 3, 3, 4, 4, 4, 4],
    [20, 21, 3, 3, 4, 4, 4, 4],
    [99],
]


@pytest.mark.parametrize("kind", ["qwen3", "qwen2", "llama"])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("calls", [0, 2**14])
def test_shared_passes_equal_plain_ones(kind, dtype, limit, calls, monkeypatch):
    monkeypatch.setattr(tree_module, "CALL_SCORES", calls)
    monkeypatch.setattr(log_probs_module, "MAX_CHUNK_LOGITS", 5 * 258)
    ids, lengths = padded(GROUPS)
    ids, lengths = torch.from_numpy(ids), torch.from_numpy(lengths)
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    generator = torch.Generator().manual_seed(1)
    action = mask & (torch.rand(ids.shape, generator=generator) < 0.7)
    weights = torch.rand((2, *ids.shape), generator=generator, dtype=dtype)
    results = []
    for policy in policies(kind, dtype):
        log_probs, entropy = policy.token_log_probs(
            ids, mask.long(), action_mask_BT=action, temperature=0.7, with_entropy=True
        )
        assert (log_probs[~action] == 0).all()
        (weights[0] * log_probs - 0.3 * weights[1] * entropy).sum().backward()
        results.append((log_probs.detach(), entropy.detach(), gradients(policy)))
    shared = results[0]
    for other in results[1:]:
        for ours, theirs in zip(shared[:2], other[:2], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=20 * limit)
        # Of the whole gradient: that of a key's bias is 0 but for rounding.
        gap = _norm(shared[2][name] - theirs for name, theirs in other[2].items())
        assert gap <= limit * _norm(other[2].values())
    assert max(float(value.abs().max()) for value in shared[2].values()) > 0.1


def test_checkpointed_passes_have_the_same_gradient():
    ids, lengths = padded(GROUPS)
    mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(int)
    found = []
    for checkpointing in (False, True):
        policy = LanguageModelPolicy(tiny_model("qwen3"), ByteCodec())
        log_probs, _ = policy.token_log_probs(
            torch.from_numpy(ids), torch.from_numpy(mask), checkpointing=checkpointing
        )
        log_probs.square().sum().backward()
        found.append(gradients(policy))
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_projected_log_probs_pass_a_numerical_check(monkeypatch):
    monkeypatch.setattr(log_probs_module, "MAX_CHUNK_LOGITS", 10)
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)

    rows, targets = torch.tensor([3, 0, 0, 2, 3]), torch.tensor([1, 4, 4, 0, 2])

    def both(hidden, weight, bias):
        return projected_log_probs(
            hidden, weight, bias, rows, targets, temperature=0.7, with_entropy=True
        )

    assert torch.autograd.gradcheck(both, (draw(4, 3), draw(5, 3), draw(5)))


@pytest.mark.parametrize("kept_rows", [0, 2, 3, 9])
@pytest.mark.parametrize("entropy_weight", [0.0, 0.3])
def test_a_narrow_gradient_is_the_wide_one_rounded(kept_rows, entropy_weight, monkeypatch):
    monkeypatch.setattr(log_probs_module, "MAX_CHUNK_LOGITS", 10)
    monkeypatch.setattr(log_probs_module, "MAX_KEPT_PROBS", 5 * kept_rows)
    generator = torch.Generator().manual_seed(3)
    values = [torch.randn(s, dtype=torch.float64, generator=generator) for s in ((4, 3), (5, 3), 5)]
    # Some targets are near certain, where the two terms of their gradient cancel, and one is so
    # unlikely that its probability is 0.
    values[0] *= torch.tensor([[6], [6], [300], [6]])
    rows, targets = torch.tensor([3, 0, 0, 2, 3, 1]), torch.tensor([1, 4, 3, 0, 2, 2])
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.7, -0.4], dtype=torch.float64)
    found = []
    for narrow in (None, torch.float32):
        leaves = [value.clone().requires_grad_() for value in values]
        log_probs, entropy = projected_log_probs(
            *leaves,
            rows,
            targets,
            temperature=0.7,
            with_entropy=True,
            gradient_dtype=narrow,
        )
        loss = (weights * log_probs).sum()
        if entropy_weight:
            loss += entropy_weight * (entropy * torch.arange(4)).sum()
        loss.backward()
        found.append([log_probs.detach(), *[leaf.grad for leaf in leaves]])
    assert torch.equal(found[0][0], found[1][0])
    assert not torch.equal(found[0][2], found[1][2])
    assert all(bool(value.isfinite().all()) for value in found[1])
    for wide, rounded in zip(found[0][1:], found[1][1:], strict=True):
        assert (wide - rounded).abs().max() <= 1e-6 * wide.abs().max()


@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
@pytest.mark.parametrize("sampling", [SamplingConfig(temperature=0.8, top_k=9), SamplingConfig()])
def test_scores_of_shared_and_projected_passes_equal_those_of_all_logits(kind, sampling):
    contexts, completions = [], []
    for row in GROUPS[:7]:
        contexts.append(row[:2])
        completions.append(row[2:])
    policy = LanguageModelPolicy(tiny_model(kind), ByteCodec())
    shared = policy.score(contexts, completions, sampling)
    policy.forget_structure()
    plain = policy.score(contexts, completions, sampling)
    for ours, theirs in zip(shared, plain, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


def samples_of(advantages, roles):
    rng = np.random.default_rng(5)
    samples = []
    for row, advantage, role in zip(GROUPS, advantages, roles, strict=True):
        tokens = row[2:] or [3, 4]
        mask = [bool(own) for own in rng.random(len(tokens)) < 0.8]
        mask[-1] = True
        log_probs = np.where(mask, -4.0 + 0.3 * rng.normal(size=len(tokens)), 0.0)
        samples.append(
            TrainingSample(
                context_ids=tuple(row[:2]),
                token_ids=tuple(tokens),
                action_mask=tuple(mask),
                behavior_log_probs=tuple(log_probs.tolist()),
                advantage=advantage,
                role=role,
                group="toy/train/0",
            )
        )
    return samples


ADVANTAGES = (1.0, -0.5, 0.0, 0.7, 0.4, -1.2, 0.3, 0.9)


@pytest.mark.parametrize("is_of_tokens", [False, True])
@pytest.mark.parametrize("budget", [1, 14, 10**6])
@pytest.mark.parametrize(
    ("surrogate", "likelihood_temperature"), [("clip", 1.0), ("gspo", 0.8), ("reinforce", 1.0)]
)
def test_an_update_with_shared_passes_is_that_with_plain_ones(
    surrogate, likelihood_temperature, budget, is_of_tokens
):
    roles = ["base", "base", "base", "explanation", "base", "explanation", "base", "base"]
    samples = samples_of(ADVANTAGES, roles)
    if is_of_tokens:
        # Times 1, -0.5, 0.25, ..., so that tokens of a shared prefix differ by row.
        samples = [
            replace(
                sample,
                advantage=tuple(a * (-0.5) ** at for at, a in enumerate(sample.advantages)),
            )
            for sample in samples
        ]
    moments = []
    reports = []
    for number, shares in enumerate((True, False)):
        policy = policies("qwen3", torch.float64)[2 * number]
        learner = Learner(
            policy,
            LearnerConfig(
                learning_rate=1e-3,
                max_grad_norm=None,
                epochs=2,
                updates_per_iteration=2,
                micro_batch_tokens=budget if shares else 1,
            ),
            loss=LossConfig(surrogate=surrogate, kl_coefficient=0.2, entropy_coefficient=0.1),
            role_losses={"explanation": likelihood("seq_mean_token_mean", likelihood_temperature)},
            ref_policy=policies("qwen3", torch.float64)[0],
            temperature=0.8,
        )
        reports.append(learner.update(samples, np.random.default_rng(3)))
        moments.append([learner.optimizer.state[p]["exp_avg"] for p in learner.parameters])
    for ours, theirs in zip(*moments, strict=True):
        # Four updates on top of each other; Adam divides small gradients by themselves.
        assert (ours - theirs).abs().max() <= 1e-9 * theirs.abs().max()
    assert reports[0].loss == pytest.approx(reports[1].loss, rel=1e-10)
    ours, theirs = reports[0].metrics, reports[1].metrics
    assert ours["update/entropy"] == pytest.approx(theirs["update/entropy"], rel=1e-10)
    assert ours["update/is_prefix_shared"] == 1
    assert theirs["update/is_prefix_shared"] == 0
    assert ours["update/row_tokens"] == theirs["update/row_tokens"]
    assert ours["update/distinct_tokens"] == theirs["update/distinct_tokens"]
    if budget == 10**6 and surrogate == "gspo":
        assert ours["update/forward_tokens"] == ours["update/distinct_tokens"]
    assert ours["update/distinct_tokens"] < ours["update/row_tokens"]
    assert theirs["update/forward_tokens"] >= theirs["update/row_tokens"]


@pytest.mark.parametrize("budget", [1, 30, 10**6])
def test_pairs_with_shared_passes_have_the_gradient_of_plain_ones(budget):
    found = []
    for number in (0, 2):
        policy = policies("llama", torch.float64)[number]
        learner = PairLearner(
            policy,
            LearnerConfig(max_grad_norm=None, micro_batch_tokens=budget if number == 0 else 10**6),
            pair_loss=PairLossConfig(beta=0.4),
            ref_policy=policies("llama", torch.float64)[0],
        )
        samples = samples_of(ADVANTAGES, ["chosen", "rejected"] * 4)
        report = learner.update(samples, np.random.default_rng(0))
        found.append([learner.optimizer.state[p]["exp_avg"] for p in learner.parameters])
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).abs().max() <= 1e-12 * theirs.abs().max()
    assert report.metrics["update/is_prefix_shared"] == 0


@pytest.mark.parametrize("kind", PRODUCT_HEADS)
def test_a_known_head_is_one_product_of_the_hidden_states(kind):
    sizes = SIZES | {"head_dim": 8} if kind not in {"gpt2", "gpt_neox"} else dict(SIZES)
    if kind == "gpt2":
        sizes |= {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 96}
    config = AutoConfig.for_model(kind, **(sizes | {"vocab_size": 263}))
    with torch.random.fork_rng():
        torch.manual_seed(4)
        policy = LanguageModelPolicy(AutoModelForCausalLM.from_config(config), ByteCodec())
    assert policy._head_refusal is None
    ids = torch.tensor([[3, 4, 5, 6, 7], [9, 8, 7, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    results = []
    for refusal in (None, "for the test"):
        policy._head_refusal = refusal
        policy.model.zero_grad()
        log_probs, _ = policy.token_log_probs(ids, mask)
        log_probs.square().sum().backward()
        results.append((log_probs.detach(), policy.model.get_output_embeddings().weight.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_models_that_cannot_share_say_why():
    assert "known are llama, qwen2, qwen3" in str(tree_refusal(tiny_model("gpt2")))
    model = tiny_model("qwen3")
    model.config.layer_types = ["full_attention", "sliding_attention"]
    assert tree_refusal(model) == "it has layers of sliding_attention"
    model = tiny_model("llama")
    model.config.attention_dropout = 0.1
    assert tree_refusal(model) == "its attention has dropout"
    model = tiny_model("llama")
    model.lm_head = torch.nn.Sequential(model.lm_head)
    assert tree_refusal(model) == "its head is a Sequential"


def test_bfloat16_compute_leaves_log_probs_in_float32_and_near_the_plain_ones():
    ids, lengths = padded(GROUPS)
    ids, mask = (
        torch.from_numpy(ids),
        torch.arange(ids.shape[1]) < torch.from_numpy(lengths)[:, None],
    )
    results = []
    for policy in policies("llama"):
        with torch.autocast("cpu", torch.bfloat16):
            log_probs, entropy = policy.token_log_probs(ids, mask, with_entropy=True)
        log_probs.sum().backward()
        assert (log_probs.dtype, entropy.dtype) == (torch.float32, torch.float32)
        assert all(value.dtype == torch.float32 for value in gradients(policy).values())
        results.append((log_probs.detach(), gradients(policy)))
    for ours, theirs in ((results[0], results[1]), (results[0], results[2])):
        # bfloat16 has 8 bits, and these weights give logits of size 10.
        assert (ours[0] - theirs[0]).abs().mean() < 0.05
        gap = _norm(ours[1][name] - value for name, value in theirs[1].items())
        assert gap < 0.05 * _norm(theirs[1].values())


def test_checkpointing_without_sharing_is_refused():
    policy = LanguageModelPolicy(tiny_model("gpt2"), ByteCodec())
    with pytest.raises(ConfigError, match="gradient_checkpointing must be off for a model"):
        Learner(policy, LearnerConfig(gradient_checkpointing=True))
