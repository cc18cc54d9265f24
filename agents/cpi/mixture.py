r"""Approximate the mixture (1 - alpha) pi + alpha pi' of two sets of weights by one set.

`interpolate` averages the weights, (1 - alpha) w + alpha w': the mixture to first order if pi' is
close to pi.

`Distiller` minimises KL((1 - alpha) pi + alpha pi' || pi_w) on sampled states, starting from the
interpolated weights (Deep CPI, Vieillard et al. 2019, arXiv 1906.09784, section 4). There a state
has one action; here it has one token, while an action of the analysis may be longer. The mixture
draws pi' with probability alpha once per

* `token`: the next token has probability (1 - alpha) pi + alpha pi';
* `step`: Kakade and Langford's mixture in the step-level MDP;
* `response`: the mixture of whole policies, from the restart on.

Token by token, the weight of pi' is the posterior of pi' given the tokens t since the draw:

    log odds = log(alpha / (1 - alpha)) + sum_t (log pi'(t) - log pi(t))

so the targets are exact at every level, at the sampling temperature and without truncation. The fit
is approximate: it sees only states that pi visited in training, and model and optimizer steps limit
it. A quarter of the responses is held out; the reported KL is measured on them, and the fit is kept
only if it lowers that KL.

Axis letters: B responses, T tokens, N tokens that the policy sampled, V vocabulary.
"""

# torch leaves tolist, backward and step untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from reason_env.agents.cpi.config import DistillConfig
from reason_env.agents.learning import TokenBatch, TrainablePolicy, make_batch
from reason_env.agents.rollout import TrainingSample
from reason_env.codec import Codec, step_ends
from reason_env.errors import ConfigError, TrainingError

Level = Literal["token", "step", "response"]
Weights = Mapping[str, Tensor]
HELD_OUT_EVERY = 4
"""One response of this many is held out."""


def copy_weights(model: nn.Module) -> Weights:
    """Copy the parameters that require a gradient, by name."""
    return {
        name: value.detach().clone()
        for name, value in model.named_parameters()
        if value.requires_grad
    }


@torch.no_grad()
def load_weights(model: nn.Module, weights: Weights) -> None:
    """Copy the weights into the model, bit for bit."""
    parameters = dict(model.named_parameters())
    for name, value in weights.items():
        parameters[name].copy_(value)


@contextmanager
def using_weights(model: nn.Module, weights: Weights) -> Generator[None]:
    """Load the weights into the model, and restore the previous ones at the end."""
    previous = copy_weights(model)
    load_weights(model, weights)
    try:
        yield
    finally:
        load_weights(model, previous)


def interpolate(old: Weights, new: Weights, step_size: float) -> Weights:
    """Average the weights, (1 - step_size) old + step_size new; exactly `old` at 0, `new` at 1.

    >>> old, new = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([3.0, -2.0])}
    >>> interpolate(old, new, 0.25)["w"].tolist()
    [1.5, 1.0]
    """
    if not 0 <= step_size <= 1:
        raise ConfigError(f"step_size must lie in 0..1, got {step_size!r}")
    if step_size in (0, 1):
        return {name: value.clone() for name, value in (new if step_size else old).items()}
    return {name: torch.lerp(value, new[name], step_size) for name, value in old.items()}


def mixture_log_probs(old_NV: Tensor, new_NV: Tensor, log_odds_N: Tensor) -> Tensor:
    """Compute log((1 - q) pi + q pi') with q = sigmoid(log odds of pi'), [N, V], nats.

    >>> old, new = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
    >>> mixture_log_probs(old, new, torch.tensor([0.0])).exp()
    tensor([[0.7000, 0.3000]])
    """
    log_q_N1 = nn.functional.logsigmoid(log_odds_N)[:, None]
    log_rest_N1 = nn.functional.logsigmoid(-log_odds_N)[:, None]
    return torch.logaddexp(old_NV + log_rest_N1, new_NV + log_q_N1)


def draw_begins(codec: Codec, sample: TrainingSample, level: Level) -> list[int]:
    """Find the number of the sampled token at which the draw of each sampled token begins.

    Two tokens sampled after a prefix, with a step's end between them, have [0, 1] at level `token`
    and `step`, and [0, 0] at level `response`.
    """
    places = [place for place, sampled in enumerate(sample.action_mask) if sampled]
    if level == "token":
        return list(range(len(places)))
    if level == "response":
        return [0] * len(places)
    bounds = set(step_ends(codec, sample.token_ids))
    begins: list[int] = []
    for number, place in enumerate(places):
        begins.append(number if place in bounds or not begins else begins[-1])
    return begins


def posterior_log_odds(log_ratios_N: Tensor, begins: Sequence[int], step_size: float) -> Tensor:
    """Compute the log odds before each token that pi' is the drawn policy, [N], of one response.

    Args:
        log_ratios_N: log pi'(token) - log pi(token) of each sampled token.
        begins: From `draw_begins`.
        step_size: Prior probability of pi', strictly between 0 and 1.

    Posterior after a token twice as likely under pi': 0.25 * 2 / (0.25 * 2 + 0.75) = 0.4

    >>> odds = posterior_log_odds(torch.tensor([2.0, 1.0, 1.0]).log(), [0, 0, 2], 0.25)
    >>> odds.sigmoid()
    tensor([0.2500, 0.4000, 0.2500])
    """
    before_N = torch.cumsum(log_ratios_N, 0) - log_ratios_N
    since_N = before_N - before_N[torch.tensor(begins, device=before_N.device)]
    return since_N + math.log(step_size / (1 - step_size))


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillReport:
    """KL(mixture || policy), nats a token, on the held-out responses."""

    kl_interpolated: float
    """With the interpolated weights."""
    kl: float
    """With the final weights."""


