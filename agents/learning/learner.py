"""The learner: from training samples to optimizer steps.

Decisions. Rows that cannot have a gradient (advantage 0, no KL, no entropy) are left out of the
model's passes, but stay in the loss's denominators: same gradient, less work. An update whose rows
are all such is skipped, because Adam's momentum would move the weights without evidence. A gradient
that is not finite is refused with an error, before the step: the weights, the optimizer and the
counters are then as after the last good update. The old log-probabilities are the trainer's own,
from before the iteration's first update; with one update they are those of its forward pass.

Axis letters: B sequences, T tokens. Not covered: several devices.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from reason_env.agents.learning.aggregate import LossTotals
from reason_env.agents.learning.batch import TokenBatch, make_batch
from reason_env.agents.learning.learner_config import LearnerConfig
from reason_env.agents.learning.loss import LossOutput, policy_loss
from reason_env.agents.learning.loss_config import LossConfig
from reason_env.agents.learning.report import OptimizerStep, UpdateReport, update_report
from reason_env.agents.rollout import TrainingSample
from reason_env.codec import Codec
from reason_env.errors import CheckpointError, ConfigError, ModelError, TrainingError

__all__ = ["Learner", "LearnerConfig", "TrainablePolicy", "UpdateReport"]


class TrainablePolicy(Protocol):
    """What the learner asks of a policy. A reference policy is only asked to score."""

    @property
    def model(self) -> nn.Module:
        """Its parameters that require a gradient are trained."""
        ...

    @property
    def codec(self) -> Codec: ...

    @property
    def device(self) -> torch.device: ...

    def token_log_probs(
        self,
        token_ids_BT: Tensor,
        attention_mask_BT: Tensor,
        *,
        temperature: float = 1.0,
        with_entropy: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Returns log pi(token t | tokens before t), and the entropy there if asked, in nats."""
        ...

    def mark_updated(self) -> None:
        """Is told of each optimizer step."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Work:
    """One iteration's samples on the device, with what is fixed before its first update."""

    batch: TokenBatch
    losses: tuple[LossConfig, ...]
    terms: tuple[str | None, ...]
    """Rows with one term share denominators: None for those of no total of their own."""
    is_active_B: Tensor
    old_log_probs_BT: Tensor | None
    ref_log_probs_BT: Tensor | None


