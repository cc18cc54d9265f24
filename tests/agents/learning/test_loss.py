import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reason_env.agents.learning import LossConfig
from reason_env.agents.learning.aggregate import LossTotals, token_weights
from reason_env.agents.learning.loss import kl_estimate, policy_loss
from reason_env.agents.learning.loss_metrics import summarize
from reason_env.agents.learning.surrogate import SURROGATES, SurrogateOutput
from reason_env.errors import ConfigError

TERMS = ("clip", "reinforce", "cispo", "gspo", "shaped")
AGGREGATIONS = ("seq_mean_token_mean", "token_mean", "seq_mean_token_sum")


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def config(**changes):
    return LossConfig(**({"importance_weight_cap": None} | changes))


def evaluate(ratios, advantages, *, mask=None, totals=None, old=-2.0, **changes):
    """Returns output and gradient (of log-probabilities) for given ratios to the old policy."""
    old_BT = torch.full_like(tensor(ratios), old)
    log_probs_BT = (old_BT + tensor(ratios).log()).requires_grad_()
    mask_BT = torch.ones_like(old_BT) if mask is None else tensor(mask)
    advantages_BT = tensor(advantages).expand_as(old_BT)
    given_ = {k: changes.pop(k) for k in list(changes) if k.endswith("_BT")}
    out = policy_loss(
        log_probs_BT,
        old_BT,
        advantages_BT,
        mask_BT,
        config=config(**changes),
        totals=totals or LossTotals.of(mask_BT, max_tokens=10),
        **given_,
    )
    (gradient_BT,) = torch.autograd.grad(out.loss, log_probs_BT)
    return out, gradient_BT


def random_rows(seed=0, num_rows=4, num_tokens=6, spread=0.5):
    generator = torch.Generator().manual_seed(seed)

    def normal():
        return torch.randn(num_rows, num_tokens, generator=generator, dtype=torch.float64)

    old_BT = -normal().abs()
    lengths = torch.randint(1, num_tokens + 1, (num_rows, 1), generator=generator)
    return {
        "log_probs_BT": old_BT + spread * normal(),
        "old_log_probs_BT": old_BT,
        "advantages_BT": normal()[:, :1].expand(-1, num_tokens),
        "action_mask_BT": torch.arange(num_tokens)[None] < lengths,
        "ref_log_probs_BT": old_BT + 0.4 * normal(),
        "behavior_log_probs_BT": old_BT + 0.3 * normal(),
        "entropy_BT": normal().abs(),
    }


def loss_and_gradient(rows, loss_config, totals):
    log_probs_BT = rows["log_probs_BT"].clone().requires_grad_()
    entropy_BT = rows["entropy_BT"] * log_probs_BT.square()  # so that it has a gradient, too
    inputs = rows | {"log_probs_BT": log_probs_BT, "entropy_BT": entropy_BT}
    out = policy_loss(**inputs, config=loss_config, totals=totals)
    (gradient_BT,) = torch.autograd.grad(out.loss, log_probs_BT)
    return out, gradient_BT


# Surrogates: closed form.


def test_the_clipped_term_takes_the_worse_of_both_sides():
    # low 0.1, high 0.3: [0.9, 1.3]. A = 2: -2 min(r, clip r): 0.5 -> -1, 1.2 -> -2.4, 1.5 -> -2.6
    # A = -3: 3 max(r, clip r): 0.5 -> 2.7, 1.2 -> 3.6, 1.5 -> 4.5. Sum 4.8, over 6 tokens.
    out, gradient = evaluate(
        [[0.5, 1.2, 1.5], [0.5, 1.2, 1.5]], [[2.0], [-3.0]], clip_low=0.1, clip_high=0.3
    )
    assert out.loss.item() == pytest.approx(4.8 / 6, rel=1e-12)
    # d loss / d log pi = -A r / 6, or 0 where clipped.
    expected = [[-1.0 / 6, -2.4 / 6, 0.0], [0.0, 3.6 / 6, 4.5 / 6]]
    torch.testing.assert_close(gradient, tensor(expected), rtol=1e-12, atol=0)