class Distiller:
    """Fits a model to the mixture of two sets of its weights."""

    def __init__(
        self,
        policy: TrainablePolicy,
        samples: Sequence[TrainingSample],
        *,
        old: Weights,
        new: Weights,
        step_size: float,
        level: Level,
        temperature: float = 1.0,
        micro_batch_tokens: int = 4096,
    ) -> None:
        """Prepare the states to fit: one before each sampled token.

        Args:
            policy: Its model is fitted in place.
            samples: At least one.
            old: pi.
            new: pi'.
            step_size: Strictly between 0 and 1.
            level: How often the mixture draws a policy.
            temperature: Sampling temperature of all three policies.
            micro_batch_tokens: Tokens of one forward pass, including padding.

        Raises:
            ConfigError: step_size is not strictly between 0 and 1.
        """
        if not 0 < step_size < 1:
            raise ConfigError(
                f"step_size of a distillation must lie between 0 and 1, got {step_size!r}"
            )
        self.policy, self.old, self.new = policy, old, new
        self.step_size, self.temperature = step_size, temperature
        self.micro_batch_tokens = micro_batch_tokens
        self.batch = make_batch(samples, policy.codec.pad_id).to(policy.device)
        self.begins = [draw_begins(policy.codec, sample, level) for sample in samples]
        rows = range(len(samples))
        self.fitted = [row for row in rows if (row + 1) % HELD_OUT_EVERY]
        held_out = [row for row in rows if not (row + 1) % HELD_OUT_EVERY]
        self.held_out = held_out or self.fitted
        """Rows on which the KL is measured: all rows if there are fewer than four."""

    def fit(self, config: DistillConfig, rng: np.random.Generator) -> DistillReport:
        """Fit the model from the interpolated weights; keep those unless the fit lowers the KL.

        The KL is measured on the held-out responses.

        Raises:
            TrainingError: The KL is not finite.
        """
        model = self.policy.model
        initial = interpolate(self.old, self.new, self.step_size)
        load_weights(model, initial)
        kl_interpolated = self.kl(self.held_out)
        self._optimise(config, rng)
        kl = self.kl(self.held_out)
        # Adam's first steps do not shrink with the gradient: for a small alpha they can overshoot.
        if not kl < kl_interpolated:
            load_weights(model, initial)
            kl = kl_interpolated
        return DistillReport(kl_interpolated=kl_interpolated, kl=kl)

    @torch.no_grad()
    def kl(self, rows: Sequence[int]) -> float:
        """Compute KL(mixture || model), nats, mean over the sampled tokens of these rows."""
        total, num = 0.0, 0
        for part in self._parts(rows):
            kl_n = self._kl(part)
            total, num = total + float(kl_n.double().sum()), num + len(kl_n)
        return total / num

    def _optimise(self, config: DistillConfig, rng: np.random.Generator) -> None:
        parameters = [p for p in self.policy.model.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(parameters, lr=config.learning_rate)
        order: list[int] = []
        for update in range(config.updates):
            if not order:
                order = [self.fitted[at] for at in rng.permutation(len(self.fitted))]
            rows, order = order[: config.rows], order[config.rows :]
            num = int(self.batch.action_mask_BT[rows].sum())
            for part in self._parts(rows):
                loss = self._kl(part).sum() / num
                if not torch.isfinite(loss):
                    raise TrainingError(
                        f"the KL to the mixture must be finite, got {loss.item()!r}; lower "
                        "distill.learning_rate, or use mixture 'interpolate'"
                    )
                loss.backward()
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * (1 - update / config.updates)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def _parts(self, rows: Sequence[int]) -> Iterator[list[int]]:
        rows_B = torch.tensor(list(rows), device=self.policy.device)
        for part in self.batch.select(rows_B).split_rows(self.micro_batch_tokens):
            yield [rows[at] for at in part.tolist()]

    def _kl(self, rows: Sequence[int]) -> Tensor:
        """Compute KL(mixture || model) at each sampled token of these rows, [n], differentiable."""
        part = self.batch.select(torch.tensor(rows, device=self.policy.device))
        with torch.no_grad():
            old_nV, new_nV = (self._log_probs(part, which) for which in (self.old, self.new))
            tokens_n1 = part.token_ids_BT[part.action_mask_BT][:, None]
            ratios_n = (new_nV.gather(-1, tokens_n1) - old_nV.gather(-1, tokens_n1))[:, 0]
            sizes = [len(self.begins[row]) for row in rows]
            odds_n = torch.cat(
                [
                    posterior_log_odds(own_n, self.begins[row], self.step_size)
                    for row, own_n in zip(rows, ratios_n.split(sizes), strict=True)
                ]
            )
            target_nV = mixture_log_probs(old_nV, new_nV, odds_n)
        return (target_nV.exp() * (target_nV - self._log_probs(part, None))).sum(-1)

    def _log_probs(self, part: TokenBatch, weights: Weights | None) -> Tensor:
        """Compute each sampled token's distribution, [n, V]; with the model's weights if None."""
        model: Any = self.policy.model
        inputs = {
            "input_ids": part.token_ids_BT,
            "attention_mask": part.attention_mask_BT,
            "use_cache": False,
        }
        with self.policy.computing():
            if weights is None:
                output = model(**inputs)
            else:
                output = torch.func.functional_call(model, dict(weights), args=(), kwargs=inputs)
        # Logits at t belong to the token at t + 1; a row never begins with a sampled token.
        logits_nV = output.logits[:, :-1][part.action_mask_BT[:, 1:]]
        logits_nV = logits_nV[:, : self.policy.codec.vocab_size].float() / self.temperature
        return torch.log_softmax(logits_nV, dim=-1)
