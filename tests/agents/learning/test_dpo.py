"""DPO: hand-computed losses, gradients against the formula, pairs that stay pairs."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from reason_env.agents.learning import LearnerConfig, PairLearner, PairLossConfig
from reason_env.agents.learning.dpo import dpo_loss, dpo_margins
from reason_env.agents.metrics import metric
from reason_env.agents.rollout import TrainingSample
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError

CODEC = ByteCodec()


class TinyPolicy:
    """A causal model in float64 over the byte codec's ids."""

    def __init__(self, seed):
        torch.manual_seed(seed)
        self.codec = CODEC
        self.device = torch.device("cpu")
        self.embed = nn.Embedding(CODEC.vocab_size, 6)
        self.gru = nn.GRU(6, 8, batch_first=True)
        self.head = nn.Linear(8, CODEC.vocab_size)
        self.model = nn.ModuleList([self.embed, self.gru, self.head]).double()
        self.shift = 0.0
        self.sizes = []

    is_prefix_shared = False

    def token_log_probs(
        self,
        token_ids_BT,
        attention_mask_BT,
        *,
        action_mask_BT=None,
        temperature=1.0,
        with_entropy=False,
        checkpointing=False,
    ):
        self.sizes.append(token_ids_BT.shape[0])
        logits_BTV = self.head(self.gru(self.embed(token_ids_BT))[0])[:, :-1]
        log_BTV = (logits_BTV / temperature).log_softmax(-1)
        log_probs_BT = log_BTV.gather(-1, token_ids_BT[:, 1:, None])[..., 0]
        log_probs_BT = nn.functional.pad(log_probs_BT, (1, 0))
        outside = torch.zeros_like(log_probs_BT)
        outside[:, :3] = self.shift
        return log_probs_BT + outside, torch.zeros_like(log_probs_BT) if with_entropy else None

    def mark_updated(self):
        pass


def sample(role, text, group="g", *, prefix=0, advantage=1.0):
    ids = CODEC.encode(text)
    mask = tuple(place >= prefix for place in range(len(ids)))
    return TrainingSample(
        context_ids=CODEC.encode("x="),
        token_ids=ids,
        action_mask=mask,
        behavior_log_probs=tuple(-0.5 if own else 0.0 for own in mask),
        advantage=advantage,
        role=role,
        group=group,
    )


PAIRS = [
    sample("chosen", "abc", "one", prefix=1),
    sample("rejected", "de", "one"),
    sample("chosen", "f", "two"),
    sample("rejected", "ghijk", "two"),
    sample("chosen", "lm", "three"),
    sample("rejected", "nop", "three"),
]


def learner(policy=None, ref=None, *, beta=0.4, **config):
    config = {"max_grad_norm": None, "micro_batch_tokens": 10**6} | config
    return PairLearner(
        policy or TinyPolicy(0),
        LearnerConfig(**config),
        pair_loss=PairLossConfig(beta=beta),
        ref_policy=ref or TinyPolicy(1),
    )


def updated(samples, **options):
    own = learner(**options)
    report = own.update(samples, np.random.default_rng(0))
    # AdamW's first moment is 0.1 of the only gradient.
    return report, [own.optimizer.state[p]["exp_avg"] / 0.1 for p in own.parameters]


def summed(policy, item, temperature=1.0):
    ids = torch.tensor([item.context_ids + item.token_ids])
    log_probs, _ = policy.token_log_probs(ids, None, temperature=temperature)
    mask = torch.tensor((False,) * len(item.context_ids) + item.action_mask)
    return log_probs[0][mask].sum()


def test_the_loss_is_the_formula_by_hand():
    # (-2 + 3) - (-5 + 4) = 2, times 0.5 = 1; log(1 + exp(-1)). The second: (-1 + 1) - (-2 + 6) =
    # -4, times 0.5 = -2; log(1 + exp(2)).
    margins = dpo_margins(
        torch.tensor([-2.0, -1.0], dtype=torch.float64),
        torch.tensor([-5.0, -2.0], dtype=torch.float64),
        torch.tensor([-3.0, -1.0], dtype=torch.float64),
        torch.tensor([-4.0, -6.0], dtype=torch.float64),
        0.5,
    )
    assert margins.tolist() == [1.0, -2.0]
    expected = [math.log(1 + math.exp(-1)), math.log(1 + math.exp(2))]
    assert dpo_loss(margins).tolist() == pytest.approx(expected, rel=1e-12)
    assert dpo_loss(torch.tensor([-800.0])).item() == pytest.approx(800.0)