def test_the_dual_clip_limits_only_negative_advantages():
    # c = 2: A = -3, r = 5: min(15, 6) = 6 without gradient; r = 1.5: 4.5 as before. A = 2, r = 5
    # stays at the upper limit: -2.6.
    out, gradient = evaluate(
        [[5.0, 1.5], [5.0, 1.0]], [[-3.0], [2.0]], clip_low=0.1, clip_high=0.3, dual_clip=2.0
    )
    assert out.loss.item() == pytest.approx((6 + 4.5 - 2.6 - 2.0) / 4, rel=1e-12)
    expected = [[0.0, 4.5 / 4], [0.0, -2.0 / 4]]
    torch.testing.assert_close(gradient, tensor(expected), rtol=1e-12, atol=0)


def test_cispo_keeps_the_gradient_of_clipped_tokens():
    # log pi = -2 + log r; weights clip(r, 0.9, 1.3) = 0.9, 1.2, 1.3; loss -w A log pi.
    out, gradient = evaluate(
        [[0.5, 1.2, 1.5]], [[2.0]], surrogate="cispo", clip_low=0.1, clip_high=0.3
    )
    terms = [
        -w * 2 * (-2 + math.log(r)) for w, r in zip((0.9, 1.2, 1.3), (0.5, 1.2, 1.5), strict=True)
    ]
    assert out.loss.item() == pytest.approx(sum(terms) / 3, rel=1e-12)
    torch.testing.assert_close(gradient, tensor([[-1.8, -2.4, -2.6]]) / 3, rtol=1e-12, atol=0)


def test_gspo_takes_the_geometric_mean_of_a_sequences_ratios():
    # Row 0: sqrt(0.5 * 4.5) = 1.5 > 1.3, A = 2: -2.6, no gradient. Row 1: sqrt(0.6 * 1.5) =
    # sqrt 0.9 inside; A = -3: 3 sqrt 0.9 on each token.
    out, gradient = evaluate(
        [[0.5, 4.5], [0.6, 1.5]],
        [[2.0], [-3.0]],
        surrogate="gspo",
        clip_low=0.1,
        clip_high=0.3,
        aggregation="seq_mean_token_mean",
    )
    inside = 3 * math.sqrt(0.9)
    assert out.loss.item() == pytest.approx((-2.6 + inside) / 2, rel=1e-12)
    torch.testing.assert_close(
        gradient, tensor([[0.0, 0.0], [inside / 4, inside / 4]]), rtol=1e-12, atol=0
    )


def test_reinforce_is_minus_advantage_times_log_probability():
    # log pi = -2 + log r; -2 (-2) = 4 and -2 (-2 + log 3)
    out, gradient = evaluate([[1.0, 3.0]], [[2.0]], surrogate="reinforce")
    assert out.loss.item() == pytest.approx((4 + 4 - 2 * math.log(3)) / 2, rel=1e-12)
    torch.testing.assert_close(gradient, tensor([[-1.0, -1.0]]), rtol=1e-12, atol=0)


def test_the_shaped_term_saturates():
    # r = 0.3, gamma 0.1: 0.3 / 0.4 = 0.75; r = 0.1: 0.5. A = 2: -(1.5 + 1) / 2.
    # d/dlog r of r / (r + g) = r g / (r + g)^2 = 0.03 / 0.16 and 0.01 / 0.04.
    out, gradient = evaluate([[0.3, 0.1]], [[2.0]], surrogate="shaped", shape_gamma=0.1)
    assert out.loss.item() == pytest.approx(-1.25, rel=1e-12)
    torch.testing.assert_close(gradient, tensor([[-0.1875, -0.25]]), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("against", "log_ratio"), [("old", 0.5), ("behavior", 0.2), ("one", -1.5)])
