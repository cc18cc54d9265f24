"""Every number that a run writes, with its unit, meaning and healthy range.

`METRICS` is the dictionary of `metrics.jsonl`: a name that is not in it is an error on write, so
no number appears whose meaning has to be guessed. A metric marked `per_role` may carry a third
part, the role of the episodes it is over: `rollout/pass_rate/hinted`. Those of the update may carry
in its place who wrote the trained tokens, where that is not always the policy:
`update/entropy/from_reference`. In a KL's name, KL(first || second), the first is where its tokens
are sampled from. A value of None says that nothing was there to average.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from reason_env.errors import ConfigError, UnknownNameError, did_you_mean
from reason_env.verdict import Outcome

Number = float | int | None
OUTCOMES: tuple[str, ...] = (*(outcome.value for outcome in Outcome), "truncated")


@dataclass(frozen=True, slots=True)
class Metric:
    """What one name in `metrics.jsonl` means."""

    unit: str
    meaning: str
    healthy: tuple[float, float] | None = None
    """Lowest and highest value of a run that goes well; None where any value may."""
    across: Literal["mean", "max", "sum", "last"] = "mean"
    """How the values of several updates or iterations become one."""
    per_role: bool = False
    """True if the name may end in `/<role>`."""


def _fraction(meaning: str, low: float = 0.0, high: float = 1.0, per_role: bool = False) -> Metric:
    return Metric("fraction", meaning, (low, high), per_role=per_role)


def _seconds(meaning: str) -> Metric:
    return Metric("s", meaning, across="sum")


METRICS: dict[str, Metric] = {
    "rollout/return_mean": Metric(
        "reward", "episode return, mean over graded trajectories", per_role=True
    ),
    "rollout/pass_rate": _fraction(
        "graded trajectories that succeeded; near 0 or 1 nothing is left to learn from",
        low=0.02,
        high=0.98,
        per_role=True,
    ),
    "rollout/num_trajectories": Metric(
        "trajectories", "episodes collected, failed verdicts included", across="sum", per_role=True
    ),
    "rollout/num_groups": Metric("groups", "groups collected", across="sum"),
    "rollout/completion_tokens_mean": Metric(
        "tokens", "policy tokens of an episode that the environment kept", per_role=True
    ),
    "rollout/sampled_tokens": Metric(
        "tokens",
        "generated in this iteration, those left out by the env included",
        across="sum",
        per_role=True,
    ),
    "rollout/preparation_tokens": Metric(
        "tokens",
        "generated to measure problems before the first iteration; in sampled_tokens_total",
        across="sum",
    ),
    "rollout/discarded_tokens": Metric(
        "tokens",
        "generated in this iteration for episodes that answer and are in no training sample",
        across="sum",
    ),
    "rollout/solved_problems": Metric(
        "problems",
        "distinct problems of this iteration with a correct episode, however it was helped",
        across="sum",
    ),
    "rollout/solved_problems_unaided": Metric(
        "problems",
        "the same over episodes from the problem itself: no guidance, no prefix",
        across="sum",
    ),
    "rollout/clean_prefix_fraction": _fraction(
        "reset prefixes that end before the first wrong step, by the family's step checker"
    ),
    "rollout/pass_rate_clean_prefix": _fraction(
        "graded reset episodes from a clean prefix that succeeded"
    ),
    "rollout/pass_rate_unclean_prefix": _fraction(
        "graded reset episodes from a prefix with a wrong step that succeeded"
    ),
    "rollout/localisation_accuracy": _fraction(
        "failed chains whose first wrong step the policy named; those with one are counted"
    ),
    "rollout/localisation_chance": _fraction(
        "what a step named at random would score: mean of 1 / steps over the same chains"
    ),
    "rollout/localisation_offset_mean": Metric(
        "steps", "named step - first wrong step, mean; below 0: named too early"
    ),
    "rollout/sampled_tokens_total": Metric(
        "tokens", "generated for training since the start of the run", across="last"
    ),
    "rollout/prefilled_tokens": Metric(
        "tokens", "context tokens that the engine ran in this iteration", across="sum"
    ),
    "rollout/mismatch_mean": Metric(
        "nats/token",
        "|trainer - sampler| log-probability of sampled tokens in their sampling context, mean "
        "over the episodes scored again",
        (0, 0.02),
    ),
    "rollout/mismatch_max": Metric("nats/token", "the largest of them", (0, 1), across="max"),
    "rollout/mismatch_kl_behavior_policy": Metric(
        "nats/token",
        "mean of r - 1 - log r, r = trainer / sampler: KL(sampler || trainer)",
        (0, 0.01),
    ),
    "rollout/mismatch_effective_sample_fraction": _fraction(
        "(sum of r)^2 / (tokens * sum of r^2), r = trainer / sampler", low=0.9
    ),
    "rollout/mismatch_cut_fraction": _fraction(
        "sampled tokens that the trainer's own top-k or top-p would cut off; in no mean", high=0.01
    ),
    "rollout/mismatch_alarm": _fraction(
        "1 if mismatch_mean is above engine.mismatch.limit", high=0.5
    ),
    "rollout/engine_restarts": Metric(
        "restarts", "of an engine that died or hung, in this iteration", (0, 0.5), across="sum"
    ),
    "rollout/truncated_fraction": _fraction(
        "trajectories that a token or step budget ended", high=0.3, per_role=True
    ),
    **{
        f"grade/{outcome}_fraction": _fraction(
            f"trajectories whose outcome is {outcome}; the grade/ fractions sum to 1",
            high=0.01 if outcome in ("timeout", "error") else 1.0,
        )
        for outcome in OUTCOMES
    },
    "advantage/groups_without_signal_fraction": _fraction(
        "groups of several episodes whose graded returns are all equal: they teach GRPO nothing",
        high=0.9,
    ),
    "advantage/trained_groups_without_signal_fraction": _fraction(
        "groups of several training samples whose advantages are all 0", high=0.9
    ),
    "advantage/mean_abs": Metric(
        "reward, or its standard deviations", "mean over training samples of |advantage|", (0, 2)
    ),
    "loss/total": Metric("reward", "what is differentiated: all terms with their weights"),
    "loss/policy": Metric("reward", "policy-gradient term; its sign says nothing"),
    "loss/kl": Metric(
        "reward", "share of the KL(policy || reference) term, its coefficient included"
    ),
    "loss/entropy": Metric(
        "reward", "share of the entropy term, coefficient and minus sign included"
    ),
    "update/tokens": Metric(
        "tokens", "sampled tokens that went through the loss", across="sum", per_role=True
    ),
    "update/entropy": Metric(
        "nats/token",
        "entropy of the policy on its tokens; collapse shows here first",
        (0.01, 5),
        per_role=True,
    ),
    "update/kl_old_policy": Metric(
        "nats/token",
        "mean of ratio - 1 - log_ratio, ratio = policy / old: KL(old || policy)",
        (0, 0.1),
        per_role=True,
    ),
    "update/kl_policy_ref": Metric(
        "nats/token", "KL(policy || reference policy)", (0, 1), per_role=True
    ),
    "update/clip_low_fraction": _fraction(
        "tokens clipped at the lower bound", high=0.2, per_role=True
    ),
    "update/clip_high_fraction": _fraction(
        "tokens clipped at the upper bound", high=0.2, per_role=True
    ),
    "update/dual_clip_fraction": _fraction("tokens past the dual clip", high=0.05, per_role=True),
    "update/ratio_mean": Metric(
        "ratio", "policy / old, mean over tokens", (0.9, 1.1), per_role=True
    ),
    "update/ratio_max": Metric(
        "ratio", "policy / old, largest", (1, 10), across="max", per_role=True
    ),
    "update/effective_sample_fraction": _fraction(
        "(sum of ratios)^2 / (tokens * sum of squared ratios)", low=0.5, per_role=True
    ),
    "update/chi_square": Metric("1", "mean of (ratio - 1)^2", (0, 0.5), per_role=True),
    "update/importance_weight_mean": Metric(
        "ratio",
        "old / behavior, the correction for a sampler that differs",
        (0.9, 1.1),
        per_role=True,
    ),
    "update/importance_capped_fraction": _fraction(
        "tokens whose importance weight reached its cap", high=0.05, per_role=True
    ),
    "update/behavior_gap_mean": Metric(
        "nats/token",
        "|old - behavior|, mean over tokens: trainer against sampler; for tokens learned under "
        "another context, context against context",
        (0, 0.02),
        per_role=True,
    ),
    "update/behavior_gap_max": Metric(
        "nats/token",
        "|old - behavior|, largest; see behavior_gap_mean",
        (0, 1),
        across="max",
        per_role=True,
    ),
    "update/pair_margin_mean": Metric(
        "reward", "implied reward of the chosen response over the rejected one's, mean over pairs"
    ),
    "update/pair_accuracy": _fraction("pairs whose chosen response has the larger implied reward"),
    "update/grad_norm": Metric("reward/parameter", "gradient norm before clipping", (1e-6, 100)),
    "update/learning_rate": Metric("1", "of the optimizer, warm-up included", across="last"),
    "update/num_updates": Metric("updates", "optimizer steps of this iteration", across="sum"),
    "update/num_skipped": Metric(
        "updates", "planned optimizer steps without any gradient", across="sum"
    ),
    "update/active_rows_fraction": _fraction(
        "training samples with a gradient; the others are not run", low=0.1
    ),
    "update/num_updates_total": Metric(
        "updates", "optimizer steps since the start: the policy version", across="last"
    ),
    "eval/pass_at_1": _fraction("unbiased pass@1 on the evaluation problems"),
    "eval/pass_at_1_low": _fraction("lower 95 % limit of pass@1, bootstrap over problems"),
    "eval/pass_at_1_high": _fraction("upper 95 % limit of pass@1, bootstrap over problems"),
    "eval/pass_at_k": _fraction("unbiased pass@k on the evaluation problems; k is eval/k"),
    "eval/pass_at_k_low": _fraction("lower 95 % limit of pass@k, bootstrap over problems"),
    "eval/pass_at_k_high": _fraction("upper 95 % limit of pass@k, bootstrap over problems"),
    "eval/k": Metric("samples", "the k of eval/pass_at_k", across="last"),
    "eval/num_problems": Metric("problems", "evaluation problems", across="last"),
    "eval/num_samples": Metric("samples", "completions sampled a problem", across="last"),
    "eval/greedy_pass_rate": _fraction("problems solved by greedy decoding"),
    "eval/greedy_pass_rate_low": _fraction("lower 95 % Wilson limit of the greedy pass rate"),
    "eval/greedy_pass_rate_high": _fraction("upper 95 % Wilson limit of the greedy pass rate"),
    "eval/sampled_tokens": Metric(
        "tokens", "generated for this evaluation; in no training total", across="sum"
    ),
    "cpi/advantage": Metric(
        "reward",
        "policy advantage of the candidate on fresh restarts; per response, or the mean over the "
        "horizon's steps (estimator step)",
    ),
    "cpi/advantage_low": Metric("reward", "lower limit of it, at CPIConfig.confidence"),
    "cpi/advantage_high": Metric("reward", "upper limit of it"),
    "cpi/num_restarts": Metric("states", "that the advantage was measured at", across="sum"),
    "cpi/restart_share": _fraction(
        "weight of mu in it, 1 - beta; 0: no start but the problems' own"
    ),
    "cpi/accepted": _fraction("1 if the candidate passed the test; a mean is the share that did"),
    "cpi/alpha": _fraction("step size taken; 0 for a rejected candidate"),
    "cpi/bound": Metric(
        "reward",
        "least gain in return from the restarts that the theorem promises for the mixture of whole "
        "policies, by the lower limit; below 0: nothing promised; None: rejected, or no theorem",
    ),
    "cpi/kl_mixture": Metric(
        "nats/token", "KL(mixture || policy kept), on responses that were not fitted", (0, 0.05)
    ),
    "cpi/kl_interpolated": Metric(
        "nats/token", "the same of the interpolated weights, which distillation begins with"
    ),
    "cpi/realised": Metric(
        "reward", "gain in return from D of the policy kept over the one before, on fresh samples"
    ),
    "cpi/realised_low": Metric("reward", "lower limit of it, at CPIConfig.confidence"),
    "cpi/realised_high": Metric("reward", "upper limit of it"),
    "cpi/realised_restarts": Metric("reward", "the same gain from (1 - beta) mu + beta D"),
    "cpi/realised_restarts_low": Metric("reward", "lower limit of it"),
    "cpi/realised_restarts_high": Metric("reward", "upper limit of it"),
    "cpi/tokens_candidate": Metric(
        "tokens", "generated for the candidate: rollout/sampled_tokens", across="sum"
    ),
    "cpi/tokens_advantage": Metric(
        "tokens",
        "generated to find and measure the restarts; in rollout/sampled_tokens_total",
        across="sum",
    ),
    "cpi/tokens_realised": Metric(
        "tokens", "generated for cpi/realised; in no training total", across="sum"
    ),
    "time/rollout_s": _seconds("sampling and environment, grading left out"),
    "time/grade_s": _seconds("waiting for verdicts"),
    "time/update_s": _seconds("scoring, loss, gradients and optimizer"),
    "time/eval_s": _seconds("evaluation"),
    "time/iteration_s": _seconds("whole iteration"),
}
"""name -> what it is. Names are `<stage>/<what>[_<unit>]`."""


def register_metrics(metrics: Mapping[str, Metric]) -> None:
    """Add metrics to `METRICS`, for a method that lives outside the library.

    Raises:
        ConfigError: A name is not `<stage>/<what>`, or `METRICS` gives it another meaning.
    """
    for name, value in metrics.items():
        if not re.fullmatch(r"[a-z0-9_]+/[a-z0-9_]+", name):
            raise ConfigError(
                f"a metric's name must be <stage>/<what> in lower-case letters, digits and _, got "
                f"{name!r}"
            )
        if METRICS.get(name, value) != value:
            raise ConfigError(
                f"a metric must have one meaning, got {name!r} with another one; rename it"
            )
    METRICS.update(metrics)


def metric(name: str) -> Metric:
    """Returns what `name` means, a role at its end allowed where the metric is per role.

    >>> metric("rollout/pass_rate/hinted").unit
    'fraction'

    Raises:
        UnknownNameError: The name is not in `METRICS`.
    """
    if name in METRICS:
        return METRICS[name]
    known = METRICS.get(name.rpartition("/")[0])
    if known is not None and known.per_role:
        return known
    raise UnknownNameError(
        f"no metric {name!r} among {len(METRICS)} of METRICS in agents/metrics.py"
        f"{did_you_mean(name, METRICS)}"
    )


def combine(records: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    """Returns one record for several updates or iterations, each metric by its own rule.

    Values of None are left out; where all are None, so is the result.

    >>> combine([{"update/ratio_max": 1.5, "loss/policy": 0.5},
    ...          {"update/ratio_max": 1.2, "loss/policy": 0.25}])
    {'update/ratio_max': 1.5, 'loss/policy': 0.375}
    """
    names = dict.fromkeys(name for record in records for name in record)
    return {name: _combined(name, records) for name in names}


def _combined(name: str, records: Sequence[Mapping[str, Number]]) -> Number:
    values = [value for record in records if (value := record.get(name)) is not None]
    if not values:
        return None
    rules = {"mean": mean, "max": max, "sum": sum, "last": lambda items: items[-1]}
    return rules[metric(name).across](values)


def mean(values: Iterable[float]) -> float | None:
    """Returns the mean; None where there are no values."""
    listed = list(values)
    return sum(listed) / len(listed) if listed else None
