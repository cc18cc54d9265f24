import copy
import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from reason_env.agents.learning import Learner, LearnerConfig, LossConfig, make_batch
from reason_env.agents.learning.aggregate import LossTotals
from reason_env.agents.learning.loss import policy_loss
from reason_env.agents.methods.reference import likelihood
from reason_env.agents.rollout import TrainingSample
from reason_env.codec import ByteCodec
from reason_env.errors import CheckpointError, ConfigError, ModelError, TrainingError
from tests.agents.learning.finite_difference import assert_slopes

NUM_IDS = 16


class TinyModel(nn.Module):
    def __init__(self, seed):
        super().__init__()
        self.embed = nn.Embedding(NUM_IDS, 6)
        self.gru = nn.GRU(6, 10, batch_first=True)
        self.head = nn.Linear(10, NUM_IDS)
        generator = torch.Generator().manual_seed(seed)
        self.double()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator).double())

    def forward(self, token_ids_BT):
        return self.head(self.gru(self.embed(token_ids_BT))[0])


class TinyPolicy:
    """A causal model in float64; counts the rows and padded tokens it is asked about."""

    def __init__(self, seed=0):
        self.model = TinyModel(seed)
        self.codec = ByteCodec()
        self.device = torch.device("cpu")
        self.version = 0
        self.forwards = []

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
        self.forwards.append((torch.is_grad_enabled(), *token_ids_BT.shape))
        # Ids of padding may lie outside the tiny vocabulary.
        ids = token_ids_BT.masked_fill(attention_mask_BT == 0, 0)
        log_BTV = (self.model(ids)[:, :-1] / temperature).log_softmax(-1)
        mask = attention_mask_BT[:, 1:].bool()
        log_probs = log_BTV.gather(-1, ids[:, 1:, None])[..., 0]
        entropy = -(log_BTV.exp() * log_BTV).sum(-1)

        def place(values):
            return nn.functional.pad(torch.where(mask, values, 0.0), (1, 0))

        return place(log_probs), place(entropy) if with_entropy else None

    def mark_updated(self):
        self.version += 1

    def log_probs(self, samples, temperature=1.0):
        batch = make_batch(samples, self.codec.pad_id, dtype=torch.float64)
        with torch.no_grad():
            return self.token_log_probs(
                batch.token_ids_BT, batch.attention_mask_BT, temperature=temperature
            )[0]

    def weights(self):
        return [parameter.detach().clone() for parameter in self.model.parameters()]


def make_samples(advantages, roles=None, seed=3):
    """Ragged samples: a prefix that is not trained, then 2 to 7 sampled tokens."""
    rng = np.random.default_rng(seed)
    samples = []
    for index, advantage in enumerate(advantages):
        num_prefix, num_sampled = int(rng.integers(0, 3)), int(rng.integers(2, 8))
        num_tokens = num_prefix + num_sampled
        mask = (False,) * num_prefix + (True,) * num_sampled
        log_probs = np.where(mask, -2.5 + 0.4 * rng.normal(size=num_tokens), 0.0)
        samples.append(
            TrainingSample(
                context_ids=tuple(rng.integers(0, NUM_IDS, size=rng.integers(1, 5)).tolist()),
                token_ids=tuple(rng.integers(0, NUM_IDS, size=num_tokens).tolist()),
                action_mask=mask,
                behavior_log_probs=tuple(log_probs.tolist()),
                advantage=advantage,
                role=roles[index] if roles else "base",
                group="toy/train/0",
            )
        )
    return samples


ADVANTAGES = (1.0, -0.5, 0.0, 0.7, 0.0, -1.2, 0.3)


def learner_of(policy, **changes):
    live = {k: changes.pop(k) for k in list(changes) if k not in LearnerConfig.__slots__}
    return Learner(policy, LearnerConfig(**({"max_grad_norm": None} | changes)), **live)


def update(learner, samples, seed=0):
    return learner.update(samples, np.random.default_rng(seed))


def last_gradient(learner):
    """The gradient of a learner's only update: AdamW's first moment is 0.1 of it."""
    return [learner.optimizer.state[p]["exp_avg"] / 0.1 for p in learner.parameters]


