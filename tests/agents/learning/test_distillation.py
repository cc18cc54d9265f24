import importlib.util
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reason_env.agents.learning import (
    DistillationConfig,
    Learner,
    LearnerConfig,
    LossConfig,
    make_batch,
)
from reason_env.agents.learning import distillation as module
from reason_env.agents.learning.aggregate import LossTotals
from reason_env.agents.learning.distillation import divergence
from reason_env.agents.learning.loss import policy_loss
from reason_env.agents.rollout import TrainingSample
from reason_env.errors import CheckpointError, ConfigError
from tests.agents.learning.finite_difference import assert_slopes
from tests.agents.policy.test_prefix_tree import policies

ROOT = Path(__file__).parents[3]
SPEC = importlib.util.spec_from_file_location(
    "released", ROOT / "benchmarks" / "losses" / "released.py"
)
assert SPEC is not None
assert SPEC.loader is not None
released = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(released)

# Closed form.


def logs(*rows):
    return torch.tensor(rows, dtype=torch.float64).log()


P, Q = (0.5, 0.3, 0.2), (0.1, 0.3, 0.6)
"""The policy's and the teacher's probabilities."""


def of(**changes):
    return divergence(logs(P), logs(Q), DistillationConfig(**changes)).item()


def kl(first, second):
    return sum(a * math.log(a / b) for a, b in zip(first, second, strict=True))


def test_forward_is_the_divergence_of_the_policy_from_the_teacher_s_view():
    # 0.1 log(0.1 / 0.5) + 0.6 log(0.6 / 0.2) = -0.160944 + 0.659167
    assert of(divergence="forward") == pytest.approx(0.498224, abs=1e-6)
    # 0.5 log(0.5 / 0.1) + 0.2 log(0.2 / 0.6) = 0.804719 - 0.219722
    assert of(divergence="reverse") == pytest.approx(0.584996, abs=1e-6)


def test_jensen_shannon_weighs_both_by_the_teacher_s_share():
    # m = 0.75 P + 0.25 Q
    mixed = [0.75 * p + 0.25 * q for p, q in zip(P, Q, strict=True)]
    expected = 0.25 * kl(Q, mixed) + 0.75 * kl(P, mixed)
    assert of(mixture=0.25) == pytest.approx(expected, rel=1e-12)
    assert of(mixture=0.75) != pytest.approx(expected, rel=1e-2)


def test_the_limits_of_the_mixture_are_forward_and_reverse():
    # JS / b -> forward as b -> 0, and JS / (1 - b) -> reverse as b -> 1.
    tiny = 1e-7
    assert of(mixture=tiny) / tiny == pytest.approx(of(divergence="forward"), rel=1e-5)
    assert of(mixture=1 - tiny) / tiny == pytest.approx(of(divergence="reverse"), rel=1e-5)


def test_the_likeliest_ids_are_the_policy_s_or_the_teacher_s():
    # The policy's two: 0.5 and 0.3, the rest 0.2; of the teacher 0.1, 0.3 and 0.6.
    assert of(divergence="forward", top_k=2) == pytest.approx(kl(Q, P), rel=1e-12)
    # The policy's likeliest: (0.5, 0.5) and (0.1, 0.9).
    assert of(divergence="forward", top_k=1) == pytest.approx(kl((0.1, 0.9), (0.5, 0.5)))
    # The teacher's: (0.2, 0.8) and (0.6, 0.4).
    assert of(divergence="forward", top_k=1, support="teacher") == pytest.approx(
        kl((0.6, 0.4), (0.2, 0.8))
    )
    # Without the rest: the teacher's two ids, renormalised.
    found = of(divergence="reverse", top_k=2, support="teacher", tail=False)
    assert found == pytest.approx(kl((0.6, 0.4), (1 / 3, 2 / 3)), rel=1e-12)
    assert of(top_k=3) == of(top_k=None)


@pytest.mark.parametrize("name", ["forward", "reverse", "jensen_shannon"])
@pytest.mark.parametrize("top_k", [None, 2])
def test_a_policy_that_equals_its_teacher_has_no_divergence_and_no_gradient(name, top_k):
    logits = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    own = logits.requires_grad_()
    config = DistillationConfig(divergence=name, top_k=top_k)
    found = divergence(own.log_softmax(-1), own.log_softmax(-1), config)
    found.sum().backward()
    assert found.abs().max() < 1e-12
    assert own.grad is not None
    assert own.grad.abs().max() < 1e-12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"divergence": "revers"}, "divergence must be one of forward, .* did you mean 'reverse'"),
        ({"support": "student"}, "support must be one of policy, teacher, got 'student'"),
        ({"mixture": 1.0}, r"mixture must lie between 0 and 1, got 1.0; for the limits use"),
        ({"top_k": 0}, "top_k must be at least 1, got 0; use None"),
        ({"top_k": 1, "tail": False}, "top_k must be at least 2 without a tail, got 1"),
        ({"teacher": ""}, "teacher must be policy, initial, average or a model, got ''"),
        ({"average_rate": 0.0}, r"average_rate must lie in \(0, 1\], got 0.0"),
        ({"ratio_cap": 0.0}, "ratio_cap must be above 0 and finite, got 0.0"),
    ],
)
def test_numbers_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        DistillationConfig(**changes)