def test_trl_s_sigmoid_loss_has_the_same_value():
    # TRL: logits = (chosen - rejected) - (ref_chosen - ref_rejected); -logsigmoid(beta logits).
    generator = torch.Generator().manual_seed(0)
    a, b, c, d = torch.randn(4, 7, generator=generator, dtype=torch.float64)
    theirs = torch.log1p(torch.exp(-0.3 * ((a - b) - (c - d))))
    torch.testing.assert_close(dpo_loss(dpo_margins(a, b, c, d, 0.3)), theirs, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("own", "used"), [(1.0, 1.0), (1.7, 1.7), (None, 0.6)])
def test_log_probabilities_have_the_loss_s_temperature_or_that_of_sampling(own, used):
    policy, ref = TinyPolicy(0), TinyPolicy(1)
    chosen, rejected = PAIRS[:2]
    margin = 0.4 * (
        summed(policy, chosen, used)
        - summed(ref, chosen, used)
        - summed(policy, rejected, used)
        + summed(ref, rejected, used)
    )
    learner = PairLearner(
        policy,
        LearnerConfig(),
        pair_loss=PairLossConfig(beta=0.4, temperature=own),
        ref_policy=ref,
        temperature=0.6,
    )
    report = learner.update([chosen, rejected], np.random.default_rng(0))
    assert report.loss == pytest.approx(dpo_loss(margin).item(), rel=1e-9)
    assert PairLossConfig().temperature == 1.0
    with pytest.raises(ConfigError, match="temperature must be above 0 and finite, got 0"):
        PairLossConfig(temperature=0.0)


def test_the_learner_minimises_the_mean_over_pairs_of_summed_log_probabilities():
    policy, ref = TinyPolicy(0), TinyPolicy(1)
    margins = [
        0.4 * (summed(policy, c) - summed(ref, c) - summed(policy, r) + summed(ref, r)).item()
        for c, r in zip(PAIRS[0::2], PAIRS[1::2], strict=True)
    ]
    report, _ = updated(PAIRS)
    expected = [math.log(1 + math.exp(-margin)) for margin in margins]
    assert report.loss == pytest.approx(sum(expected) / 3, rel=1e-9)
    assert report.metrics["update/pair_margin_mean"] == pytest.approx(sum(margins) / 3, rel=1e-9)
    right = sum(margin > 0 for margin in margins) / 3
    assert report.metrics["update/pair_accuracy"] == pytest.approx(right)
    assert set(report.metrics_by_role) == {"chosen", "rejected"}
    assert report.metrics_by_role["rejected"]["update/tokens"] == 10
    assert report.metrics_by_role["chosen"]["update/tokens"] == 5
    assert all(metric(name) for name in report.metrics)


def test_the_gradient_pulls_apart_with_beta_times_the_sigmoid_of_the_margin():
    policy, ref = TinyPolicy(0), TinyPolicy(1)
    chosen, rejected = PAIRS[:2]
    up, down = summed(policy, chosen), summed(policy, rejected)
    margin = 0.4 * (up - summed(ref, chosen) - down + summed(ref, rejected)).item()
    weight = 0.4 / (1 + math.exp(margin))
    parameters = list(policy.model.parameters())
    expected = torch.autograd.grad(weight * (down - up), parameters)
    _, gradient = updated(PAIRS[:2])
    for own, other in zip(gradient, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-14)


def test_a_policy_equal_to_its_reference_has_margin_zero():
    report, _ = updated(PAIRS, policy=TinyPolicy(0), ref=TinyPolicy(0))
    assert report.loss == pytest.approx(math.log(2), rel=1e-12)
    assert report.metrics["update/pair_accuracy"] == 0.0