def manual_loss(policy, samples, loss, *, old=None, ref=None, totals=None, temperature=1.0):
    """The loss of all rows in one piece, by the definition."""
    batch = make_batch(samples, policy.codec.pad_id, dtype=torch.float64)
    log_probs, entropy = policy.token_log_probs(
        batch.token_ids_BT, batch.attention_mask_BT, temperature=temperature, with_entropy=True
    )
    return policy_loss(
        log_probs,
        log_probs.detach() if old is None else old,
        batch.advantages_BT,
        batch.action_mask_BT,
        config=loss,
        totals=totals or LossTotals.of(batch.action_mask_BT, 11),
        ref_log_probs_BT=ref,
        behavior_log_probs_BT=batch.behavior_log_probs_BT,
        entropy_BT=entropy,
    ).loss


def manual_gradient(policy, samples, loss, **options):
    value = manual_loss(policy, samples, loss, **options)
    return value.item(), torch.autograd.grad(value, list(policy.model.parameters()))


def assert_equal_all(got, expected, rtol=1e-9):
    scale = max(x.abs().max().item() for x in expected)
    assert scale > 0
    for x, y in zip(got, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize("aggregation", ["seq_mean_token_mean", "token_mean", "seq_mean_token_sum"])
@pytest.mark.parametrize("budget", [1, 25, 10_000])
@pytest.mark.parametrize("kl", [0.0, 0.3])
def test_micro_batches_of_any_size_give_the_gradient_of_all_rows(aggregation, budget, kl):
    loss = LossConfig(aggregation=aggregation, kl_coefficient=kl, importance_weight_cap=1.2)
    samples, policy, ref = make_samples(ADVANTAGES), TinyPolicy(), TinyPolicy(seed=1)
    value, expected = manual_gradient(policy, samples, loss, ref=ref.log_probs(samples))
    policy.forwards.clear()
    learner = learner_of(
        policy, loss=loss, micro_batch_tokens=budget, ref_policy=ref, max_response_tokens=11
    )
    report = update(learner, samples)
    assert report.loss == pytest.approx(value, rel=1e-9)
    assert_equal_all(last_gradient(learner), expected)
    norm = math.sqrt(sum(g.square().sum().item() for g in expected))
    assert report.grad_norm == pytest.approx(norm, rel=1e-9)
    # The two rows without advantage go through the model only where KL needs them.
    assert sum(rows for _, rows, _ in policy.forwards) == (7 if kl else 5)
    assert all(rows * width <= budget or rows == 1 for _, rows, width in policy.forwards)
    assert report.metrics["update/active_rows_fraction"] == pytest.approx(1 if kl else 5 / 7)
    assert report.metrics["loss/kl"] > 0 or not kl


def test_an_entropy_bonus_trains_rows_without_advantage():
    loss = LossConfig(entropy_coefficient=0.2, importance_weight_cap=None)
    samples, policy = make_samples((0.0, 0.0, 0.0)), TinyPolicy()
    _, expected = manual_gradient(policy, samples, loss)
    learner = learner_of(policy, loss=loss, micro_batch_tokens=12)
    report = update(learner, samples)
    assert_equal_all(last_gradient(learner), expected)
    assert report.metrics["loss/entropy"] < 0
    assert report.metrics["update/entropy"] > 0


def test_one_on_policy_update_takes_one_forward_pass_and_has_the_reinforce_gradient():
    samples = make_samples((1.0, -0.5, 0.4))
    policy, other = TinyPolicy(), TinyPolicy()
    learner = learner_of(policy, loss=LossConfig(importance_weight_cap=None))
    report = update(learner, samples)
    assert [is_grad for is_grad, *_ in policy.forwards] == [True]
    reinforce = LossConfig(surrogate="reinforce", importance_weight_cap=None)
    assert_equal_all(last_gradient(learner), manual_gradient(other, samples, reinforce)[1])
    assert report.metrics["update/ratio_mean"] == 1.0
    assert report.metrics["update/kl_old_policy"] == 0.0


def test_old_log_probs_are_computed_before_the_first_of_several_epochs():
    samples, policy, other = make_samples(ADVANTAGES), TinyPolicy(), TinyPolicy()
    loss = LossConfig(clip_low=0.05, clip_high=0.1, importance_weight_cap=1.2)
    learner = learner_of(policy, loss=loss, epochs=3, learning_rate=0.02, temperature=0.7)
    report = update(learner, samples)
    optimizer = torch.optim.AdamW(other.model.parameters(), lr=0.02, weight_decay=0)
    old = other.log_probs(samples, temperature=0.7)
    values = []
    for _ in range(3):
        optimizer.zero_grad()
        value = manual_loss(other, samples, loss, old=old, temperature=0.7)
        value.backward()
        optimizer.step()
        values.append(value.item())
    for x, y in zip(policy.weights(), other.weights(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-12)
    assert report.loss == pytest.approx(sum(values) / 3, rel=1e-9)
    assert report.metrics["update/kl_old_policy"] > 1e-4
    assert report.metrics["update/clip_high_fraction"] > 0
    assert (report.num_updates, policy.version, learner.num_updates) == (3, 3, 3)
    # One pass of scoring, over the rows that have a gradient, then three with gradient.
    assert [(is_grad, rows) for is_grad, rows, _ in policy.forwards] == [(False, 5)] + [
        (True, 5)
    ] * 3


def test_several_updates_split_the_samples_and_each_has_its_own_totals():
    samples = make_samples((1.0, -0.5, 0.4, 0.7, -1.0))
    loss = LossConfig(importance_weight_cap=None)
    policy, other = TinyPolicy(), TinyPolicy()
    learner = learner_of(policy, loss=loss, updates_per_iteration=2, learning_rate=0.02)
    report = update(learner, samples, seed=5)
    optimizer = torch.optim.AdamW(other.model.parameters(), lr=0.02, weight_decay=0)
    order = np.random.default_rng(5).permutation(5)
    assert sorted(order) != order.tolist()
    parts = [[samples[i] for i in order[:3]], [samples[i] for i in order[3:]]]
    olds = [other.log_probs(part) for part in parts]
    for part, old in zip(parts, olds, strict=True):
        optimizer.zero_grad()
        manual_loss(other, part, loss, old=old).backward()
        optimizer.step()
    for x, y in zip(policy.weights(), other.weights(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-12)
    assert report.num_updates == 2
    assert report.metrics["update/tokens"] == sum(sum(s.action_mask) for s in samples)


@pytest.mark.parametrize(("updates", "epochs", "num_drawn"), [(1, 2, 0), (2, 2, 2), (9, 1, 1)])
def test_the_generator_orders_the_samples_once_an_epoch_if_there_are_several_updates(
    updates, epochs, num_drawn
):
    rng, expected = np.random.default_rng(5), np.random.default_rng(5)
    learner_of(TinyPolicy(), updates_per_iteration=updates, epochs=epochs).update(
        make_samples(ADVANTAGES), rng
    )
    for _ in range(num_drawn):
        expected.permutation(len(ADVANTAGES))
    assert rng.random() == expected.random()


def test_the_number_of_updates_is_at_most_the_number_of_samples():
    learner = learner_of(TinyPolicy(), updates_per_iteration=8)
    assert update(learner, make_samples((1.0, -1.0))).num_updates == 2


def test_zero_advantages_change_no_weight_despite_momentum_and_weight_decay():
    policy = TinyPolicy()
    learner = learner_of(policy, learning_rate=0.1, weight_decay=0.1)
    update(learner, make_samples((1.0, -1.0)))
    before, state = policy.weights(), copy.deepcopy(learner.state_dict())
    num_forwards = len(policy.forwards)
    report = update(learner, make_samples((0.0, 0.0, 0.0)))
    assert all(torch.equal(x, y) for x, y in zip(policy.weights(), before, strict=True))
    assert learner.state_dict()["num_updates"] == state["num_updates"] == 1
    assert (report.num_updates, report.num_skipped, policy.version) == (0, 1, 1)
    assert (report.loss, report.grad_norm, report.learning_rate) == (0.0, 0.0, 0.0)
    assert len(policy.forwards) == num_forwards
    assert "update/ratio_mean" not in report.metrics
    assert report.metrics_by_role == {}


def test_only_the_update_without_advantages_is_skipped():
    samples = make_samples((0.0, 1.0))
    learner = learner_of(TinyPolicy(), updates_per_iteration=2)
    report = update(learner, samples)
    assert (report.num_updates, report.num_skipped) == (1, 1)
    assert report.metrics["update/num_skipped"] == 1


def test_roles_with_different_losses_share_denominators():
    samples = make_samples((1.0, -0.5, 0.7, 0.4), roles=["base", "hinted", "hinted", "base"])
    shaped = LossConfig(surrogate="shaped", ratio_denominator="behavior", shape_gamma=0.2)
    loss = LossConfig(importance_weight_cap=None)
    policy, other = TinyPolicy(), TinyPolicy()
    learner = learner_of(policy, loss=loss, role_losses={"hinted": shaped}, micro_batch_tokens=1000)
    report = update(learner, samples)
    totals = LossTotals.of(make_batch(samples, 0).action_mask_BT)
    of_role = [[s for s in samples if s.role == role] for role in ("base", "hinted")]
    parts = [
        manual_gradient(other, rows, own, totals=totals)
        for rows, own in zip(of_role, (loss, shaped), strict=True)
    ]
    assert report.loss == pytest.approx(sum(value for value, _ in parts), rel=1e-9)
    assert_equal_all(
        last_gradient(learner), [a + b for a, b in zip(*(g for _, g in parts), strict=True)]
    )
    assert report.metrics_by_role["base"]["update/ratio_mean"] == 1.0
    ratio = []
    for sample, row in zip(of_role[1], other.log_probs(of_role[1]), strict=True):
        log_probs = row[len(sample.context_ids) :][: len(sample.token_ids)]
        gaps = log_probs - torch.tensor(sample.behavior_log_probs, dtype=torch.float64)
        ratio += gaps[torch.tensor(sample.action_mask)].exp().tolist()
    hinted = report.metrics_by_role["hinted"]
    assert hinted["update/ratio_mean"] == pytest.approx(np.mean(ratio), rel=1e-9)
    assert hinted["update/tokens"] == len(ratio)


def test_tokens_of_the_prefix_are_context_only():
    # Changing a prefix token's entry in behavior_log_probs, or its mask-false neighbours'
    # log-probability, changes nothing; only the context of later tokens counts.
    sample = next(s for s in make_samples(ADVANTAGES) if not s.action_mask[0] and s.advantage)
    dirty = replace(sample, behavior_log_probs=(math.nan, *sample.behavior_log_probs[1:]))
    policies = TinyPolicy(), TinyPolicy()
    for policy, one in zip(policies, (sample, dirty), strict=True):
        update(learner_of(policy), [one])
    first, second = (policy.weights() for policy in policies)
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


def test_the_learning_rate_warms_up_linearly():
    learner = learner_of(TinyPolicy(), learning_rate=0.1, warmup_updates=4)
    samples = make_samples((1.0, -1.0))
    rates = [update(learner, samples).learning_rate for _ in range(6)]
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])
    assert learner.optimizer.param_groups[0]["lr"] == 0.1


def test_the_schedule_follows_the_share_of_the_run_and_the_warm_up_multiplies_it():
    learner = learner_of(
        TinyPolicy(),
        learning_rate=0.1,
        warmup_updates=3,
        schedule="linear",
        epochs=2,
        updates_per_iteration=2,
    )
    samples, rng = make_samples((1.0, -1.0, 0.5, -0.5)), np.random.default_rng(0)
    first = learner.update(samples, rng, run_share=(0.0, 0.5))
    # The fourth of four updates: 3/8 of the run is done, 1 - 0.9 * 3/8; the warm-up is over.
    assert first.learning_rate == pytest.approx(0.1 * (1 - 0.9 * 0.375))
    fresh = learner_of(TinyPolicy(), learning_rate=0.1, warmup_updates=3, schedule="linear")
    second = fresh.update(samples, rng, run_share=(0.25, 0.5))
    assert second.learning_rate == pytest.approx(0.1 / 3 * (1 - 0.9 * 0.25))


def test_the_first_of_four_warm_up_updates_moves_weights_a_quarter_as_far():
    policies = [TinyPolicy(), TinyPolicy()]
    moves = []
    for policy, warmup in zip(policies, (0, 4), strict=True):
        before = policy.model.head.bias.detach().clone()
        update(learner_of(policy, learning_rate=0.1, warmup_updates=warmup), make_samples((1.0,)))
        moves.append(policy.model.head.bias.detach() - before)
    torch.testing.assert_close(moves[0], 4 * moves[1], rtol=1e-9, atol=1e-12)


def test_gradients_are_clipped_to_the_norm():
    free, limited = learner_of(TinyPolicy()), learner_of(TinyPolicy(), max_grad_norm=0.01)
    samples = make_samples(ADVANTAGES)
    norm = update(free, samples).grad_norm
    assert norm > 0.1
    assert update(limited, samples).grad_norm == pytest.approx(norm, rel=1e-9)
    expected = [gradient * 0.01 / norm for gradient in last_gradient(free)]
    # clip_grad_norm_ adds 1e-6 to the norm
    assert_equal_all(last_gradient(limited), expected, rtol=1e-4)


def test_gradients_left_over_on_the_model_are_cleared_before_an_update():
    policies = TinyPolicy(), TinyPolicy()
    for parameter in policies[1].model.parameters():
        parameter.grad = torch.ones_like(parameter)
    learners = [learner_of(policy) for policy in policies]
    assert update(learners[0], make_samples(ADVANTAGES)) == update(
        learners[1], make_samples(ADVANTAGES)
    )


def broken_gradient(policy):
    hook = policy.model.head.bias.register_hook(lambda gradient: gradient * math.nan)
    return hook.remove


def broken_loss(policy):
    """The loss is no number, but every gradient is finite."""
    score = policy.token_log_probs

    def token_log_probs(*args, **options):
        log_probs, entropy = score(*args, **options)
        return log_probs + (math.inf - math.inf), entropy

    policy.token_log_probs = token_log_probs
    return lambda: setattr(policy, "token_log_probs", score)


@pytest.mark.parametrize("break_", [broken_gradient, broken_loss])
def test_an_update_that_is_not_finite_is_skipped_and_counted(break_, caplog):
    policy, whole = TinyPolicy(), TinyPolicy()
    learner, other = learner_of(policy, max_grad_norm=1.0), learner_of(whole, max_grad_norm=1.0)
    samples = make_samples((1.0, -1.0))
    update(learner, samples)
    before, state = policy.weights(), copy.deepcopy(learner.optimizer.state_dict())
    mend = break_(policy)
    report = update(learner, samples)
    assert (report.num_updates, report.num_skipped, report.num_nonfinite) == (0, 0, 1)
    assert report.metrics["update/num_nonfinite"] == 1
    assert (report.loss, report.grad_norm) == (0.0, 0.0)
    assert all(torch.equal(x, y) for x, y in zip(policy.weights(), before, strict=True))
    for index, entry in learner.optimizer.state_dict()["state"].items():
        assert all(torch.equal(entry[name], state["state"][index][name]) for name in entry)
    assert (learner.num_updates, policy.version, learner.num_nonfinite_in_a_row) == (1, 1, 1)
    assert all(p.grad is None for p in policy.model.parameters())
    assert "the update after update 1 is skipped, because its loss is" in caplog.text
    assert "1 in a row, at 3 the run stops" in caplog.text
    mend()
    # As if the broken update had never been.
    reports = [update(one, samples, seed) for one, seed in ((learner, 2), (other, 0), (other, 2))]
    assert reports[0] == reports[2]
    assert all(torch.equal(x, y) for x, y in zip(policy.weights(), whole.weights(), strict=True))
    assert learner.num_nonfinite_in_a_row == 0


def test_updates_that_are_not_finite_are_counted_in_a_row_over_iterations_and_resumes():
    policy = TinyPolicy()
    samples = make_samples((1.0, -1.0, 0.5, 0.25))
    learner = learner_of(policy, updates_per_iteration=2, max_nonfinite_updates=3)
    mend = broken_gradient(policy)
    assert update(learner, samples).num_nonfinite == 2
    assert not learner.has_diverged
    learner.check_finite()
    again = learner_of(policy, updates_per_iteration=2, max_nonfinite_updates=3)
    again.load_state_dict(learner.state_dict())
    assert update(again, samples[:1]).num_nonfinite == 1
    assert again.has_diverged
    message = (
        "fewer than 3 updates in a row must have a loss or gradient that is not finite, got 3 "
        "after update 0, none of them taken; lower the learning rate, or raise max_nonfinite"
    )
    with pytest.raises(TrainingError, match=message):
        again.check_finite()
    mend()
    update(again, samples)
    assert (again.num_nonfinite_in_a_row, again.num_updates) == (0, 2)


def test_a_run_that_is_resumed_is_bit_equal_to_one_that_was_not():
    policy = TinyPolicy()
    settings = {"learning_rate": 0.05, "warmup_updates": 5, "updates_per_iteration": 2}
    learner = learner_of(policy, **settings)
    update(learner, make_samples(ADVANTAGES), seed=1)
    file = io.BytesIO()
    torch.save({"model": policy.model.state_dict(), "learner": learner.state_dict()}, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    other = TinyPolicy(seed=9)
    other.model.load_state_dict(loaded["model"])
    resumed = learner_of(other, **settings)
    resumed.load_state_dict(loaded["learner"])
    reports = [update(x, make_samples(ADVANTAGES, seed=4), seed=2) for x in (learner, resumed)]
    assert reports[0] == reports[1]
    assert all(torch.equal(x, y) for x, y in zip(policy.weights(), other.weights(), strict=True))


def test_equal_samples_and_seeds_give_equal_reports():
    settings = {"updates_per_iteration": 3, "epochs": 2}
    reports = [
        update(learner_of(TinyPolicy(), **settings), make_samples(ADVANTAGES)) for _ in range(2)
    ]
    assert reports[0] == reports[1]


def test_an_update_frees_its_gradients():
    policy = TinyPolicy()
    assert update(learner_of(policy), make_samples((1.0, -1.0))).num_updates == 1
    assert all(p.grad is None for p in policy.model.parameters())


def test_training_raises_the_probability_of_the_sample_with_positive_advantage():
    policy, samples = TinyPolicy(), make_samples((1.0, -1.0))
    before = policy.log_probs(samples).sum(dim=1)
    learner = learner_of(policy, learning_rate=0.01, loss=LossConfig(importance_weight_cap=None))
    for _ in range(20):
        update(learner, samples)
    change = policy.log_probs(samples).sum(dim=1) - before
    assert change[0] > 1
    assert change[1] < -1


def test_micro_batches_give_equal_gradients_with_a_transformer_policy():
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from reason_env.agents.policy import LanguageModelPolicy

    codec = ByteCodec()
    config = Qwen3Config(
        vocab_size=codec.vocab_size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=64,
    )
    policies = [LanguageModelPolicy(Qwen3ForCausalLM(config).double(), codec) for _ in range(2)]
    policies[1].model.load_state_dict(policies[0].model.state_dict())
    samples = make_samples(ADVANTAGES)
    learners = [
        learner_of(policy, micro_batch_tokens=budget)
        for policy, budget in zip(policies, (1, 1000), strict=True)
    ]
    reports = [update(learner, samples) for learner in learners]
    assert_equal_all(*(last_gradient(learner) for learner in learners), rtol=1e-6)
    assert reports[0].loss == pytest.approx(reports[1].loss, rel=1e-9)
    assert reports[0].num_updates == policies[0].policy_version == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"max_nonfinite_updates": 0},
            "max_nonfinite_updates must be at least 1 and finite, got 0",
        ),
        ({"learning_rate": 0.0}, "learning_rate must be above 0 and finite, got 0.0"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0 and finite, got nan"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0"),
        ({"warmup_updates": -1}, "warmup_updates must be at least 0"),
        ({"max_grad_norm": 0.0}, "max_grad_norm must be above 0"),
        ({"updates_per_iteration": 0}, "updates_per_iteration must be at least 1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"micro_batch_tokens": 0}, "micro_batch_tokens must be at least 1"),
        ({"betas": (0.9, 1.0)}, r"betas must be two numbers in \[0, 1\), got \(0.9, 1.0\)"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        LearnerConfig(**changes)


def test_a_learner_without_what_its_loss_needs_is_refused():
    with pytest.raises(ConfigError, match="kl_coefficient must be 0 without a reference policy"):
        learner_of(TinyPolicy(), loss=LossConfig(kl_coefficient=0.1))
    budgeted = LossConfig(aggregation="seq_mean_token_sum")
    with pytest.raises(ConfigError, match="'seq_mean_token_sum' must have a response budget"):
        learner_of(TinyPolicy(), role_losses={"reset": budgeted})
    with pytest.raises(ConfigError, match="temperature must be above 0 for training, got"):
        learner_of(TinyPolicy(), temperature=0.0)
    frozen = TinyPolicy()
    frozen.model.requires_grad_(False)
    with pytest.raises(ModelError, match="must have a parameter that requires a gradient"):
        learner_of(frozen)


def test_an_empty_update_and_another_model_s_state_are_refused():
    learner = learner_of(TinyPolicy())
    with pytest.raises(ConfigError, match="at least one training sample, got none"):
        update(learner, [])
    with pytest.raises(CheckpointError, match="state must fit the policy's model, got 'optimizer'"):
        learner.load_state_dict({"num_updates": 3})
    foreign = learner.state_dict()
    foreign["optimizer"]["param_groups"][0]["params"] = [0]
    with pytest.raises(CheckpointError, match="the learner's state must fit the policy's model"):
        learner.load_state_dict(foreign)


@pytest.mark.parametrize("budget", [1, 10_000])
def test_a_likelihood_is_at_its_own_temperature_next_to_ratios_at_the_sampling_temperature(budget):
    roles = ["base", "explanation", "base", "explanation", "base"]
    samples = make_samples([1.0, 0.4, -0.5, 0.4, 0.7], roles=roles)
    # KL and a second epoch make the learner score rows with the old and the reference policy too.
    loss = LossConfig(kl_coefficient=0.3)
    own = replace(likelihood("seq_mean_token_mean", 1.7), kl_coefficient=0.2)
    policy, ref = TinyPolicy(), TinyPolicy(seed=1)
    learner = learner_of(
        policy,
        loss=loss,
        role_losses={"explanation": own},
        ref_policy=ref,
        temperature=0.6,
        max_response_tokens=11,
        micro_batch_tokens=budget,
        epochs=2,
        learning_rate=1e-12,
    )
    report = update(learner, samples)
    expected = 0.0
    gradient = [torch.zeros_like(p) for p in policy.model.parameters()]
    for role, config, temperature in (("base", loss, 0.6), ("explanation", own, 1.7)):
        part = [sample for sample in samples if sample.role == role]
        value, part_gradient = manual_gradient(
            TinyPolicy(),
            part,
            config,
            old=TinyPolicy().log_probs(part, temperature),
            ref=ref.log_probs(part, temperature),
            temperature=temperature,
            totals=LossTotals.of(make_batch(part, 0).action_mask_BT, 11),
        )
        expected += value
        gradient = [x + y for x, y in zip(gradient, part_gradient, strict=True)]
    assert report.loss == pytest.approx(expected, rel=1e-9)
    # Two equal updates: the first moment is 0.1 (1 + 0.9) of the gradient.
    moments = [learner.optimizer.state[p]["exp_avg"] / 0.19 for p in learner.parameters]
    assert_equal_all(moments, gradient, rtol=1e-8)
    # The old log-probabilities that a run writes have the temperature of their loss.
    explanation = TinyPolicy().log_probs([samples[1]], 1.7)[0]
    mask = make_batch([samples[1]], 0).action_mask_BT[0]
    torch.testing.assert_close(learner.old_log_probs[1], explanation[mask], rtol=1e-9, atol=1e-9)


def test_a_separate_normaliser_averages_over_the_rows_of_one_role():
    # ExPO's explanations and SFT's references have equal losses but are two terms, not one.
    own = likelihood("seq_mean_token_mean", 1.0)

    def total(*roles):
        samples = make_samples([0.5, 0.25, 2.0], roles=["explanation", "explanation", "reference"])
        kept = [sample for sample in samples if sample.role in roles]
        learner = learner_of(TinyPolicy(), role_losses={"explanation": own, "reference": own})
        return update(learner, kept).metrics["loss/total"]

    def main_total(**changes):
        samples = make_samples([0.5, 0.25, 2.0], roles=["base", "base", "reset"])
        loss = LossConfig(surrogate="reinforce", **changes)
        return update(learner_of(TinyPolicy(), loss=loss), samples).metrics["loss/total"]

    # A main loss with a separate normaliser is one term over all of its roles.
    assert main_total(separate_normaliser=True) == pytest.approx(main_total(), rel=1e-12)
    both = total("explanation", "reference")
    assert both == pytest.approx(total("explanation") + total("reference"), rel=1e-6)
    assert both != pytest.approx(total("explanation"), rel=0.1)


def of_tokens(samples, seed=9):
    """The samples with another advantage for each trained token; some are 0."""
    rng = np.random.default_rng(seed)
    found = []
    for sample in samples:
        values = rng.normal(size=len(sample.token_ids)) * (rng.random(len(sample.token_ids)) < 0.8)
        own = tuple(np.where(sample.action_mask, values, 0.0).tolist())
        found.append(replace(sample, advantage=own))
    return found


def test_one_advantage_for_all_tokens_is_that_number_for_each_of_them():
    samples = make_samples(ADVANTAGES)
    spread = [replace(sample, advantage=sample.advantages) for sample in samples]
    gradients = []
    for given in (samples, spread):
        learner = learner_of(TinyPolicy())
        update(learner, given)
        gradients.append(last_gradient(learner))
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("surrogate", ["clip", "shaped", "reinforce"])
def test_the_gradient_of_advantages_of_tokens_is_the_finite_difference(surrogate):
    samples = of_tokens(make_samples(ADVANTAGES))
    loss = LossConfig(surrogate=surrogate, importance_weight_cap=None)
    learner = learner_of(TinyPolicy(), loss=loss, temperature=0.7)
    update(learner, samples)
    policy = TinyPolicy()
    old = policy.log_probs(samples, 0.7)

    def value():
        with torch.no_grad():
            return manual_loss(policy, samples, loss, old=old, temperature=0.7).item()

    assert_slopes(
        policy.model.parameters(),
        last_gradient(learner),
        value,
        np.random.default_rng(1),
        num=4,
        size=1e-6,
        rel=1e-6,
        floor=1e-9,
    )


@pytest.mark.parametrize("budget", [1, 20, 10**6])
@pytest.mark.parametrize("surrogate", ["clip", "gspo", "cispo"])
def test_micro_batches_do_not_change_the_gradient_of_advantages_of_tokens(surrogate, budget):
    samples = of_tokens(make_samples(ADVANTAGES))
    loss = LossConfig(surrogate=surrogate, aggregation="seq_mean_token_mean")
    gradients = []
    for size in (budget, 10**6):
        learner = learner_of(TinyPolicy(), loss=loss, micro_batch_tokens=size)
        update(learner, samples)
        gradients.append(last_gradient(learner))
    for ours, whole in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, whole, rtol=1e-10, atol=1e-14)


def test_by_hand_each_token_s_advantage_weighs_its_own_gradient():
    # Two tokens: -(0.5 grad log pi(first) - 2 grad log pi(second)) / 2, by two scalar samples.
    mask = ((True, False), (False, True))
    base = TrainingSample(
        context_ids=(3,),
        token_ids=(7, 5),
        action_mask=(True, True),
        behavior_log_probs=(-2.0, -3.0),
        advantage=(0.5, -2.0),
        role="base",
        group="toy/train/0",
    )
    loss = LossConfig(surrogate="reinforce", importance_weight_cap=None)
    learner = learner_of(TinyPolicy(), loss=loss)
    update(learner, [base])
    parts = []
    for own, advantage in zip(mask, (0.5, -2.0), strict=True):
        one = learner_of(TinyPolicy(), loss=loss)
        update(one, [replace(base, action_mask=own, advantage=advantage)])
        parts.append(last_gradient(one))
    for found, first, second in zip(last_gradient(learner), *parts, strict=True):
        torch.testing.assert_close(found, (first + second) / 2, rtol=1e-10, atol=1e-14)