def test_a_teacher_and_its_surrogate_come_together():
    with pytest.raises(ConfigError, match="must be given with the surrogate 'distill' and"):
        LossConfig(surrogate="distill")
    with pytest.raises(ConfigError, match=r"and with no other, got .* with 'clip'"):
        LossConfig(distillation=DistillationConfig())


# Released code.


@pytest.mark.parametrize("case", sorted(released.cases()))
def test_losses_and_gradients_equal_the_released_code(case):
    row = released.run(case)
    # verl divides a sequence by its length + 1e-8.
    off = 1e-8 if case == "clipped_sequence_mean/verl" else 1e-14
    assert row["ours"]["loss"] == pytest.approx(row["theirs"]["loss"], rel=1e-10, abs=off)
    theirs = np.array(row["theirs"]["gradient"])
    assert np.abs(theirs).max() > 1e-3
    np.testing.assert_allclose(row["ours"]["gradient"], theirs, rtol=1e-8, atol=1e-15)


def test_the_fixture_holds_every_case_and_its_inputs():
    frozen = json.loads(released.FIXTURE.read_text())
    assert set(frozen["losses"]) == set(released.cases())
    for name, values in released.make_inputs().items():
        assert np.allclose(frozen["inputs"][name], values, rtol=1e-12), name


# The learner.

ROWS = (
    # context, teacher's context, tokens, mask, advantage
    ((5, 6), (7, 7, 9, 5, 6), (8, 9, 10), (True, True, True), 1.0),
    ((5, 6), (7, 7, 8, 5, 6), (8, 9, 12, 4), (False, True, True, True), 0.6),
    ((5, 6), (7, 7, 9, 5, 6), (8, 9, 10), (True, True, True), 1.0),
    ((3,), (11, 3), (6, 5, 6), (True, False, True), (1.0, 0.0, 0.25)),
)


def samples_of(rows=ROWS, role="base"):
    rng = np.random.default_rng(4)
    return [
        TrainingSample(
            context_ids=context,
            teacher_context_ids=shown,
            token_ids=tokens,
            action_mask=mask,
            behavior_log_probs=tuple(np.where(mask, -5 + rng.normal(size=len(mask)), 0).tolist()),
            advantage=advantage,
            role=role,
            group="toy/train/0",
        )
        for context, shown, tokens, mask, advantage in rows
    ]


def loss_of(**changes):
    return LossConfig(
        surrogate="distill",
        distillation=DistillationConfig(**changes),
        importance_weight_cap=None,
        aggregation="seq_mean_token_mean",
        temperature=0.8,
    )


def learner_of(policy, loss, **changes):
    own = {k: changes.pop(k) for k in list(changes) if k in LearnerConfig.__slots__}
    config = LearnerConfig(**({"max_grad_norm": None, "learning_rate": 1e-3} | own))
    return Learner(policy, config, loss=loss, **changes)


def by_hand(policy, samples, config, *, teacher=None, temperature=0.8):
    """The loss from all logits of each sample alone."""
    total = 0.0
    for sample in samples:
        shown = sample.teacher_context_ids
        own, taught = (
            (
                who.model(torch.tensor([context + sample.token_ids])).logits[0] / temperature
            ).log_softmax(-1)[len(context) - 1 : -1]
            for who, context in ((policy, sample.context_ids), (teacher or policy, shown))
        )
        size = policy.codec.vocab_size
        own, taught = (
            (z[:, :size] - z[:, :size].logsumexp(-1, keepdim=True)) for z in (own, taught)
        )
        found = divergence(own, taught, config)
        weights = torch.tensor(sample.advantages, dtype=found.dtype)
        total = total + (weights * found).sum() / sum(sample.action_mask) / len(samples)
    return total


def moments(learner):
    return [learner.optimizer.state[p]["exp_avg"] / 0.1 for p in learner.parameters]


KINDS = [
    {"divergence": "forward"},
    {"divergence": "reverse", "top_k": 5},
    {"mixture": 0.3, "top_k": 4, "support": "teacher", "tail": False},
]


