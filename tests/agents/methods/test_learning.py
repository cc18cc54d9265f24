"""Losses and gradients of the methods' samples: real learner, tiny policies in float64."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from reason_env.agents.learning import AdvantageConfig, Learner, LearnerConfig, LossConfig
from reason_env.agents.methods import ComposedConfig, ExPDPOConfig, build_method
from reason_env.agents.methods.expo import ExPO, ExPOConfig
from reason_env.agents.methods.lte import LTE, LTEConfig
from reason_env.agents.methods.pope import POPE, POPEConfig
from reason_env.agents.methods.rrpo import RRPO, RRPOConfig
from reason_env.agents.methods.srpo import SRPO, SRPOConfig
from reason_env.agents.scripted import ScriptedPolicy, dry_run
from reason_env.codec import ByteCodec
from reason_env.problem import Problem
from tests.agents.methods.toy import toy_env

CODEC = ByteCodec()
PROBLEM = Problem(
    problem_id="toy/train/0", question="2*3*4=?", answer="24", solution=("2*3=6", "6*4=24")
)
PROMPT = "2*3*4=?\n>"
RIGHT, WRONG = "#### 24$", "#### 20$"
CHAIN = "2*3=5\n#### 20$"
SUFFIXES = ["#### 24$", "#### 20$", "#### 20$", "#### 24$"]
MAX_TOKENS = 40
# One seed whose first draw keeps the first of two steps.
SEED = next(n for n in range(99) if int(np.random.default_rng(n).integers(2)) == 1)


class TinyPolicy:
    """A causal model in float64 over the byte codec's ids; keeps what it returned."""

    def __init__(self, *, is_uniform=False):
        torch.manual_seed(0)
        self.codec = CODEC
        self.device = torch.device("cpu")
        self.embed = nn.Embedding(CODEC.vocab_size, 6)
        self.gru = nn.GRU(6, 8, batch_first=True)
        self.head = nn.Linear(8, CODEC.vocab_size)
        self.model = nn.ModuleList([self.embed, self.gru, self.head]).double()
        if is_uniform:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        self.returned = []
        self.shift = lambda ids_BT: 0.0

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
        log_BTV = self.head(self.gru(self.embed(token_ids_BT))[0])[:, :-1].log_softmax(-1)
        log_probs_BT = log_BTV.gather(-1, token_ids_BT[:, 1:, None])[..., 0]
        log_probs_BT = nn.functional.pad(log_probs_BT, (1, 0)) + self.shift(token_ids_BT)
        if log_probs_BT.requires_grad:
            log_probs_BT.retain_grad()
        self.returned.append((token_ids_BT, log_probs_BT))
        return log_probs_BT, torch.zeros_like(log_probs_BT) if with_entropy else None

    def mark_updated(self):
        pass


def learned(samples, method, policy=None, **changes):
    """Returns the report and gradient of one update without gradient clipping."""
    policy = policy or TinyPolicy()
    learner = Learner(
        policy,
        LearnerConfig(max_grad_norm=None, micro_batch_tokens=10**6),
        loss=method.loss,
        role_losses=changes.get("role_losses", method.role_losses),
        max_response_tokens=MAX_TOKENS,
    )
    report = learner.update(samples, np.random.default_rng(0))
    # AdamW's first moment is 0.1 of the only gradient.
    return report, [learner.optimizer.state[p]["exp_avg"] / 0.1 for p in learner.parameters]


def dry_run_of(method, script):
    env = toy_env(PROBLEM, max_tokens=MAX_TOKENS)
    policy = ScriptedPolicy(script)
    return dry_run(method, ["toy/train/0"], env=env, policy=policy, seed=SEED), policy


def rrpo():
    script = {PROMPT: [CHAIN, RIGHT, WRONG, RIGHT, RIGHT], PROMPT + "2*3=5\n": SUFFIXES}
    method = RRPO(RRPOConfig())
    return method, dry_run_of(method, script), "2*3=5\n"


def srpo():
    localise = "2*3*4=?\nAnswer: 24\n1 2*3=5\n2 #### 20\nFirst wrong step?\n>"
    script = {PROMPT: [CHAIN, RIGHT, WRONG, RIGHT, RIGHT], PROMPT + "2*3=5\n": SUFFIXES}
    method = SRPO(SRPOConfig(show_answer=True))
    return method, dry_run_of(method, script | {localise: [r"\boxed{2}$"]}), "2*3=5\n"


def hard_pope():
    script = {PROMPT: [WRONG] * 2 + [RIGHT, WRONG], PROMPT + "2*3=6\n": [RIGHT, WRONG, RIGHT]}
    method = POPE(
        POPEConfig(group_size=2, hard_samples=2, probe_samples=1, conditioning="response")
    )
    return method, dry_run_of(method, script), "2*3=6\n"