def test_the_ratio_uses_the_configured_denominator(against, log_ratio):
    # log pi -1.5, old -2.0, behavior -1.7
    out, _ = evaluate(
        [[math.exp(0.5)]],
        [[-1.0]],
        ratio_denominator=against,
        importance_weight_cap=None,
        behavior_log_probs_BT=tensor([[-1.7]]),
    )
    clipped = max(math.exp(log_ratio), 0.8)
    assert out.loss.item() == pytest.approx(clipped, rel=1e-12)
    assert summarize([out.rows])["update/ratio_mean"] == pytest.approx(math.exp(log_ratio))


# Importance weights.


def test_token_importance_weights_are_capped_and_have_no_gradient():
    # old - behavior = log 1.5, log 4, log 0.5; cap 2: weights 1.5, 2, 0.5. A = 1, r = 1.
    behavior = tensor([[-2 - math.log(1.5), -2 - math.log(4), -2 - math.log(0.5)]])
    out, gradient = evaluate(
        [[1.0, 1.0, 1.0]], [[1.0]], importance_weight_cap=2.0, behavior_log_probs_BT=behavior
    )
    torch.testing.assert_close(gradient, -tensor([[1.5, 2.0, 0.5]]) / 3, rtol=1e-12, atol=0)
    assert out.loss.item() == pytest.approx(-4 / 3, rel=1e-12)
    metrics = summarize([out.rows])
    assert metrics["update/importance_weight_mean"] == pytest.approx(4 / 3)
    assert metrics["update/importance_capped_fraction"] == pytest.approx(1 / 3)
    gaps = [math.log(1.5), math.log(4), math.log(2)]
    assert metrics["update/behavior_gap_mean"] == pytest.approx(sum(gaps) / 3)
    assert metrics["update/behavior_gap_max"] == pytest.approx(math.log(4))


def test_a_sequence_importance_weight_is_the_capped_product_over_its_tokens():
    # Row 0: 1.5 * 0.8 = 1.2, its third token is not sampled; row 1: 2 * 2 = 4, capped at 3.
    behavior = -2 - tensor([[1.5, 0.8, 7.0], [2.0, 2.0, 1.0]]).log()
    _, gradient = evaluate(
        [[1.0] * 3] * 2,
        [[1.0]],
        mask=[[1, 1, 0], [1, 1, 1]],
        importance_weight_cap=3.0,
        importance_level="sequence",
        behavior_log_probs_BT=behavior,
    )
    expected = -tensor([[1.2, 1.2, 0.0], [3.0, 3.0, 3.0]]) / 5
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("against", ["behavior", "one"])
def test_importance_weights_apply_only_to_ratios_against_old_log_probs(against):
    rows, cap = random_rows(3), {"ratio_denominator": against}
    totals = LossTotals.of(rows["action_mask_BT"])
    out, _ = loss_and_gradient(rows, LossConfig(importance_weight_cap=0.5, **cap), totals)
    free, _ = loss_and_gradient(rows, LossConfig(importance_weight_cap=None, **cap), totals)
    assert out.loss.item() == free.loss.item()


# KL and entropy.


@pytest.mark.parametrize(
    ("estimator", "value", "slope"),
    # log pi - log ref = 0.5. k1: 0.5, slope 1; k2: 0.125, slope 0.5;
    # k3: exp(-0.5) + 0.5 - 1, slope 1 - exp(-0.5).
    [
        ("k1", 0.5, 1.0),
        ("k2", 0.125, 0.5),
        ("k3", math.exp(-0.5) - 0.5, 1 - math.exp(-0.5)),
    ],
)
def test_kl_policy_ref_is_added_with_its_coefficient(estimator, value, slope):
    out, gradient = evaluate(
        [[1.0, 1.0]],
        [[0.0]],
        kl_coefficient=0.3,
        kl_estimator=estimator,
        ref_log_probs_BT=tensor([[-2.5, -2.0]]),
    )
    assert out.loss.item() == pytest.approx(0.3 * value / 2, rel=1e-12)
    assert out.kl.item() == out.loss.item()
    # Where the policy is the reference, k1 still has slope 1.
    other = 1.0 if estimator == "k1" else 0.0
    expected = tensor([[0.3 * slope / 2, 0.3 * other / 2]])
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-16)
    k3 = math.exp(-0.5) - 0.5
    assert summarize([out.rows])["update/kl_policy_ref"] == pytest.approx(k3 / 2)


