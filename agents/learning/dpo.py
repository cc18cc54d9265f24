"""DPO: prefer one response to another of the same problem, without rewards.

    reward(y) = beta (log pi(y) - log pi_ref(y))
    margin    = reward(chosen) - reward(rejected)
    loss      = mean over pairs of - log sigmoid(margin)

Log-probabilities are sums over the trained tokens of a response, under the trained context (never
the sampling context), and by default at temperature 1, of the model's own distribution (as in TRL).
The reference policy is the policy at the start of the run; it never changes.

A pair is two consecutive training samples of one group: the chosen, then the rejected one. Both
rows of a pair are in one micro-batch, and the loss is divided by the number of pairs of the
optimizer step, so that micro-batches change nothing. A pair with advantages 0 skips the passes but
counts in that number.

Source: Rafailov et al. 2023, "Direct Preference Optimization", arXiv 2305.18290, equation 7 (TRL's
`loss_type="sigmoid"` without label smoothing).

Axis letters: B pairs, T tokens. Not covered: other pair losses, several devices.
"""

# torch leaves tolist, backward and step untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from reason_env.agents.learning.batch import TokenBatch
from reason_env.agents.learning.learner import Learner, Pass, TrainablePolicy, run_shares
from reason_env.agents.learning.learner_config import LearnerConfig
from reason_env.agents.learning.loss import LossOutput
from reason_env.agents.learning.loss_config import LossConfig, PairLossConfig
from reason_env.agents.learning.loss_metrics import row_statistics
from reason_env.agents.learning.report import OptimizerStep, UpdateReport, update_report
from reason_env.agents.processes import ALONE, Processes
from reason_env.agents.rollout import TrainingSample
from reason_env.errors import ConfigError

REPORTED = LossConfig(surrogate="reinforce", importance_weight_cap=None)
"""The loss config for the statistics of tokens: without clipping and importance weights."""


def dpo_margins(
    chosen_B: Tensor, rejected_B: Tensor, ref_chosen_B: Tensor, ref_rejected_B: Tensor, beta: float
) -> Tensor:
    """Compute the difference of the implicit rewards of each pair, [B].

    Args:
        chosen_B: Log-probabilities of the chosen responses by the trained policy, nats.
        rejected_B: The same of the rejected responses.
        ref_chosen_B: Log-probabilities of the chosen responses by the reference policy, nats.
        ref_rejected_B: The same of the rejected responses.
        beta: Scale, reward units per nat.

    >>> one = torch.tensor([1.0])
    >>> dpo_margins(-2 * one, -5 * one, -3 * one, -4 * one, 0.5).item()  # 0.5 (1 + 1)
    1.0
    """
    return beta * ((chosen_B - ref_chosen_B) - (rejected_B - ref_rejected_B))


def dpo_loss(margins_B: Tensor) -> Tensor:
    """Compute - log sigmoid(margin) of each pair, [B].

    >>> round(dpo_loss(torch.tensor([1.0])).item(), 4)  # log(1 + exp(-1))
    0.3133
    """
    return -logsigmoid(margins_B)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pairs:
    """One iteration's pairs on the device: rows 2i and 2i + 1 are pair i."""

    batch: TokenBatch
    is_active: tuple[bool, ...]
    old_log_probs_BT: Tensor | None
    ref_log_probs_BT: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairPass(Pass):
    """What a micro-batch of pairs leaves behind."""

    margins_b: Tensor