def lte(**changes):
    config = {"group_size": 2, "advantage": AdvantageConfig(kind="mean")}
    script = {PROMPT: [WRONG, "#### 23$"], "2*3*4=?\nNot: 20, 23\n>": [RIGHT, "#### 9$"]}
    method = LTE(LTEConfig(**(config | changes)))
    return method, dry_run_of(method, script), None


def expo():
    script = {PROMPT: [WRONG, RIGHT], "2*3*4=?\nAnswer: 24\n>": ["6*4\n#### 24$"]}
    method = ExPO(ExPOConfig(group_size=2, beta=0.5))
    return method, dry_run_of(method, script), None


def composed(*configs):
    return build_method(ComposedConfig(methods=configs))


def srpo_lte():
    base = SRPOConfig(num_base=2, num_reset=2, show_answer=True)
    method = composed(base, LTEConfig(group_size=2))
    localise = "2*3*4=?\nAnswer: 24\n1 2*3=5\n2 #### 20\nFirst wrong step?\n>"
    script = {
        PROMPT: [CHAIN, WRONG, "#### 23$"],
        localise: [r"\boxed{2}$"],
        "2*3*4=?\nNot: 20, 23\n>": [RIGHT, "#### 9$"],
        PROMPT + "2*3=5\n": [RIGHT, WRONG],
    }
    return method, dry_run_of(method, script), "2*3=5\n"


def hard_pope_rrpo():
    pope = POPEConfig(group_size=3, hard_samples=2, probe_samples=1, conditioning="response")
    method = composed(pope, RRPOConfig(num_base=2, num_reset=2))
    script = {
        PROMPT: [WRONG] * 2 + [CHAIN, RIGHT, WRONG],
        PROMPT + "2*3=6\n": [RIGHT, WRONG, RIGHT, WRONG],
        PROMPT + "2*3=5\n": [RIGHT, WRONG],
    }
    return method, dry_run_of(method, script), "2*3=5\n"


def lte_expo():
    method = composed(LTEConfig(group_size=2), ExPOConfig(group_size=2, beta=0.5))
    script = {
        PROMPT: [WRONG, "#### 23$"],
        "2*3*4=?\nAnswer: 24\n>": ["6*4\n#### 24$"],
        "2*3*4=?\nNot: 20, 23\n>": [RIGHT, "#### 9$"],
    }
    return method, dry_run_of(method, script), None


def exp_dpo():
    method = build_method(ExPDPOConfig(chains=2, explanation_samples=1))
    script = {PROMPT: [WRONG, RIGHT], "2*3*4=?\nAnswer: 24\n>": ["6*4\n#### 24$"]}
    return method, dry_run_of(method, script), None


def contains(ids, piece):
    return any(ids[at : at + len(piece)] == piece for at in range(len(ids) - len(piece) + 1))


@pytest.mark.parametrize(
    "make", [rrpo, srpo, hard_pope, lte, expo, srpo_lte, hard_pope_rrpo, lte_expo, exp_dpo]
)
def test_no_training_sample_contains_a_hint(make):
    _, (found, policy), _ = make()
    hints = [CODEC.encode(text) for text in ("Answer:", "Not:", "First wrong", "Begin:")]
    assert len(found.samples) > 1
    for sample in found.samples:
        assert sample.context_ids == CODEC.encode(PROMPT)
        for hint in hints:
            assert not contains(sample.context_ids + sample.token_ids, hint)
    if make not in (rrpo, hard_pope, hard_pope_rrpo):
        assert any(contains(CODEC.encode(item.text), h) for item in policy.asked for h in hints)


@pytest.mark.parametrize("make", [rrpo, srpo, hard_pope, srpo_lte, hard_pope_rrpo])
def test_the_log_probs_of_prefix_tokens_have_zero_gradient(make):
    method, (found, _), prefix = make()
    samples = found.of_role("guided") if make is hard_pope else found.of_role("reset")
    policy = TinyPolicy()
    learned(samples, method, policy)
    begin = len(CODEC.encode(PROMPT + prefix))
    (_, log_probs_BT) = policy.returned[-1]
    assert torch.all(log_probs_BT.grad[:, :begin] == 0)
    assert torch.all(log_probs_BT.grad[:, begin : begin + 8] != 0)