def test_the_expected_gradient_of_k3_times_the_ratio_equals_the_gradient_of_the_kl():
    # On-policy over 3 tokens; sum_y pi(y) d k(y) / d theta against the exact derivative.
    logits = tensor([0.3, -0.4, 1.1]).requires_grad_()
    ref_V = tensor([0.5, 0.1, -0.2]).log_softmax(0)
    log_V = logits.log_softmax(0)
    (exact,) = torch.autograd.grad((log_V.exp() * (log_V - ref_V)).sum(), logits, retain_graph=True)

    def expected(estimator, weighted):
        k_V = kl_estimate(log_V, ref_V, estimator)
        if weighted:
            k_V = k_V * (log_V - log_V.detach()).exp()
        (g,) = torch.autograd.grad((log_V.exp().detach() * k_V).sum(), logits, retain_graph=True)
        return g

    for estimator, weighted in (("k1", True), ("k3", True), ("k2", False)):
        torch.testing.assert_close(expected(estimator, weighted), exact, rtol=1e-12, atol=1e-14)
    assert expected("k1", False).abs().max() < 1e-15
    assert (expected("k3", False) - exact).abs().max() > 1e-2


def test_entropy_is_subtracted_with_its_coefficient():
    out, _ = evaluate(
        [[1.0, 1.0]], [[0.0]], entropy_coefficient=0.2, entropy_BT=tensor([[1.0, 4.0]])
    )
    assert out.loss.item() == pytest.approx(-0.2 * 2.5, rel=1e-12)
    assert out.entropy.item() == out.loss.item()
    assert summarize([out.rows])["update/entropy"] == pytest.approx(2.5)


def test_policy_kl_and_entropy_terms_sum_to_the_loss():
    rows = random_rows(2)
    loss_config = config(kl_coefficient=0.5, entropy_coefficient=0.1)
    out, _ = loss_and_gradient(rows, loss_config, LossTotals.of(rows["action_mask_BT"]))
    assert (out.policy + out.kl + out.entropy).item() == pytest.approx(out.loss.item(), rel=1e-14)
    assert min(abs(part.item()) for part in (out.policy, out.kl, out.entropy)) > 1e-3


# Aggregation.


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    # Rows of 3 and 1 tokens, losses -1 -2 -3 and -10; response budget 10.
    [
        ("seq_mean_token_mean", (-2 - 10) / 2),
        ("token_mean", -16 / 4),
        ("seq_mean_token_sum", (-6 - 10) / (2 * 10)),
    ],
)
def test_each_aggregation_averages_tokens_as_its_name_says(aggregation, expected):
    out, _ = evaluate(
        [[1.0] * 4] * 2,
        [[1.0, 2.0, 3.0, 50.0], [50.0, 10.0, 50.0, 50.0]],
        mask=[[1, 1, 1, 0], [0, 1, 0, 0]],
        aggregation=aggregation,
    )
    assert out.loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_token_weights_divide_by_the_given_totals_and_not_by_the_batch_s_counts(aggregation):
    mask = tensor([[1.0, 1.0, 0.0]])
    totals = LossTotals(num_tokens=7, num_sequences=3, max_tokens=11)
    expected = {"seq_mean_token_mean": 1 / 6, "token_mean": 1 / 7, "seq_mean_token_sum": 1 / 33}
    weights = token_weights(mask, aggregation, totals, torch.float64)
    value = expected[aggregation]
    torch.testing.assert_close(weights, tensor([[value, value, 0.0]]), rtol=1e-14, atol=0)


def test_rows_without_sampled_tokens_count_in_no_total_and_have_weight_zero():
    mask = tensor([[1.0, 1.0], [0.0, 0.0]])
    assert LossTotals.of(mask) == LossTotals(num_tokens=2, num_sequences=1)
    assert token_weights(
        mask, "seq_mean_token_mean", LossTotals.of(mask), torch.float64
    ).tolist() == [
        [0.5, 0.5],
        [0.0, 0.0],
    ]