@pytest.mark.parametrize("tokens", [1, 14, 20])
def test_micro_batches_keep_pairs_together_and_do_not_change_the_gradient(tokens):
    whole, gradient = updated(PAIRS)
    policy = TinyPolicy(0)
    parts, same = updated(PAIRS, policy=policy, micro_batch_tokens=tokens)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-12)
    for own, other in zip(gradient, same, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-14)
    # Widths of the pairs from the longest: 7, 5, 5 tokens; 14 of two rows is the limit.
    assert policy.sizes == {1: [2, 2, 2], 14: [2, 2, 2], 20: [2, 4]}[tokens]


def test_tokens_that_are_not_trained_change_nothing():
    plain, gradient = updated([PAIRS[0], sample("rejected", "de", "one", prefix=1)])
    policy = TinyPolicy(0)
    policy.shift = 5.0  # the context of two tokens, and the first of the response
    moved, same = updated([PAIRS[0], sample("rejected", "de", "one", prefix=1)], policy=policy)
    assert moved.loss == pytest.approx(plain.loss, rel=1e-12)
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(gradient, same, strict=True))


def test_updates_widen_the_margin_and_do_not_change_the_reference():
    ref = TinyPolicy(0)
    before = [p.clone() for p in ref.model.parameters()]
    own = learner(TinyPolicy(0), ref, learning_rate=1e-2)
    losses = [own.update(PAIRS, np.random.default_rng(0)).loss for _ in range(8)]
    assert losses[-1] < 0.7 * losses[0]
    assert all(torch.equal(a, b) for a, b in zip(before, ref.model.parameters(), strict=True))


def test_pairs_are_split_at_random_and_every_pair_is_used_once_an_epoch():
    own = learner(updates_per_iteration=2, epochs=3)
    report = own.update(PAIRS, np.random.default_rng(0))
    assert report.num_updates == own.num_updates == 6
    assert report.metrics["update/tokens"] == 3 * 15
    assert len(own.old_log_probs) == 6
    assert [len(own.old_log_probs[row]) for row in range(6)] == [2, 2, 1, 5, 2, 3]


@pytest.mark.parametrize(("updates", "epochs", "num_drawn"), [(1, 2, 0), (2, 2, 2), (9, 1, 1)])
def test_the_generator_orders_the_pairs_once_an_epoch_if_there_are_several_updates(
    updates, epochs, num_drawn
):
    rng, expected = np.random.default_rng(5), np.random.default_rng(5)
    learner(updates_per_iteration=updates, epochs=epochs).update(PAIRS, rng)
    for _ in range(num_drawn):
        expected.permutation(len(PAIRS) // 2)
    assert rng.random() == expected.random()


def test_pairs_with_advantage_0_cause_no_update_but_count_in_the_mean():
    flat = [replace(item, advantage=0.0) for item in PAIRS]
    own = learner()
    report = own.update(flat, np.random.default_rng(0))
    assert (report.num_updates, report.num_skipped, own.num_updates) == (0, 1, 0)
    assert "update/pair_margin_mean" not in report.metrics
    one, gradient = updated(PAIRS[:2])
    third, part = updated(PAIRS[:2] + flat[2:])
    assert third.loss == pytest.approx(one.loss / 3, rel=1e-12)
    assert third.metrics["update/active_rows_fraction"] == pytest.approx(1 / 3)
    for a, b in zip(gradient, part, strict=True):
        torch.testing.assert_close(a / 3, b, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "pairs must be an even number of samples above 0, got 0"),
        (PAIRS[:3], "pairs must be an even number of samples above 0, got 3"),
        (PAIRS[1::-1], r"a pair must be a chosen and a rejected sample of one group, got \('rej"),
        ([PAIRS[0], PAIRS[3]], "of 'one' and 'two'; put the two next to each other"),
    ],
)
def test_samples_that_do_not_form_pairs_are_refused(samples, message):
    with pytest.raises(ConfigError, match=message):
        learner().update(samples, np.random.default_rng(0))


@pytest.mark.parametrize("beta", [0.0, -1.0, math.inf, math.nan])
def test_beta_must_be_positive(beta):
    with pytest.raises(ConfigError, match="beta must be above 0 and finite, got"):
        PairLossConfig(beta=beta)