class PairLearner(Learner):
    """Trains one policy on pairs; owns the optimizer."""

    def __init__(
        self,
        policy: TrainablePolicy,
        config: LearnerConfig | None = None,
        *,
        pair_loss: PairLossConfig,
        ref_policy: TrainablePolicy,
        temperature: float = 1.0,
        scorer: TrainablePolicy | None = None,
        processes: Processes = ALONE,
    ) -> None:
        """Create the optimizer of the policy's trainable parameters.

        Args:
            policy: Trained in place.
            config: `LearnerConfig()` if None.
            pair_loss: The loss to minimise.
            ref_policy: Never changed.
            temperature: Temperature of sampling, and of all log-probabilities if the loss has none.
            scorer: As in `Learner`.
            processes: As in `Learner`.
        """
        super().__init__(
            policy,
            config,
            loss=replace(REPORTED, temperature=pair_loss.temperature),
            ref_policy=ref_policy,
            temperature=temperature,
            scorer=scorer,
            processes=processes,
        )
        self.pair_loss = pair_loss

    def update(
        self,
        samples: Sequence[TrainingSample],
        rng: np.random.Generator,
        *,
        run_share: tuple[float, float] = (0.0, 0.0),
    ) -> UpdateReport:
        """Train the policy on one iteration's pairs, each `config.epochs` times.

        Args:
            samples: At least two: chosen, rejected, chosen, rejected, ...
            rng: Splits the pairs; draws nothing if `updates_per_iteration` is 1.
            run_share: As in `Learner.update`.

        Raises:
            ConfigError: The samples are no pairs, or a sample has a non-finite number.
        """
        self.processes.lead("update", samples, rng, run_share)
        check_pairs(samples)
        num_pairs = len(samples) // 2
        num_parts = min(self.config.updates_per_iteration, num_pairs)
        pairs = self._pairs(samples, has_several=num_parts * self.config.epochs > 1)
        self.old_log_probs, self._num_nonfinite = {}, 0
        steps: list[OptimizerStep | None] = []
        margins: list[Tensor] = []
        shares = run_shares(run_share, num_parts * self.config.epochs)
        for _ in range(self.config.epochs):
            order = rng.permutation(num_pairs) if num_parts > 1 else np.arange(num_pairs)
            for part in np.array_split(order, num_parts):
                self._run_share = next(shares)
                steps.append(self._pair_step(pairs, part.tolist(), margins))
        report = update_report(
            [step for step in steps if step is not None],
            num_planned=len(steps),
            num_nonfinite=self._num_nonfinite,
            samples=samples,
            active_rows_fraction=sum(pairs.is_active) / num_pairs,
            is_prefix_shared=self.policy.is_prefix_shared,
        )
        return replace(report, metrics=report.metrics | margin_metrics(margins))

    def scores(self, sample: TrainingSample) -> bool:
        """Return False: whether a sample is scored depends on the other one of its pair."""
        del sample
        return False

    def _pairs(self, samples: Sequence[TrainingSample], *, has_several: bool) -> _Pairs:
        work = self._prepare(samples, has_several=has_several)
        assert work.ref_log_probs_BT is not None, "a pair learner has a reference policy"
        active = work.is_active_B.view(-1, 2).all(dim=1).tolist()
        return _Pairs(
            batch=work.batch,
            is_active=tuple(active),
            old_log_probs_BT=work.old_log_probs_BT,
            ref_log_probs_BT=work.ref_log_probs_BT,
        )

    def _pair_step(
        self, pairs: _Pairs, numbers: list[int], margins: list[Tensor]
    ) -> OptimizerStep | None:
        """Take one optimizer step on these pairs; None if no pair is active."""
        active = [number for number in numbers if pairs.is_active[number]]
        if not active:
            return None
        self.optimizer.zero_grad(set_to_none=True)

        def run(part: list[int]) -> PairPass:
            rows = [row for number in part for row in (2 * number, 2 * number + 1)]
            output, margins_b = self._pair_loss(pairs, rows, num_pairs=len(numbers))
            output.loss.backward()
            return PairPass(
                outputs=[(rows, replace(output, loss=output.loss.detach()))],
                num_forward_tokens=self._num_forward_tokens(_rows_of(pairs.batch, part)),
                num_teacher_tokens=0,
                old_log_probs={row: self.old_log_probs[row] for row in rows},
                margins_b=margins_b.cpu(),
            )

        batch = _rows_of(pairs.batch, active)
        passes = self._passes(batch, list(self._pair_parts(pairs.batch, active)), run)
        margins += [one.margins_b for one in passes]
        return self._take_step(batch, passes)

    def _pair_parts(self, batch: TokenBatch, numbers: Sequence[int]) -> Iterator[list[int]]:
        """Yield micro-batches of pairs: at most `micro_batch_tokens` tokens, as rows count them."""
        lengths = batch.attention_mask_BT.sum(dim=1).view(-1, 2).amax(dim=1).tolist()
        part: list[int] = []
        # Without sharing, from the longest to the shortest, for little padding; with it, in the
        # order of the samples, where the pairs of a prompt follow each other.
        is_shared = self.policy.is_prefix_shared
        for number in numbers if is_shared else sorted(numbers, key=lambda pair: -lengths[pair]):
            grown = _rows_of(batch, [*part, number])
            if part and self._num_forward_tokens(grown) > self.config.micro_batch_tokens:
                yield part
                part = []
            part.append(number)
        yield part

    def _pair_loss(
        self, pairs: _Pairs, rows: list[int], *, num_pairs: int
    ) -> tuple[LossOutput, Tensor]:
        rows_b = torch.tensor(rows, device=self.policy.device)
        part = pairs.batch.select(rows_b)
        log_probs_bt, entropy_bt = self.policy.token_log_probs(
            part.token_ids_BT,
            part.attention_mask_BT,
            action_mask_BT=part.action_mask_BT,
            temperature=self._temperature(self.loss),
            with_entropy=True,
            checkpointing=self.config.gradient_checkpointing,
        )
        width, mask_bt = log_probs_bt.shape[1], part.action_mask_BT
        ref_bt = pairs.ref_log_probs_BT[rows_b, :width]
        old_BT = pairs.old_log_probs_BT
        old_bt = log_probs_bt.detach() if old_BT is None else old_BT[rows_b, :width]
        self._keep_old(rows_b, old_bt, mask_bt)

        def summed(values_bt: Tensor) -> Tensor:
            # Zero outside the mask before the sum: padding holds arbitrary values.
            return torch.where(mask_bt, values_bt, 0.0).sum(dim=1)

        policy_b, ref_b = summed(log_probs_bt), summed(ref_bt)
        margins_b = dpo_margins(
            policy_b[0::2], policy_b[1::2], ref_b[0::2], ref_b[1::2], self.pair_loss.beta
        )
        loss = dpo_loss(margins_b).sum() / num_pairs
        zero = torch.zeros_like(loss.detach())
        return LossOutput(
            loss=loss,
            policy=loss.detach(),
            kl=zero,
            entropy=zero,
            rows=self._statistics(part, log_probs_bt, old_bt, ref_bt, entropy_bt),
        ), margins_b.detach()

    def _statistics(
        self, part: TokenBatch, log_bt: Tensor, old_bt: Tensor, ref_bt: Tensor, entropy: Any
    ) -> dict[str, Tensor]:
        mask_bt = part.action_mask_BT

        def inside(values_bt: Tensor) -> Tensor:
            return torch.where(mask_bt, values_bt.detach(), 0.0)

        log_bt, old_bt = inside(log_bt), inside(old_bt)
        return row_statistics(
            log_probs_BT=log_bt,
            old_log_probs_BT=old_bt,
            ratio_BT=(log_bt - old_bt).exp(),
            advantages_BT=part.advantages_BT,
            mask_BT=mask_bt,
            importance_BT=torch.ones_like(log_bt),
            behavior_log_probs_BT=part.behavior_log_probs_BT,
            ref_log_probs_BT=inside(ref_bt),
            entropy_BT=None if entropy is None else inside(entropy),
            config=REPORTED,
        )