@pytest.mark.parametrize("changes", KINDS)
@pytest.mark.parametrize("form", [0, 1, 2], ids=["tree", "rows", "logits"])
@pytest.mark.parametrize(("budget", "chunk"), [(1, 2**23), (10, 300), (10**6, 300)])
def test_an_update_has_the_gradient_of_scoring_each_sample_by_hand(
    changes, form, budget, chunk, monkeypatch
):
    monkeypatch.setattr(module, "MAX_CHUNK_LOGITS", chunk)
    policy, plain = policies("qwen3", torch.float64)[form], policies("qwen3", torch.float64)[2]
    learner = learner_of(policy, loss_of(**changes), micro_batch_tokens=budget)
    report = learner.update(samples_of(), np.random.default_rng(0))
    expected = by_hand(plain, samples_of(), DistillationConfig(**changes))
    expected.backward()
    assert report.loss == pytest.approx(expected.item(), rel=1e-9)
    wanted = [own.grad for own in plain.model.parameters() if own.requires_grad]
    for found, gradient in zip(moments(learner), wanted, strict=True):
        torch.testing.assert_close(found, gradient, rtol=1e-7, atol=1e-10)
    # Rows of the contexts that the teacher saw: 8 + 9 + 8 + 5.
    assert report.metrics["update/teacher_tokens"] == 30
    assert report.metrics["update/teacher_divergence"] > 1e-3


def test_the_gradient_is_the_finite_difference_with_the_teacher_held():
    policy, teacher = (policies("qwen3", torch.float64)[0] for _ in range(2))
    learner = learner_of(policy, loss_of(mixture=0.3))
    learner.update(samples_of(), np.random.default_rng(0))
    moved = policies("qwen3", torch.float64)[0]
    config, rng = DistillationConfig(mixture=0.3), np.random.default_rng(2)

    @torch.no_grad()
    def value():
        return by_hand(moved, samples_of(), config, teacher=teacher).item()

    assert_slopes(
        moved.model.parameters(),
        moments(learner),
        value,
        rng,
        num=2,
        size=1e-5,
        rel=2e-5,
        floor=1e-8,
    )


def test_roles_with_and_without_a_teacher_train_in_one_update():
    policy = policies("qwen3", torch.float64)[0]
    taught = replace(loss_of(), separate_normaliser=True)
    base = [replace(s, role="base") for s in samples_of()[:2]]
    both = [*base, *samples_of(role="taught")]
    learner = learner_of(policy, LossConfig(), role_losses={"taught": taught}, temperature=0.8)
    report = learner.update(both, np.random.default_rng(0))
    parts = []
    for samples, loss in ((base, LossConfig()), (samples_of(), loss_of())):
        own = policies("qwen3", torch.float64)[0]
        one = learner_of(own, loss, temperature=0.8)
        parts.append((one.update(samples, np.random.default_rng(0)).loss, moments(one)))
    assert report.loss == pytest.approx(parts[0][0] + parts[1][0], rel=1e-9)
    for found, first, second in zip(moments(learner), parts[0][1], parts[1][1], strict=True):
        torch.testing.assert_close(found, first + second, rtol=1e-7, atol=1e-10)
    assert set(report.metrics_by_role) == {"base", "taught"}
    assert "update/teacher_divergence" not in report.metrics_by_role["base"]


def test_the_initial_teacher_stays_while_the_policy_moves():
    policy, initial = (policies("qwen3", torch.float64)[0] for _ in range(2))
    config = DistillationConfig(teacher="initial")
    learner = learner_of(policy, loss_of(teacher="initial"), teachers={"initial": initial})
    learner.update(samples_of(), np.random.default_rng(0))
    expected = by_hand(policy, samples_of(), config, teacher=initial).item()
    again = learner.update(samples_of(), np.random.default_rng(0))
    assert again.loss == pytest.approx(expected, rel=1e-9)
    assert again.loss != pytest.approx(by_hand(policy, samples_of(), config).item(), rel=1e-3)


def test_a_frozen_teacher_may_see_the_policy_s_own_context():
    policy, initial = (policies("qwen3", torch.float64)[0] for _ in range(2))
    samples = [replace(one, teacher_context_ids=None) for one in samples_of()]
    learner = learner_of(policy, loss_of(teacher="initial"), teachers={"initial": initial})
    assert learner.update(samples, np.random.default_rng(0)).loss == pytest.approx(0, abs=1e-15)