@pytest.mark.parametrize("make", [rrpo, srpo, hard_pope, srpo_lte, hard_pope_rrpo])
def test_the_loss_depends_on_the_ids_of_a_prefix_but_not_on_its_log_probs(make):
    method, (found, _), prefix = make()
    samples = found.of_role("guided") if make is hard_pope else found.of_role("reset")
    begin, end = len(CODEC.encode(PROMPT)), len(CODEC.encode(PROMPT + prefix))

    def shifted(ids_BT):
        shift = torch.zeros(ids_BT.shape, dtype=torch.float64)
        shift[:, :end] = 3.25
        return shift

    plain, gradient = learned(samples, method)
    policy = TinyPolicy()
    policy.shift = shifted
    moved, same = learned(samples, method, policy)
    assert moved.loss == plain.loss
    assert all(torch.equal(a, b) for a, b in zip(gradient, same, strict=True))
    other = [
        replace(
            item,
            token_ids=CODEC.encode("9" * (end - begin)) + item.token_ids[end - begin :],
        )
        for item in samples
    ]
    _, changed = learned(other, method)
    assert not all(torch.allclose(a, b) for a, b in zip(gradient, changed, strict=True))
    noisy = [
        replace(
            item,
            behavior_log_probs=(9.0,) * (end - begin) + item.behavior_log_probs[end - begin :],
        )
        for item in samples
    ]
    again, unmoved = learned(noisy, method)
    assert again.loss == plain.loss
    assert all(torch.equal(a, b) for a, b in zip(gradient, unmoved, strict=True))


def test_explanations_add_a_term_and_do_not_change_the_group_s_gradient():
    method, (found, _), _ = expo()
    group, explanation = found.of_role("base"), found.of_role("explanation")
    _, both = learned(found.samples, method)
    _, alone = learned(group, method)
    _, added = learned(explanation, method)
    for whole, one, other in zip(both, alone, added, strict=True):
        assert torch.allclose(whole, one + other, rtol=1e-10, atol=1e-14)
    # As a share of one loss the group's gradient would shrink.
    shared = {"explanation": replace(method.role_losses["explanation"], separate_normaliser=False)}
    _, mixed = learned(found.samples, method, role_losses=shared)
    assert not all(
        torch.allclose(whole, one + other, rtol=1e-3)
        for whole, one, other in zip(mixed, alone, added, strict=True)
    )


def test_the_explanation_s_term_is_minus_beta_times_its_mean_log_probability():
    method, (found, _), _ = expo()
    report, _ = learned(found.of_role("explanation"), method, TinyPolicy(is_uniform=True))
    # A uniform policy over 258 ids, beta 0.5.
    assert report.loss == pytest.approx(0.5 * math.log(CODEC.vocab_size), rel=1e-12)
    summed = ExPO(ExPOConfig(group_size=2, beta=0.5, length="sum"))
    report, _ = learned(found.of_role("explanation"), summed, TinyPolicy(is_uniform=True))
    assert report.loss == pytest.approx(0.5 * 12 * math.log(258) / MAX_TOKENS, rel=1e-12)


def test_two_explanations_share_the_term_and_other_rows_do_not_dilute_it():
    method, (found, _), _ = expo()
    (one,) = found.of_role("explanation")
    short = replace(
        one,
        token_ids=one.token_ids[:3],
        action_mask=(True,) * 3,
        behavior_log_probs=one.behavior_log_probs[:3],
    )
    flat = [replace(item, advantage=0.0) for item in found.of_role("base")]
    report, _ = learned([*flat, one, short], method, TinyPolicy(is_uniform=True))
    assert report.loss == pytest.approx(0.5 * math.log(258), rel=1e-12)


def shaped(log_ratio, gamma):
    ratio = math.exp(log_ratio)
    return ratio / (ratio + gamma)


@pytest.mark.parametrize(
    ("denominator", "gamma"),
    [("hinted_old", 0.1), ("hinted_old", 0.7), ("one", 0.1), ("unhinted_old", 0.1)],
)
def test_the_loss_of_hinted_tokens_is_the_shaped_one_with_both_contexts(denominator, gamma):
    loss = LossConfig(aggregation="seq_mean_token_mean")
    method, (found, _), _ = lte(denominator=denominator, gamma=gamma, loss=loss)
    assert [item.role for item in found.samples] == ["base", "hinted"]
    (hinted,) = found.of_role("hinted")
    report, _ = learned(found.samples, method, TinyPolicy(is_uniform=True))
    # pi_theta is 1/258 for each of the 8 tokens; pi_old under the hint is exp(-1/8), exp(-2/8), ...
    log_pi = -math.log(258)
    below = {
        "hinted_old": [-(place + 1) / 8 for place in range(8)],
        "one": [0.0] * 8,
        "unhinted_old": [log_pi] * 8,
    }[denominator]
    hinted_loss = -0.5 * sum(shaped(log_pi - value, gamma) for value in below) / 8
    # The failure that stays: number 0 or 1, -A ratio = 0.5 with weight min(pi / behavior, 2).
    (base,) = found.of_role("base")
    weights = [min(math.exp(log_pi - value), 2.0) for value in base.behavior_log_probs]
    base_loss = 0.5 * sum(weights) / 8
    assert hinted.advantage == 0.5
    assert report.loss == pytest.approx((hinted_loss + base_loss) / 2, rel=1e-12)
    if denominator == "hinted_old" and gamma == 0.1:
        # -0.5 * mean of x / (x + 0.1), x = exp(place / 8) / 258 for place 1..8.
        # x: .00439 .00498 .00564 .00639 .00724 .00821 .00930 .01054
        # x / (x + 0.1): .0421 .0474 .0534 .0601 .0675 .0758 .0851 .0953, sum .5267
        assert hinted_loss == pytest.approx(-0.0329, abs=5e-5)