def _rows_of(batch: TokenBatch, pairs: Sequence[int]) -> TokenBatch:
    """Select both rows of each pair."""
    rows = [row for number in pairs for row in (2 * number, 2 * number + 1)]
    return batch.select(torch.tensor(rows, device=batch.token_ids_BT.device))


def check_pairs(samples: Sequence[TrainingSample]) -> None:
    """Check that the samples are pairs of one group each, the chosen before the rejected one.

    Raises:
        ConfigError: They are not.
    """
    if not samples or len(samples) % 2:
        raise ConfigError(
            f"pairs must be an even number of samples above 0, got {len(samples)}; give each "
            "chosen sample with its rejected one"
        )
    for chosen, rejected in zip(samples[0::2], samples[1::2], strict=True):
        roles = (chosen.role, rejected.role)
        if chosen.group != rejected.group or roles != ("chosen", "rejected"):
            raise ConfigError(
                f"a pair must be a chosen and a rejected sample of one group, got {roles!r} of "
                f"{chosen.group!r} and {rejected.group!r}; put the two next to each other"
            )


def margin_metrics(margins: Sequence[Tensor]) -> dict[str, float]:
    """Compute the mean margin and the fraction of positive margins; `{}` without pairs.

    >>> margin_metrics([torch.tensor([1.0, -0.5]), torch.tensor([0.25, 0.0])])
    {'update/pair_margin_mean': 0.1875, 'update/pair_accuracy': 0.5}
    """
    if not margins:
        return {}
    values_B = torch.cat([item.double().cpu() for item in margins])
    return {
        "update/pair_margin_mean": values_B.mean().item(),
        "update/pair_accuracy": (values_B > 0).double().mean().item(),
    }