ALL_PARTS = {"kl_coefficient": 0.3, "entropy_coefficient": 0.1, "importance_weight_cap": 1.4}


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("term", TERMS)
@given(seed=st.integers(0, 10_000), cut=st.integers(1, 3))
@settings(max_examples=10)
def test_micro_batches_sum_to_the_whole(term, aggregation, seed, cut):
    rows = random_rows(seed)
    loss_config = LossConfig(
        surrogate=term, aggregation=aggregation, clip_low=0.1, clip_high=0.3, **ALL_PARTS
    )
    totals = LossTotals.of(rows["action_mask_BT"], max_tokens=9)
    whole, gradient = loss_and_gradient(rows, loss_config, totals)
    parts = [
        loss_and_gradient({k: v[part] for k, v in rows.items()}, loss_config, totals)
        for part in (slice(None, cut), slice(cut, None))
    ]
    total = sum(out.loss.item() for out, _ in parts)
    assert total == pytest.approx(whole.loss.item(), rel=1e-10, abs=1e-12)
    torch.testing.assert_close(torch.cat([g for _, g in parts]), gradient, rtol=1e-12, atol=1e-15)
    merged = summarize([out.rows for out, _ in parts])
    assert merged == pytest.approx(summarize([whole.rows]), rel=1e-9, abs=1e-12)


# Masks.


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
def test_values_outside_the_mask_change_neither_loss_nor_gradient(term, level, aggregation, value):
    rows = random_rows(1)
    loss_config = LossConfig(
        surrogate=term, importance_level=level, aggregation=aggregation, **ALL_PARTS
    )
    totals = LossTotals.of(rows["action_mask_BT"], max_tokens=9)
    clean, clean_gradient = loss_and_gradient(rows, loss_config, totals)
    outside = ~rows["action_mask_BT"]
    assert outside.any()
    dirty = {
        name: x if name == "action_mask_BT" else x.masked_fill(outside, value)
        for name, x in rows.items()
    }
    log_probs_BT = dirty["log_probs_BT"].clone().requires_grad_()
    entropy_BT = torch.where(
        outside,
        dirty["entropy_BT"],
        dirty["entropy_BT"] * torch.where(outside, 0, log_probs_BT) ** 2,
    )
    inputs = dirty | {"log_probs_BT": log_probs_BT, "entropy_BT": entropy_BT}
    out = policy_loss(**inputs, config=loss_config, totals=totals)
    (gradient,) = torch.autograd.grad(out.loss, log_probs_BT)
    assert out.loss.item() == clean.loss.item()
    assert torch.equal(gradient, clean_gradient)
    assert gradient[outside].abs().max() == 0
    assert summarize([out.rows]) == summarize([clean.rows])


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("log_ratio", [-150.0, 150.0])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_a_token_that_became_impossible_or_certain_keeps_float32_finite(term, log_ratio, advantage):
    # exp(150) is inf in float32.
    old_BT = torch.full((1, 2), -200.0)
    log_probs_BT = (old_BT + torch.tensor([[log_ratio, 0.0]])).requires_grad_()
    out = policy_loss(
        log_probs_BT,
        old_BT,
        torch.full((1, 2), advantage),
        torch.ones(1, 2),
        config=LossConfig(surrogate=term, kl_coefficient=0.1, kl_times_ratio=True),
        totals=LossTotals(num_tokens=2, num_sequences=1),
        ref_log_probs_BT=old_BT,
        behavior_log_probs_BT=old_BT - log_ratio,
    )
    out.loss.backward()
    assert torch.isfinite(out.loss)
    assert log_probs_BT.grad is not None
    assert torch.isfinite(log_probs_BT.grad).all()
    assert all(math.isfinite(value) for value in summarize([out.rows]).values())


def test_log_ratios_are_limited_to_20_nats():
    out, gradient = evaluate([[math.exp(25), math.exp(-25)]], [[-1.0]], clip_low=1.0, clip_high=1e9)
    assert out.loss.item() == pytest.approx((math.exp(20) + math.exp(-20)) / 2, rel=1e-12)
    assert gradient.tolist() == [[0.0, 0.0]]


