"""The learner: take optimizer steps on training samples.

Rows without a gradient (advantage 0, no KL, no entropy) skip the model's passes but count in the
denominators of the loss: same gradient, less work. An update without any row with a gradient is
skipped, because Adam's momentum would move the weights without evidence. An update whose loss or
gradient is not finite is skipped too, with a warning: weights and optimizer stay as after the last
good update, and a run stops after `max_nonfinite_updates` of them in a row. The old
log-probabilities are the trainer's before the iteration's first update; a single update takes them
from its own forward pass.

Several processes deal the micro-batches of an update among them; those with one less run an empty
one, because gathering weights and summing gradients take all of them. Totals are those of all rows,
and every process gets the losses of all, so all take the same steps.

Axis letters: B sequences, T tokens.
"""

# torch leaves tolist, backward and step untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from reason_env.agents.learning.aggregate import LossTotals
from reason_env.agents.learning.batch import TokenBatch, make_batch
from reason_env.agents.learning.distillation import POLICY, divergences
from reason_env.agents.learning.learner_config import LearnerConfig
from reason_env.agents.learning.learning_rate import schedule_factor, with_learning_rate
from reason_env.agents.learning.loss import LossOutput, policy_loss
from reason_env.agents.learning.loss_config import LossConfig
from reason_env.agents.learning.report import OptimizerStep, UpdateReport, update_report
from reason_env.agents.learning.teacher import Teachers, predicting
from reason_env.agents.processes import (
    ALONE,
    Processes,
    load_optimizer_state,
    load_shares,
    optimizer_state,
    save_shares,
    shared_state,
    whole,
    whole_state,
)
from reason_env.agents.rollout import TrainingSample
from reason_env.codec import Codec
from reason_env.errors import CheckpointError, ConfigError, ModelError, TrainingError

T = TypeVar("T")
P = TypeVar("P", bound="Pass")
_log = logging.getLogger(__name__)