def test_the_average_follows_the_weights_and_survives_a_resume():
    rate = 0.25
    policy = policies("qwen3", torch.float64)[0]
    learner = learner_of(policy, loss_of(teacher="average", average_rate=rate))
    before = [own.detach().clone() for own in learner.parameters]
    learner.update(samples_of(), np.random.default_rng(0))
    after = [own.detach().clone() for own in learner.parameters]
    assert learner.teachers is not None
    assert learner.teachers.average is not None
    for own, old, new in zip(learner.teachers.average, before, after, strict=True):
        torch.testing.assert_close(own, old + rate * (new - old), rtol=1e-12, atol=1e-14)

    stored = io.BytesIO()
    torch.save((learner.state_dict(), policy.model.state_dict()), stored)
    stored.seek(0)
    state, weights = torch.load(stored, weights_only=True)
    resumed = policies("qwen3", torch.float64)[0]
    resumed.model.load_state_dict(weights)
    again = learner_of(resumed, loss_of(teacher="average", average_rate=rate))
    again.load_state_dict(state)
    # The average is now the mean teacher of the loss.
    mean = policies("qwen3", torch.float64)[0]
    with torch.no_grad():
        for own, value in zip(mean.model.parameters(), learner.teachers.average, strict=True):
            own.copy_(value)
    expected = by_hand(
        policy, samples_of(), DistillationConfig(teacher="average"), teacher=mean
    ).item()
    losses = [one.update(samples_of(), np.random.default_rng(1)).loss for one in (learner, again)]
    assert losses[0] == losses[1] == pytest.approx(expected, rel=1e-9)
    for one, other in zip(learner.parameters, again.parameters, strict=True):
        assert torch.equal(one, other)
    del state["average"]
    with pytest.raises(CheckpointError, match="the learner's state must fit the policy's model"):
        again.load_state_dict(state)


def test_the_ratio_s_weight_is_capped_and_has_no_gradient():
    policy = policies("qwen3", torch.float64)[0]
    base = loss_of(divergence="reverse", ratio_cap=1.05)
    learner = learner_of(policy, base, epochs=2, learning_rate=3e-2)
    # The second epoch's ratios differ from 1; without a cap they would all count.
    first = learner.update(samples_of(), np.random.default_rng(0))
    other = learner_of(
        policies("qwen3", torch.float64)[0],
        loss_of(divergence="reverse"),
        epochs=2,
        learning_rate=3e-2,
    )
    second = other.update(samples_of(), np.random.default_rng(0))
    assert first.metrics["update/ratio_max"] > 1.05
    assert first.loss != pytest.approx(second.loss, rel=1e-6)


def test_samples_that_the_policy_would_teach_under_its_own_context_are_refused():
    policy = policies("qwen3", torch.float64)[0]
    samples = [replace(samples_of()[0], teacher_context_ids=None), *samples_of()[1:]]
    with pytest.raises(ConfigError, match=r"must have teacher_context_ids, got 1 of 4 without"):
        learner_of(policy, loss_of()).update(samples, np.random.default_rng(0))


def test_a_learner_without_its_teacher_is_refused(uniform_teacher):
    policy = policies("qwen3", torch.float64)[0]
    with pytest.raises(ConfigError, match="the teacher 'initial' must be given to the learner"):
        learner_of(policy, loss_of(teacher="initial"))
    with pytest.raises(ConfigError, match="the teacher 'initial' must give whole distributions"):
        learner_of(policy, loss_of(teacher="initial"), teachers={"initial": uniform_teacher})
    with pytest.raises(ConfigError, match="the policy must give whole distributions for a distil"):
        learner_of(uniform_teacher, loss_of())
    role = {"taught": loss_of(teacher="average", average_rate=0.5)}
    with pytest.raises(ConfigError, match=r"one for all losses, got \[0.05, 0.5\]; use one rate"):
        learner_of(policy, loss_of(teacher="average"), role_losses=role)


@pytest.fixture
def uniform_teacher():
    class Scores:
        def __init__(self):
            self.model = torch.nn.Linear(1, 1).double()
            self.codec, self.is_prefix_shared = None, False

    return Scores()


def test_the_teacher_s_context_is_kept_in_files():
    sample = samples_of()[0]
    assert TrainingSample.from_dict(json.loads(json.dumps(sample.to_dict()))) == sample
    older = {k: v for k, v in sample.to_dict().items() if k != "teacher_context_ids"}
    assert TrainingSample.from_dict(older).teacher_context_ids is None


def test_values_outside_the_mask_change_nothing():
    batch = make_batch(samples_of(), 0, dtype=torch.float64)
    values = torch.rand(batch.action_mask_BT.shape, dtype=torch.float64)

    def loss_with(divergence_BT):
        return policy_loss(
            values,
            values,
            batch.advantages_BT,
            batch.action_mask_BT,
            config=loss_of(),
            totals=LossTotals.of(batch.action_mask_BT),
            divergence_BT=divergence_BT,
        ).loss

    found = []
    for outside in (0.0, math.nan):
        given = torch.where(batch.action_mask_BT, values, outside).requires_grad_()
        loss = loss_with(given)
        found.append((loss.item(), *torch.autograd.grad(loss, given)))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])
    with pytest.raises(ConfigError, match="divergence_BT must be given with distillation"):
        loss_with(None)