# Identities.


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("term", ["clip", "gspo", "cispo"])
def test_on_policy_the_gradient_equals_reinforce(term, aggregation):
    rows = random_rows(4, spread=0.0)
    totals = LossTotals.of(rows["action_mask_BT"], max_tokens=9)
    for cap in (None, 1.2):
        changes = {"aggregation": aggregation, "importance_weight_cap": cap, "clip_high": 0.3}
        _, gradient = loss_and_gradient(rows, LossConfig(surrogate=term, **changes), totals)
        _, reinforce = loss_and_gradient(rows, LossConfig(surrogate="reinforce", **changes), totals)
        torch.testing.assert_close(gradient, reinforce, rtol=1e-12, atol=1e-15)


def test_without_limits_the_clipped_term_is_the_importance_sampled_return():
    rows = random_rows(5, spread=1.5)
    mask = rows["action_mask_BT"]
    out, _ = loss_and_gradient(rows, config(clip_low=1.0, clip_high=1e9), LossTotals.of(mask))
    ratio = (rows["log_probs_BT"] - rows["old_log_probs_BT"]).exp()
    expected = -(ratio * rows["advantages_BT"])[mask].mean()
    assert out.loss.item() == pytest.approx(expected.item(), rel=1e-12)


def test_with_limits_of_zero_only_worsening_moves_have_a_gradient():
    rows = random_rows(6)
    mask, advantages = rows["action_mask_BT"], rows["advantages_BT"]
    _, gradient = loss_and_gradient(rows, config(clip_low=0.0, clip_high=0.0), LossTotals.of(mask))
    moved = rows["log_probs_BT"] - rows["old_log_probs_BT"]
    assert torch.equal(gradient != 0, mask & (moved * advantages < 0))


# Metrics.


def test_metrics_are_computed_over_sampled_tokens():
    ratios = [0.5, 1.2, 1.5, 1.0]  # the last is not sampled
    out, _ = evaluate(
        [ratios, ratios],
        [[2.0], [-3.0]],
        mask=[[1, 1, 1, 0], [1, 1, 0, 0]],
        clip_low=0.1,
        clip_high=0.3,
        dual_clip=1.1,
        ref_log_probs_BT=tensor([[-2.0] * 4] * 2),
    )
    metrics = summarize([out.rows])
    seen = [0.5, 1.2, 1.5, 0.5, 1.2]
    total, square = sum(seen), sum(r * r for r in seen)
    k3 = sum(r - 1 - math.log(r) for r in seen) / 5
    ref = sum(1 / r - 1 + math.log(r) for r in seen) / 5
    assert metrics == pytest.approx(
        {
            "update/tokens": 5,
            "update/ratio_mean": total / 5,
            "update/ratio_max": 1.5,
            "update/effective_sample_fraction": total**2 / (5 * square),
            "update/chi_square": sum((r - 1) ** 2 for r in seen) / 5,
            "update/clip_low_fraction": 1 / 5,  # 0.5 with A = -3
            "update/clip_high_fraction": 1 / 5,  # 1.5 with A = 2
            "update/dual_clip_fraction": 1 / 5,  # 1.2 with A = -3
            "update/kl_old_policy": k3,
            "update/importance_weight_mean": 1.0,
            "update/kl_policy_ref": ref,
        },
        rel=1e-12,
    )


def test_cispo_counts_clipped_tokens_on_both_sides_of_either_sign():
    out, _ = evaluate(
        [[0.5, 1.5, 1.0]] * 3,
        [[2.0], [-3.0], [0.0]],
        surrogate="cispo",
        clip_low=0.1,
        clip_high=0.3,
    )
    metrics = summarize([out.rows])
    assert metrics["update/clip_low_fraction"] == pytest.approx(2 / 9)
    assert metrics["update/clip_high_fraction"] == pytest.approx(2 / 9)