class TrainablePolicy(Protocol):
    """The part of a policy that the learner uses; a reference policy only scores."""

    @property
    def model(self) -> nn.Module:
        """The learner trains the parameters that require a gradient."""
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
        action_mask_BT: Tensor | None = None,
        temperature: float = 1.0,
        with_entropy: bool = False,
        checkpointing: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute log pi(token t | tokens before t) and, if asked, the entropy there, in nats.

        Only the tokens of the action mask are needed; `checkpointing` saves memory.
        """
        ...

    @property
    def is_prefix_shared(self) -> bool:
        """Whether a pass runs a prefix that rows share through the model once."""
        ...

    def computing(self) -> AbstractContextManager[None]:
        """Run the model's forward passes inside the block in the policy's precision."""
        ...

    def mark_updated(self) -> None:
        """Called after each optimizer step; increments the policy version."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Work:
    """One iteration's samples on the device, and what stays fixed during its updates."""

    batch: TokenBatch
    losses: tuple[LossConfig, ...]
    normalisers: tuple[str | None, ...]
    """Rows with equal values share the denominators of the loss; see `Learner._normaliser`."""
    is_active_B: Tensor
    """True if the row can have a gradient."""
    old_log_probs_BT: Tensor | None
    ref_log_probs_BT: Tensor | None
    teacher_batch: TokenBatch | None
    """The same rows under the contexts of their teachers; None without a teacher."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pass:
    """What a micro-batch leaves behind, besides its share of the gradient."""

    outputs: list[tuple[list[int], LossOutput]]
    """For each loss: row numbers, and the loss without its gradient."""
    num_forward_tokens: int
    num_teacher_tokens: int
    old_log_probs: dict[int, Tensor]

    def on_cpu(self) -> Self:
        """Move what other processes read."""
        return replace(self, outputs=[(rows, _on_cpu(output)) for rows, output in self.outputs])


class Learner:
    """Trains one policy; owns the optimizer."""

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
        teachers: Mapping[str, TrainablePolicy] | None = None,
        scorer: TrainablePolicy | None = None,
        processes: Processes = ALONE,
    ) -> None:
        """Create the optimizer of the policy's trainable parameters.

        Args:
            policy: Trained in place.
            config: `LearnerConfig()` if None. A rate of None becomes the default for the model.
            loss: The loss to minimise; `LossConfig()` if None.
            ref_policy: Never changed; a loss with a KL term needs it, otherwise it only serves to
                report kl_policy_ref.
            temperature: Temperature of sampling, and of the log-probabilities in training unless a
                loss has its own.
            max_response_tokens: The environment's budget, the divisor of `seq_mean_token_sum`.
            role_losses: Role -> loss of its samples; other roles have `loss`. Rows of all roles
                share the denominators of an optimizer step, except rows whose loss has a
                `separate_normaliser`.
            teachers: `DistillationConfig.teacher` -> a policy that only scores, for losses whose
                teacher is neither the policy nor its average.
            scorer: Has the policy's weights at all times and computes what needs no gradient; the
                policy itself if None.
            processes: Those that train the policy together.

        Raises:
            ConfigError: The temperature is not positive, or a loss needs a reference policy, a
                response budget or a teacher that is not given.
            ModelError: No parameter requires a gradient, or one is in half precision.
        """
        self.policy, self.ref_policy = policy, ref_policy
        self.scorer, self.processes = scorer or policy, processes
        self.config = with_learning_rate(config or LearnerConfig(), policy.model)
        self.loss = loss or LossConfig()
        self.role_losses = dict(role_losses or {})
        self.temperature, self.max_response_tokens = temperature, max_response_tokens
        self.num_updates = 0
        self.num_nonfinite_in_a_row = 0
        """Updates skipped since the last one that was taken, because they were not finite."""
        self._num_nonfinite = 0
        self._run_share = 0.0
        self.old_log_probs: dict[int, Tensor] = {}
        """Sample number -> [T] nats of its sampled tokens, by the trainer before the last `update`;
        only samples that have a gradient."""
        self._check()
        self.parameters = [p for p in policy.model.parameters() if p.requires_grad]
        if not self.parameters:
            raise ModelError(
                "the policy's model must have a parameter that requires a gradient, got none; "
                "unfreeze one"
            )
        check_trainable(policy.model)
        distilled = [
            loss.distillation
            for loss in (self.loss, *self.role_losses.values())
            if loss.distillation is not None
        ]
        self.teachers = None
        if distilled:
            self._student = predicting(policy, "the policy")
            own = [p for p in self.scorer.model.parameters() if p.requires_grad]
            self.teachers = Teachers(self.scorer, distilled, own, teachers or {})
        self._teacher_tokens = 0
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=self._rate,
            betas=self.config.betas,
            weight_decay=self.config.weight_decay,
        )

    def update(
        self,
        samples: Sequence[TrainingSample],
        rng: np.random.Generator,
        *,
        run_share: tuple[float, float] = (0.0, 0.0),
    ) -> UpdateReport:
        """Train the policy on one iteration's samples, each `config.epochs` times.

        Args:
            samples: At least one.
            rng: Splits the samples; draws nothing if `updates_per_iteration` is 1.
            run_share: Share of the run that is done before and after this iteration, 0..1; the
                schedule's position, between the two for the iteration's updates.

        Raises:
            ConfigError: There is no sample, or a sample has a non-finite number.
        """
        self.processes.lead("update", samples, rng, run_share)
        num_parts = min(self.config.updates_per_iteration, max(1, len(samples)))
        work = self._prepare(samples, has_several=num_parts * self.config.epochs > 1)
        self.old_log_probs, self._num_nonfinite = {}, 0
        steps: list[OptimizerStep | None] = []
        shares = run_shares(run_share, num_parts * self.config.epochs)
        for _ in range(self.config.epochs):
            order = rng.permutation(len(samples)) if num_parts > 1 else np.arange(len(samples))
            for rows in np.array_split(order, num_parts):
                self._run_share = next(shares)
                steps.append(self._step(work, torch.as_tensor(rows, device=self.policy.device)))
        return update_report(
            [step for step in steps if step is not None],
            num_planned=len(steps),
            num_nonfinite=self._num_nonfinite,
            samples=samples,
            active_rows_fraction=work.is_active_B.float().mean().item(),
            is_prefix_shared=self.policy.is_prefix_shared,
        )

    @property
    def has_diverged(self) -> bool:
        """True if so many updates in a row were not finite that a run must stop."""
        return self.num_nonfinite_in_a_row >= self.config.max_nonfinite_updates

    def check_finite(self) -> None:
        """Raise if a run must stop.

        Raises:
            TrainingError: `has_diverged`.
        """
        if self.has_diverged:
            raise TrainingError(
                f"fewer than {self.config.max_nonfinite_updates} updates in a row must have a loss "
                f"or gradient that is not finite, got {self.num_nonfinite_in_a_row} after update "
                f"{self.num_updates}, none of them taken; lower the learning rate, or raise "
                "max_nonfinite_updates"
            )

    def scores(self, sample: TrainingSample) -> bool:
        """Return whether `update` leaves the sample's numbers in `old_log_probs`.

        They are at the temperature of sampling.
        """
        loss = self.role_losses.get(sample.role, self.loss)
        return _is_active(sample, loss) and self._temperature(loss) == self.temperature

    def state_dict(self) -> dict[str, Any]:
        """Collect what a bit-exact continuation needs besides the policy's weights."""
        self.processes.lead("state_dict")
        state = {"optimizer": whole_state(self.optimizer.state_dict()), **self._counts()}
        if self.teachers is not None and self.teachers.average is not None:
            state["average"] = list(self.teachers.average)
        return state

    def save_shares(self, directory: Path) -> dict[str, Any]:
        """Write the tensors of the state, each process its share, and return the rest.

        All processes call it.
        """
        self.processes.lead("save_learner", directory)
        tensors, groups = optimizer_state(self.policy.model, self.optimizer)
        save_shares(directory, tensors | self._average())
        return {"groups": groups, **self._counts()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`'s value.

        Raises:
            CheckpointError: The state is not a learner's, or belongs to another model.
        """
        try:
            optimizer, num_updates = state["optimizer"], int(state["num_updates"])
            if not self.processes.is_alone:
                optimizer = shared_state(optimizer, self.parameters)
            self.optimizer.load_state_dict(optimizer)
            if self.teachers is not None and self.teachers.average is not None:
                self.teachers.restore(state["average"])
        except (KeyError, ValueError) as error:
            raise _unfit(error) from error
        self.num_updates = num_updates
        # Absent in checkpoints of earlier versions, which stopped at the first.
        self.num_nonfinite_in_a_row = int(state.get("num_nonfinite_in_a_row", 0))

    def load_shares(self, directory: Path, state: Mapping[str, Any]) -> None:
        """Continue from what `save_shares` wrote and returned, of any number of processes.

        Call it before the first update.

        Raises:
            CheckpointError: The state is not a learner's, or belongs to another model.
        """
        try:
            load_optimizer_state(self.policy.model, self.optimizer, directory, state["groups"])
            load_shares(directory, self._average())
            self.num_updates = int(state["num_updates"])
            self.num_nonfinite_in_a_row = int(state["num_nonfinite_in_a_row"])
        except (KeyError, ValueError) as error:
            raise _unfit(error) from error

    def _counts(self) -> dict[str, int]:
        return {
            "num_updates": self.num_updates,
            "num_nonfinite_in_a_row": self.num_nonfinite_in_a_row,
        }

    def _average(self) -> dict[str, Tensor]:
        """Name the tensors of the teachers' average, which every process has whole."""
        average = [] if self.teachers is None else self.teachers.average or []
        return {f"average/{number}": own for number, own in enumerate(average)}

    def _check(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ConfigError(
                f"temperature must be above 0 for training, got {self.temperature!r}; use 1.0"
            )
        if self.config.gradient_checkpointing and not self.policy.is_prefix_shared:
            raise ConfigError(
                "gradient_checkpointing must be off for a model that does not share prefixes, got "
                "True; lower micro_batch_tokens instead"
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
        is_active = [_is_active(*pair) for pair in zip(samples, losses, strict=True)]
        work = _Work(
            batch=batch,
            losses=losses,
            normalisers=tuple(map(self._normaliser, samples, losses)),
            is_active_B=torch.tensor(is_active, device=self.policy.device),
            old_log_probs_BT=None,
            ref_log_probs_BT=None,
            teacher_batch=self._teacher_batch(samples, losses, dtype),
        )
        old = self._score(self.scorer, work) if has_several else None
        ref = self._score(self.ref_policy, work) if self.ref_policy is not None else None
        return replace(work, old_log_probs_BT=old, ref_log_probs_BT=ref)

    def _teacher_batch(
        self, samples: Sequence[TrainingSample], losses: Sequence[LossConfig], dtype: torch.dtype
    ) -> TokenBatch | None:
        """Make the batch that teachers score, row for row the batch that is trained.

        Raises:
            ConfigError: The policy would be its own teacher under the context that it is trained
                under: their divergence is 0.
        """
        if self.teachers is None:
            return None
        num_bad = sum(
            sample.teacher_context_ids is None
            and loss.distillation is not None
            and loss.distillation.teacher == POLICY
            for sample, loss in zip(samples, losses, strict=True)
        )
        if num_bad:
            raise ConfigError(
                f"samples that the policy's own weights score must have teacher_context_ids, got "
                f"{num_bad} of {len(samples)} without; give them another context, or use the "
                "teacher initial or average"
            )
        shown = [
            sample
            if sample.teacher_context_ids is None
            else replace(sample, context_ids=sample.teacher_context_ids)
            for sample in samples
        ]
        return make_batch(shown, self.policy.codec.pad_id, dtype=dtype).to(self.policy.device)

    def _normaliser(self, sample: TrainingSample, loss: LossConfig) -> str | None:
        """Name the rows that share denominators: a role, "" for the main loss, None for all others.

        A loss with `separate_normaliser` is averaged over the rows of its role, or, if it is the
        main loss, over the rows of all roles without another loss.
        """
        if not loss.separate_normaliser:
            return None
        return sample.role if sample.role in self.role_losses else ""

    @torch.no_grad()
    def _score(self, policy: TrainablePolicy, work: _Work) -> Tensor:
        """Score the trained tokens of the active rows with a policy; 0 elsewhere."""
        scores_BT = torch.zeros_like(work.batch.behavior_log_probs_BT)
        parts = self._parts(policy, work, work.is_active_B.nonzero()[:, 0])
        for temperature, rows_b in self.processes.share(parts):
            part = work.batch.select(rows_b)
            log_probs_bt, _ = policy.token_log_probs(
                part.token_ids_BT,
                part.attention_mask_BT,
                action_mask_BT=part.action_mask_BT,
                temperature=temperature,
            )
            scores_BT[rows_b, : log_probs_bt.shape[1]] = log_probs_bt.to(scores_BT.dtype)
        self.processes.sum_(scores_BT)
        return scores_BT

    def _temperature(self, loss: LossConfig) -> float:
        """Return the temperature of the log-probabilities of rows with this loss."""
        return self.temperature if loss.temperature is None else loss.temperature

    def _by_temperature(self, work: _Work, rows_b: Tensor) -> Iterator[tuple[float, Tensor]]:
        """Yield the rows of each temperature; they can share a pass."""
        found = [self._temperature(work.losses[row]) for row in rows_b.tolist()]
        for temperature in dict.fromkeys(found):
            has_it = torch.tensor([own == temperature for own in found], device=rows_b.device)
            yield temperature, rows_b[has_it]

    def _parts(
        self, policy: TrainablePolicy, work: _Work, rows_b: Tensor
    ) -> list[tuple[float, Tensor]]:
        """Split these rows into micro-batches, each with its temperature."""
        if not len(rows_b):
            return []
        size, parts = self.config.micro_batch_tokens, list[tuple[float, Tensor]]()
        is_shared = policy.is_prefix_shared
        for temperature, own_b in self._by_temperature(work, rows_b):
            own = work.batch.select(own_b)
            split = own.split_prefixes(size) if is_shared else own.split_rows(size)
            parts += [(temperature, own_b[part_b]) for part_b in split]
        return parts

    def _step(self, work: _Work, rows_b: Tensor) -> OptimizerStep | None:
        """Take one optimizer step on these rows; None if no row has a gradient."""
        active_b = rows_b[work.is_active_B[rows_b]]
        if not len(active_b):
            return None
        self.optimizer.zero_grad(set_to_none=True)
        totals = self._totals(work, rows_b)

        def run(part: tuple[float, Tensor]) -> Pass:
            temperature, part_b = part
            return self._pass(work, part_b, temperature, totals)

        active = work.batch.select(active_b)
        return self._take_step(
            active, self._passes(active, self._parts(self.policy, work, active_b), run)
        )

    def _passes(self, batch: TokenBatch, parts: Sequence[T], run: Callable[[T], P]) -> list[P]:
        """Run this process's share of the micro-batches; give what those of all leave behind."""
        own = [run(part) for part in self.processes.share(parts)]
        if self.processes.is_alone:
            return own
        if self.processes.lacks_one(len(parts)):
            self._run_empty(batch)
        passes = self.processes.joined([one.on_cpu() for one in own], len(parts))
        for one in passes:
            self.old_log_probs |= one.old_log_probs
        return passes

    def _run_empty(self, batch: TokenBatch) -> None:
        """Pass one row, with a loss of 0, through the model: other processes have one part more."""
        row = batch.select(torch.tensor([0], device=batch.token_ids_BT.device))
        log_probs_bt, _ = self.policy.token_log_probs(row.token_ids_BT, row.attention_mask_BT)
        (log_probs_bt.sum() * 0.0).backward()

    def _pass(
        self,
        work: _Work,
        part_b: Tensor,
        temperature: float,
        totals: Mapping[str | None, LossTotals],
    ) -> Pass:
        """Add a micro-batch's share of the gradient."""
        part, self._teacher_tokens = work.batch.select(part_b), 0
        found = self._losses(work, part_b, part, temperature, totals)
        torch.stack([output.loss for _, output in found]).sum().backward()
        return Pass(
            outputs=[(rows, replace(output, loss=output.loss.detach())) for rows, output in found],
            num_forward_tokens=self._num_forward_tokens(part),
            num_teacher_tokens=self._teacher_tokens,
            old_log_probs={row: self.old_log_probs[row] for row in part_b.tolist()},
        )

    def _totals(self, work: _Work, rows_b: Tensor) -> dict[str | None, LossTotals]:
        """Compute the denominators of each normaliser from all rows of an optimizer step."""
        names = [work.normalisers[row] for row in rows_b.tolist()]
        return {
            name: LossTotals.of(
                work.batch.action_mask_BT[rows_b[torch.tensor([own == name for own in names])]],
                self.max_response_tokens,
            )
            for name in dict.fromkeys(names)
        }

    def _num_forward_tokens(self, part: TokenBatch) -> int:
        if self.policy.is_prefix_shared:
            return part.num_distinct_tokens()
        return part.token_ids_BT.numel()

    def _take_step(self, batch: TokenBatch, passes: Sequence[Pass]) -> OptimizerStep | None:
        """Take the optimizer step with the accumulated gradient of this batch's micro-batches.

        Returns:
            None, with weights and optimizer as before, if loss or gradient is not finite.
        """
        outputs = [item for one in passes for item in one.outputs]
        grad_norm = self._clip_gradient()
        loss = sum(output.loss.item() for _, output in outputs)
        if not (math.isfinite(grad_norm) and math.isfinite(loss)):
            self._skip_nonfinite(loss, grad_norm)
            return None
        self.num_nonfinite_in_a_row = 0
        learning_rate = self._set_learning_rate()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.num_updates += 1
        self.policy.mark_updated()
        if self.teachers is not None:
            self.teachers.follow()
        return OptimizerStep(
            grad_norm=grad_norm,
            learning_rate=learning_rate,
            outputs=outputs,
            num_forward_tokens=sum(one.num_forward_tokens for one in passes),
            num_row_tokens=int(batch.attention_mask_BT.sum()),
            num_distinct_tokens=batch.num_distinct_tokens(),
            num_teacher_tokens=None
            if self.teachers is None
            else sum(one.num_teacher_tokens for one in passes),
        )

    def _losses(
        self,
        work: _Work,
        part_b: Tensor,
        part: TokenBatch,
        temperature: float,
        totals: Mapping[str | None, LossTotals],
    ) -> list[tuple[list[int], LossOutput]]:
        """Compute the loss of the rows of each kind, all from one pass; with the rows' numbers."""
        log_probs_bt, entropy_bt, divergence_bt = self._predicted(work, part_b, part, temperature)
        width = log_probs_bt.shape[1]
        old_BT, ref_BT = work.old_log_probs_BT, work.ref_log_probs_BT
        old_bt = log_probs_bt.detach() if old_BT is None else old_BT[part_b, :width]
        ref_bt = None if ref_BT is None else ref_BT[part_b, :width]
        self._keep_old(part_b, old_bt, part.action_mask_BT)
        kinds = [(work.losses[row], work.normalisers[row]) for row in part_b.tolist()]
        outputs: list[tuple[list[int], LossOutput]] = []
        for config, normaliser in dict.fromkeys(kinds):
            chosen = [at for at, kind in enumerate(kinds) if kind == (config, normaliser)]
            own = torch.tensor(chosen, device=part_b.device)
            output = policy_loss(
                log_probs_bt[own],
                old_bt[own],
                part.advantages_BT[own],
                part.action_mask_BT[own],
                config=config,
                totals=totals[normaliser],
                ref_log_probs_BT=None if ref_bt is None else ref_bt[own],
                behavior_log_probs_BT=part.behavior_log_probs_BT[own],
                entropy_BT=None if entropy_bt is None else entropy_bt[own],
                divergence_BT=None if config.distillation is None else divergence_bt[own],
            )
            outputs.append((part_b[own].tolist(), output))
        return outputs

    def _predicted(
        self, work: _Work, part_b: Tensor, part: TokenBatch, temperature: float
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Compute log-probabilities, entropies and, of rows with a teacher, divergences, [b, t]."""
        configs = [work.losses[row].distillation for row in part_b.tolist()]
        if self.teachers is None or not any(configs):
            log_probs_bt, entropy_bt = self.policy.token_log_probs(
                part.token_ids_BT,
                part.attention_mask_BT,
                action_mask_BT=part.action_mask_BT,
                temperature=temperature,
                with_entropy=True,
                checkpointing=self.config.gradient_checkpointing,
            )
            return log_probs_bt, entropy_bt, torch.zeros_like(log_probs_bt)
        found = self._student.predict(
            part.token_ids_BT,
            part.attention_mask_BT,
            action_mask_BT=part.action_mask_BT,
            checkpointing=self.config.gradient_checkpointing,
        )
        log_probs_bt, entropy_bt = found.log_probs(temperature=temperature, with_entropy=True)
        assert work.teacher_batch is not None, "made with the teachers"
        divergence_bt = torch.zeros_like(log_probs_bt)
        for config in dict.fromkeys(configs):
            if config is None:
                continue
            is_own_b = torch.tensor([own == config for own in configs], device=part_b.device)
            shown = work.teacher_batch.select(part_b[is_own_b])
            self._teacher_tokens += int(shown.attention_mask_BT.sum())
            taught = self.teachers.predict(
                config.teacher, shown.token_ids_BT, shown.attention_mask_BT, shown.action_mask_BT
            )
            # Places of the rows with this teacher, in the order of a boolean index of all rows.
            is_own_K = is_own_b[:, None].expand_as(part.action_mask_BT)[part.action_mask_BT]
            found_K = divergences(found, taught, config, temperature=temperature, places=is_own_K)
            places_bt = part.action_mask_BT & is_own_b[:, None]
            divergence_bt = divergence_bt.masked_scatter(places_bt, found_K)
        return log_probs_bt, entropy_bt, divergence_bt

    def _keep_old(self, rows_b: Tensor, old_bt: Tensor, mask_bt: Tensor) -> None:
        for row, old_t, mask_t in zip(rows_b.tolist(), old_bt.cpu(), mask_bt.cpu(), strict=True):
            self.old_log_probs[row] = old_t[mask_t]

    def _clip_gradient(self) -> float:
        limit = self.config.max_grad_norm
        norm = nn.utils.clip_grad_norm_(self.parameters, math.inf if limit is None else limit)
        return whole(norm).item()

    def _skip_nonfinite(self, loss: float, grad_norm: float) -> None:
        """Forget the gradient, and count."""
        self.optimizer.zero_grad(set_to_none=True)
        self._num_nonfinite += 1
        self.num_nonfinite_in_a_row += 1
        _log.warning(
            "the update after update %d is skipped, because its loss is %s and its gradient norm "
            "%s; %d in a row, at %d the run stops",
            self.num_updates,
            loss,
            grad_norm,
            self.num_nonfinite_in_a_row,
            self.config.max_nonfinite_updates,
        )

    def _set_learning_rate(self) -> float:
        warmup = self.config.warmup_updates
        share = min(1.0, (self.num_updates + 1) / warmup) if warmup else 1.0
        rate = self._rate * share * schedule_factor(self.config.schedule, self._run_share)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    @property
    def _rate(self) -> float:
        rate = self.config.learning_rate
        assert rate is not None, "with_learning_rate gave a number"
        return rate


def _on_cpu(output: LossOutput) -> LossOutput:
    return LossOutput(
        loss=output.loss.cpu(),
        policy=output.policy.cpu(),
        kl=output.kl.cpu(),
        entropy=output.entropy.cpu(),
        rows={name: value.cpu() for name, value in output.rows.items()},
    )


def _unfit(error: Exception) -> CheckpointError:
    return CheckpointError(
        f"the learner's state must fit the policy's model, got {error}; "
        "load a checkpoint of this model"
    )


def _is_active(sample: TrainingSample, loss: LossConfig) -> bool:
    return sample.has_signal or loss.trains_without_advantage


def run_shares(run_share: tuple[float, float], num_updates: int) -> Iterator[float]:
    """Yield the share of the run that is done before each of an iteration's planned updates.

    >>> list(run_shares((0.5, 0.75), 2))
    [0.5, 0.625]
    """
    begin, end = run_share
    for number in range(num_updates):
        yield begin + (end - begin) * number / num_updates


def check_trainable(model: nn.Module) -> None:
    """Raise if an optimizer would lose updates of the model's weights.

    Raises:
        ModelError: A parameter that requires a gradient is in half precision.
    """
    for name, weight in model.named_parameters():
        if weight.requires_grad and weight.dtype in (torch.bfloat16, torch.float16):
            kind = str(weight.dtype).removeprefix("torch.")
            raise ModelError(
                f"weights that are trained must be float32, got {kind} in {name!r}, which loses "
                "most of each update; load the model with dtype=torch.float32, and give the policy "
                "precision='bf16-mixed' to compute in bfloat16"
            )