class Learner:
    """Holds the optimizer of one policy."""

    def __init__(
        self,
        policy: TrainablePolicy,
        config: LearnerConfig | None = None,
        *,
        loss: LossConfig | None = None,
        ref_policy: TrainablePolicy | None = None,
        temperature: float = 1.0,
        max_response_tokens: int | None = None,
        role_losses: Mapping[str, LossConfig] | None = None,
    ) -> None:
        """Takes the policy to train, which stays the caller's.

        Args:
            policy: Trained in place.
            config: Defaults to `LearnerConfig()`.
            loss: What is minimised; defaults to `LossConfig()`.
            ref_policy: Never changed; needed where a loss has a KL term, otherwise it only reports
                kl_policy_ref.
            temperature: That the samples were drawn at; the policy is trained at the same.
            max_response_tokens: The environment's budget, the constant of `seq_mean_token_sum`.
            role_losses: The loss of samples of a role, where it is not `loss`. Rows of all
                roles share the denominators of one optimizer step, except those whose loss has a
                `separate_normaliser`.

        Raises:
            ConfigError: The temperature is not positive, or a loss needs a reference policy or a
                response budget that is not given.
            ModelError: No parameter requires a gradient.
        """
        self.policy, self.ref_policy = policy, ref_policy
        self.config = config or LearnerConfig()
        self.loss = loss or LossConfig()
        self.role_losses = dict(role_losses or {})
        self.temperature, self.max_response_tokens = temperature, max_response_tokens
        self.num_updates = 0
        self.old_log_probs: dict[int, Tensor] = {}
        """Sample number -> [T], the trainer's log-probabilities of its sampled tokens before the
        last `update`, nats; only of samples that have a gradient."""
        self._check()
        self.parameters = [p for p in policy.model.parameters() if p.requires_grad]
        if not self.parameters:
            raise ModelError(
                "the policy's model must have a parameter that requires a gradient, got none; "
                "unfreeze one"
            )
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=self.config.learning_rate,
            betas=self.config.betas,
            weight_decay=self.config.weight_decay,
        )

    def update(self, samples: Sequence[TrainingSample], rng: np.random.Generator) -> UpdateReport:
        """Trains the policy on one iteration's samples, each `config.epochs` times.

        Args:
            samples: At least one.
            rng: Splits the samples; not drawn from if `updates_per_iteration` is 1.

        Raises:
            ConfigError: There is no sample, or one holds a number that is not finite.
            TrainingError: A gradient is not finite; the update it belongs to is not taken.
        """
        num_parts = min(self.config.updates_per_iteration, max(1, len(samples)))
        work = self._prepare(samples, has_several=num_parts * self.config.epochs > 1)
        self.old_log_probs = {}
        steps: list[OptimizerStep | None] = []
        for _ in range(self.config.epochs):
            order = rng.permutation(len(samples)) if num_parts > 1 else np.arange(len(samples))
            for rows in np.array_split(order, num_parts):
                steps.append(self._step(work, torch.as_tensor(rows, device=self.policy.device)))
        return update_report(
            [step for step in steps if step is not None],
            num_planned=len(steps),
            samples=samples,
            active_rows_fraction=work.is_active_B.float().mean().item(),
        )

    def state_dict(self) -> dict[str, Any]:
        """Returns what a bit-exact continuation needs beside the policy's weights."""
        return {"optimizer": self.optimizer.state_dict(), "num_updates": self.num_updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`'s value.

        Raises:
            CheckpointError: It is not a learner's state, or that of another model.
        """
        try:
            optimizer, num_updates = state["optimizer"], int(state["num_updates"])
            self.optimizer.load_state_dict(optimizer)
        except (KeyError, ValueError) as error:
            raise CheckpointError(
                f"the learner's state must fit the policy's model, got {error}; "
                "load the checkpoint that was written with this model"
            ) from error
        self.num_updates = num_updates

    def _check(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ConfigError(
                f"temperature must be above 0 for training, got {self.temperature!r}; use 1.0"
            )
        for loss in (self.loss, *self.role_losses.values()):
            if loss.kl_coefficient > 0 and self.ref_policy is None:
                raise ConfigError(
                    f"kl_coefficient must be 0 without a reference policy, got "
                    f"{loss.kl_coefficient!r}; give ref_policy"
                )
            if loss.aggregation == "seq_mean_token_sum" and self.max_response_tokens is None:
                raise ConfigError(
                    "aggregation 'seq_mean_token_sum' must have a response budget to divide by, "
                    "got None; give max_response_tokens"
                )

    def _prepare(self, samples: Sequence[TrainingSample], *, has_several: bool) -> _Work:
        is_double = self.parameters[0].dtype == torch.float64
        dtype = torch.float64 if is_double else torch.float32
        batch = make_batch(samples, self.policy.codec.pad_id, dtype=dtype).to(self.policy.device)
        losses = tuple(self.role_losses.get(s.role, self.loss) for s in samples)
        is_active = [
            sample.advantage != 0 or loss.trains_without_advantage
            for sample, loss in zip(samples, losses, strict=True)
        ]
        work = _Work(
            batch=batch,
            losses=losses,
            terms=tuple(map(self._term, samples, losses)),
            is_active_B=torch.tensor(is_active, device=self.policy.device),
            old_log_probs_BT=None,
            ref_log_probs_BT=None,
        )
        old = self._score(self.policy, work) if has_several else None
        ref = self._score(self.ref_policy, work) if self.ref_policy is not None else None
        return replace(work, old_log_probs_BT=old, ref_log_probs_BT=ref)

    def _term(self, sample: TrainingSample, loss: LossConfig) -> str | None:
        """Returns the role whose own loss the sample has, "" for the main loss; see `_Work`."""
        if not loss.separate_normaliser:
            return None
        return sample.role if sample.role in self.role_losses else ""

    @torch.no_grad()
    def _score(self, policy: TrainablePolicy, work: _Work) -> Tensor:
        """Returns a policy's log-probabilities of the active rows' tokens; 0 in other rows."""
        scores_BT = torch.zeros_like(work.batch.behavior_log_probs_BT)
        for rows_b, part in self._parts(work.batch, work.is_active_B.nonzero()[:, 0]):
            log_probs_bt, _ = policy.token_log_probs(
                part.token_ids_BT, part.attention_mask_BT, temperature=self.temperature
            )
            scores_BT[rows_b, : log_probs_bt.shape[1]] = log_probs_bt.to(scores_BT.dtype)
        return scores_BT

    def _parts(self, batch: TokenBatch, rows_b: Tensor) -> Iterator[tuple[Tensor, TokenBatch]]:
        """Yields micro-batches of these rows, each with its row numbers in the batch."""
        if not len(rows_b):
            return
        for part_b in batch.select(rows_b).split_rows(self.config.micro_batch_tokens):
            yield rows_b[part_b], batch.select(rows_b[part_b])

    def _step(self, work: _Work, rows_b: Tensor) -> OptimizerStep | None:
        """Takes one optimizer step on these rows; returns None if none of them has a gradient."""
        active_b = rows_b[work.is_active_B[rows_b]]
        if not len(active_b):
            return None
        self.optimizer.zero_grad(set_to_none=True)
        outputs: list[tuple[list[int], LossOutput]] = []
        # Each term has its own micro-batches; the shared totals make them one loss.
        kinds = list(zip(work.losses, work.terms, strict=True))
        for loss, term in dict.fromkeys(kinds[row] for row in active_b.tolist()):
            is_own = [kinds[row] == (loss, term) for row in active_b.tolist()]
            sharing_b = [row for row in rows_b.tolist() if work.terms[row] == term]
            totals = LossTotals.of(work.batch.action_mask_BT[sharing_b], self.max_response_tokens)
            own_b = active_b[torch.tensor(is_own, device=active_b.device)]
            for part_b, part in self._parts(work.batch, own_b):
                output = self._loss(work, part_b, part, loss, totals)
                output.loss.backward()
                outputs.append((part_b.tolist(), replace(output, loss=output.loss.detach())))
        return self._take_step(outputs)

    def _take_step(self, outputs: list[tuple[list[int], LossOutput]]) -> OptimizerStep:
        """Takes the optimizer step of the gradient that these micro-batches have left."""
        grad_norm = self._clip_gradient()
        learning_rate = self._set_learning_rate()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.num_updates += 1
        self.policy.mark_updated()
        return OptimizerStep(grad_norm=grad_norm, learning_rate=learning_rate, outputs=outputs)

    def _loss(
        self, work: _Work, rows_b: Tensor, part: TokenBatch, config: LossConfig, totals: LossTotals
    ) -> LossOutput:
        log_probs_bt, entropy_bt = self.policy.token_log_probs(
            part.token_ids_BT,
            part.attention_mask_BT,
            temperature=self.temperature,
            with_entropy=True,
        )
        width = log_probs_bt.shape[1]
        old_BT, ref_BT = work.old_log_probs_BT, work.ref_log_probs_BT
        old_bt = log_probs_bt.detach() if old_BT is None else old_BT[rows_b, :width]
        self._note_old(rows_b, old_bt, part.action_mask_BT)
        return policy_loss(
            log_probs_bt,
            old_bt,
            part.advantages_BT,
            part.action_mask_BT,
            config=config,
            totals=totals,
            ref_log_probs_BT=None if ref_BT is None else ref_BT[rows_b, :width],
            behavior_log_probs_BT=part.behavior_log_probs_BT,
            entropy_BT=entropy_bt,
        )

    def _note_old(self, rows_b: Tensor, old_bt: Tensor, mask_bt: Tensor) -> None:
        for row, own_t, mask_t in zip(rows_b.tolist(), old_bt.cpu(), mask_bt.cpu(), strict=True):
            self.old_log_probs[row] = own_t[mask_t]

    def _clip_gradient(self) -> float:
        limit = self.config.max_grad_norm
        norm = nn.utils.clip_grad_norm_(
            self.parameters, float("inf") if limit is None else limit
        ).item()
        if not np.isfinite(norm):
            self.optimizer.zero_grad(set_to_none=True)
            raise TrainingError(
                f"the gradient norm must be finite, got {norm!r} in update {self.num_updates + 1}; "
                "the update was not taken: lower the learning rate, or go on from a checkpoint"
            )
        return norm

    def _set_learning_rate(self) -> float:
        warmup = self.config.warmup_updates
        share = min(1.0, (self.num_updates + 1) / warmup) if warmup else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * share
        return self.config.learning_rate * share