def test_clip_fractions_use_their_own_limits_and_the_maximum_only_sampled_tokens():
    # 0.8 is outside [0.9, 1.3] but inside [0.7, ...]; 1.2 is inside, but outside [..., 1.1].
    out, _ = evaluate([[0.8, 1.2]] * 2, [[2.0], [-3.0]], clip_low=0.1, clip_high=0.3)
    metrics = summarize([out.rows])
    assert metrics["update/clip_low_fraction"] == pytest.approx(1 / 4)
    assert metrics["update/clip_high_fraction"] == 0
    out, _ = evaluate([[0.5, 0.8, 3.0]], [[1.0]], mask=[[1, 1, 0]])
    assert summarize([out.rows])["update/ratio_max"] == pytest.approx(0.8)


def test_no_rows_give_no_metrics():
    assert summarize([]) == {}


# Refusals.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip_low": 1.2}, "clip_low must be at least 0 and at most 1, got 1.2"),
        ({"clip_low": -0.1}, "clip_low must be at least 0"),
        ({"clip_high": math.inf}, "clip_high must be at least 0 and finite, got inf"),
        ({"clip_high": math.nan}, "clip_high must be"),
        ({"dual_clip": 1.0}, "dual_clip must be above 1 and finite, got 1.0"),
        ({"shape_gamma": 0.0}, "shape_gamma must be above 0"),
        ({"importance_weight_cap": 0.0}, "importance_weight_cap must be above 0"),
        ({"kl_coefficient": -1.0}, "kl_coefficient must be at least 0"),
        ({"entropy_coefficient": -1.0}, "entropy_coefficient must be at least 0"),
        ({"surrogate": "cipso"}, "surrogate must be one of .* did you mean 'cispo'"),
        ({"aggregation": "token_men"}, "aggregation must be one of .* did you mean 'token_mean'"),
        (
            {"ratio_denominator": "new"},
            "ratio_denominator must be one of old, behavior, one, got 'new'",
        ),
        ({"kl_estimator": "k4"}, "kl_estimator must be one of k1, k2, k3, got 'k4'"),
        ({"importance_level": "row"}, "importance_level must be one of token, sequence"),
        ({"surrogate": "gspo", "dual_clip": 3.0}, "dual_clip must be None with surrogate"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        LossConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"importance_weight_cap": 2.0}, "behavior_log_probs_BT must be given with importance"),
        (
            {"ratio_denominator": "behavior"},
            "behavior_log_probs_BT must be given with ratio_denominator",
        ),
        ({"kl_coefficient": 0.1}, "ref_log_probs_BT must be given with kl_coefficient"),
        ({"entropy_coefficient": 0.1}, "entropy_BT must be given with entropy_coefficient"),
    ],
)
def test_a_loss_term_without_the_input_that_it_needs_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        evaluate([[1.0]], [[1.0]], **changes)


def test_totals_of_zero_and_a_missing_response_budget_are_refused():
    with pytest.raises(ConfigError, match="num_tokens of an optimizer step must be at least 1"):
        LossTotals.of(torch.zeros(2, 3))
    with pytest.raises(ConfigError, match="max_tokens of an optimizer step must be at least 1"):
        LossTotals(num_tokens=1, num_sequences=1, max_tokens=0)
    totals = LossTotals(num_tokens=1, num_sequences=1)
    with pytest.raises(ConfigError, match="'seq_mean_token_sum' must have a response budget"):
        token_weights(torch.ones(1, 1), "seq_mean_token_sum", totals, torch.float64)


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (
            lambda x: SurrogateOutput(-x.log_ratio_BT.mean(), x.log_ratio_BT),
            r"SurrogateOutput of \(\)",
        ),
        (lambda x: -x.log_ratio_BT, r"Tensor of \(1, 2\)"),
    ],
)
def test_a_surrogate_that_gives_no_loss_for_each_token_is_refused(monkeypatch, returned, found):
    monkeypatch.setitem(SURROGATES, "theirs", lambda x, config: returned(x))
    with pytest.raises(ConfigError, match=f"the surrogate 'theirs' must return .*got {found}"):
        evaluate([[1.0, 1.1]], [[1.0, 1.0]], surrogate="theirs")