def test_the_ratio_of_hinted_tokens_is_reported_separately():
    method, (found, _), _ = lte()
    report, _ = learned(found.samples, method, TinyPolicy(is_uniform=True))
    ratios = [math.exp((place + 1) / 8) / 258 for place in range(8)]
    hinted, base = (report.metrics_by_role[role] for role in ("hinted", "base"))
    assert hinted["update/ratio_mean"] == pytest.approx(sum(ratios) / 8, rel=1e-9)
    assert hinted["update/chi_square"] == pytest.approx(
        sum((ratio - 1) ** 2 for ratio in ratios) / 8, rel=1e-9
    )
    assert hinted["update/effective_sample_fraction"] == pytest.approx(
        sum(ratios) ** 2 / (8 * sum(ratio**2 for ratio in ratios)), rel=1e-9
    )
    assert base["update/ratio_mean"] == pytest.approx(1.0, rel=1e-12)


def test_a_reset_s_loss_is_minus_the_advantage_times_the_suffix_s_mean_log_probability():
    method, (found, _), _ = rrpo()
    item = found.of_role("reset")[0]
    policy = TinyPolicy()
    report, _ = learned([item], method, policy)
    ((_, log_probs_BT),) = policy.returned
    suffix = log_probs_BT[0, len(CODEC.encode(PROMPT + "2*3=5\n")) :]
    # Two of four suffixes are right: +1. There is no importance weight.
    assert item.advantage == 1.0
    assert len(suffix) == 8
    assert report.loss == pytest.approx(-suffix.mean().item(), rel=1e-12)


@pytest.mark.parametrize("method", ["srpo", "lte", "pope", "expo"])
def test_guidance_that_does_not_fit_the_prompt_does_not_stop_a_run(method, caplog):
    """Room for the question alone: every guided start is too long, and none is asked for."""
    from reason_env.agents.evaluate import EvalConfig
    from reason_env.agents.methods import method_config
    from reason_env.agents.train import TrainConfig, build_session, iterate, prepare
    from reason_env.env import EnvConfig
    from reason_env.errors import ProblemError

    env = EnvConfig(levels=(12, 12), size=4, max_tokens=48, max_prompt_tokens=88)
    session = build_session(
        TrainConfig(
            method=method_config(method), env=env, eval=EvalConfig(num_problems=1),
            problems_per_iteration=2,
        )
    )  # fmt: skip
    if method == "pope":
        with pytest.raises(ProblemError, match="reference solution that fits"):
            prepare(session)
        return
    prepare(session)
    batch = iterate(session).batch
    roles = {item.start.role for item in batch.trajectories}
    assert roles == {"srpo": {"base", "reset"}, "lte": {"base", "extra"}, "expo": {"base"}}[method]
    assert method == "expo" or "too long" in caplog.text


def test_each_role_of_a_composition_has_the_loss_of_its_method():
    """Reset rows of SRPO are REINFORCE's, and hinted ones are shaped, in one optimizer step."""
    method, (found, _), prefix = srpo_lte()
    policy = TinyPolicy(is_uniform=True)
    report, _ = learned(found.samples, method, policy)
    log_pi, begin = -math.log(258), len(prefix)
    (hinted,), resets = found.of_role("hinted"), found.of_role("reset")
    assert [item.advantage for item in (hinted, *resets)] == [1.0, 1.0, -1.0]
    ratios = [math.exp(log_pi - value) for value in hinted.behavior_log_probs]
    shares = sum(ratio / (ratio + 0.1) for ratio in ratios) / len(ratios)
    # Four rows share the mean: the failure (-A log pi = log pi), the hinted one, two resets that
    # cancel.
    assert all(len(item.token_ids) == begin + 8 for item in resets)
    assert report.loss == pytest.approx((log_pi - shares) / 4, rel=1e-12)


def test_explanations_with_lte_are_a_term_added_to_the_merged_group():
    method, (found, _), _ = lte_expo()
    whole, _ = learned(found.samples, method, TinyPolicy(is_uniform=True))
    groups = [item for item in found.samples if item.role != "explanation"]
    alone, _ = learned(groups, method, TinyPolicy(is_uniform=True))
    assert whole.loss == pytest.approx(alone.loss + 0.5 * math.log(258), rel=1e-12)
