"""Unit and meaning of every number in metrics.jsonl and timings.jsonl.

Writing a name that is not in `METRICS` is an error, so every number in a run is documented here. A
name with `per_role` may end in the role of its episodes: `rollout/pass_rate/hinted`. A name of the
update may end in the source of the trained tokens, if the policy did not write all of them:
`update/entropy/from_reference`. KL(first || second) is over tokens sampled from the first. None
means that there was nothing to average.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reason_env.errors import ConfigError, UnknownNameError, did_you_mean
from reason_env.verdict import Outcome

Number = float | int | None
OUTCOMES: tuple[str, ...] = (*(outcome.value for outcome in Outcome), "truncated")


@dataclass(frozen=True, slots=True)
class Metric:
    """Unit and meaning of one name in `metrics.jsonl`."""

    unit: str
    meaning: str
    per_role: bool = False
    """True if the name may end in `/<role>`."""


def _fraction(meaning: str, *, per_role: bool = False) -> Metric:
    return Metric("fraction", meaning, per_role)


METRICS: dict[str, Metric] = {
    "rollout/return_mean": Metric(
        "reward", "episode return, mean over graded trajectories", per_role=True
    ),
    "rollout/pass_rate": _fraction(
        "graded trajectories that succeeded; near 0 or 1 nothing is left to learn from",
        per_role=True,
    ),
    "rollout/num_trajectories": Metric(
        "trajectories",
        "episodes collected, also those without a verdict",
        per_role=True,
    ),
    "rollout/num_groups": Metric("groups", "groups collected"),
    "rollout/completion_tokens_mean": Metric(
        "tokens", "policy tokens of an episode that the environment kept", per_role=True
    ),
    "rollout/sampled_tokens": Metric(
        "tokens",
        "generated in this iteration, including tokens that the environment cut off",
        per_role=True,
    ),
    "rollout/preparation_tokens": Metric(
        "tokens",
        "generated to measure problems, before the first iteration or when one first draws them; "
        "part of sampled_tokens_total",
    ),
    "rollout/cut_mistakes": Metric(
        "answers",
        "distinct wrong answers that hints leave out or shorten, because they are long or the hint "
        "does not fit",
    ),
    "rollout/left_out_problems": Metric(
        "problems", "drawn in this iteration and left out by the method (POPE: not hard)"
    ),
    "rollout/drawn_problems": Metric(
        "problems",
        "distinct problems that the wrappers of the environment chose in this iteration",
    ),
    "rollout/drawn_fraction": Metric(
        "fraction",
        "starts of this iteration, chosen by the wrappers, whose problem has the level that the "
        "name ends in",
        per_role=True,
    ),
    "rollout/taught_fraction": _fraction(
        "graded episodes of the problem groups for which a teacher has something to see (SDPO)"
    ),
    "rollout/discarded_tokens": Metric(
        "tokens",
        "generated in this iteration for answering episodes that no training sample uses",
    ),
    "rollout/idle_steps_fraction": _fraction(
        "environment steps after the end of an episode, while others go on (sb3-grpo); part of "
        "discarded_tokens"
    ),
    "rollout/solved_problems": Metric(
        "problems",
        "distinct problems of this iteration with a correct episode, with or without help",
    ),
    "rollout/solved_problems_unaided": Metric(
        "problems",
        "distinct problems with a correct episode without guidance or prefix",
    ),
    "rollout/unreadable_hints": Metric("replies", "SAGE's requests that gave no readable hint"),
    "rollout/prefixed_groups": Metric(
        "groups", "groups that Prefix Sampling samples again after a prefix"
    ),
    "rollout/distance_to_target": _fraction(
        "pass rate of such a group, less the target, without sign; mean over groups"
    ),
    "rollout/head_start_share": _fraction("steps of a success that head starts keep"),
    "rollout/handicap_share": _fraction("steps of a failure that handicaps keep"),
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
        "failed chains whose first wrong step the policy named, among chains that have one"
    ),
    "rollout/localisation_chance": _fraction(
        "accuracy of a step named at random: mean of 1 / steps over the same chains"
    ),
    "rollout/localisation_offset_mean": Metric(
        "steps", "mean of named step - first wrong step; below 0: too early"
    ),
    "rollout/sampled_tokens_total": Metric(
        "tokens", "generated for training since the start of the run"
    ),
    "rollout/entropy_mean": Metric(
        "nats/token",
        "entropy of the distributions sampled from, mean over the tokens of episodes that keep it",
    ),
    "rollout/unmixed_groups": Metric(
        "groups", "problem groups that DAPO leaves out: all graded episodes succeed, or all fail"
    ),
    "rollout/missing_groups": Metric(
        "groups", "fewer than DAPO wants, because a limit was reached before"
    ),
    "rollout/further_problems": Metric(
        "problems", "drawn in this iteration because the method asked for more"
    ),
    "rollout/scored_tokens": Metric(
        "tokens", "of contexts and completions that the method let the policy score"
    ),
    "rollout/judge_tokens": Metric(
        "tokens", "generated by judges; no part of rollout/sampled_tokens_total"
    ),
    "rollout/judge_read_tokens": Metric("tokens", "of questions to judges"),
    "rollout/unjudged": Metric("questions", "that do not fit the judge's context"),
    "rollout/prefilled_tokens": Metric(
        "tokens", "context tokens that the engine prefilled in this iteration"
    ),
    "rollout/reused_tokens": Metric(
        "tokens",
        "context tokens that responses read from keys computed for other ones in this iteration",
    ),
    "rollout/mismatch_mean": Metric(
        "nats/token",
        "|trainer - sampler| log-probability of sampled tokens in their sampling context, mean "
        "over the episodes that the trainer scores",
    ),
    "rollout/mismatch_max": Metric("nats/token", "|trainer - sampler| log-probability, largest"),
    "rollout/mismatch_kl_behavior_policy": Metric(
        "nats/token",
        "mean of r - 1 - log r, r = trainer / sampler: KL(sampler || trainer)",
    ),
    "rollout/mismatch_effective_sample_fraction": _fraction(
        "(sum of r)^2 / (tokens * sum of r^2), r = trainer / sampler"
    ),
    "rollout/mismatch_cut_fraction": _fraction(
        "sampled tokens that the trainer's top-k or top-p would exclude; left out of the means"
    ),
    "rollout/mismatch_alarm": _fraction("1 if mismatch_mean is above engine.mismatch.limit"),
    "rollout/staleness": Metric(
        "changes",
        "of the weights since those that this iteration's episodes were sampled from, mean; only "
        "with engine.max_staleness",
    ),
    "rollout/engine_restarts": Metric(
        "restarts", "engine restarts in this iteration, after a crash or a hang"
    ),
    "rollout/truncated_fraction": _fraction(
        "trajectories that ended at a token or step budget", per_role=True
    ),
    **{
        f"grade/{outcome}_fraction": _fraction(
            f"trajectories whose outcome is {outcome}; the grade/ fractions sum to 1"
        )
        for outcome in OUTCOMES
    },
    "advantage/groups_without_signal_fraction": _fraction(
        "groups of several episodes with equal graded returns, from which GRPO learns nothing",
    ),
    "advantage/trained_groups_without_signal_fraction": _fraction(
        "groups of several training samples whose advantages are all 0"
    ),
    "advantage/mean_abs": Metric(
        "reward, or its standard deviations", "mean over training samples of |advantage|"
    ),
    "loss/total": Metric("reward", "the differentiated loss: all terms with their weights"),
    "loss/policy": Metric("reward", "policy-gradient term; its sign has no meaning"),
    "loss/kl": Metric("reward", "KL(policy || reference) term, times its coefficient"),
    "loss/entropy": Metric("reward", "entropy term, times its coefficient and -1"),
    "loss/value": Metric(
        "reward^2", "squared error of the critic (sb3-*), mean over tokens, times its coefficient"
    ),
    "update/tokens": Metric("tokens", "sampled tokens that went through the loss", per_role=True),
    "update/entropy": Metric(
        "nats/token",
        "entropy of the policy on its tokens; the first sign of a collapse",
        per_role=True,
    ),
    "update/kl_old_policy": Metric(
        "nats/token",
        "mean of ratio - 1 - log_ratio, ratio = policy / old: KL(old || policy)",
        per_role=True,
    ),
    "update/kl_policy_ref": Metric("nats/token", "KL(policy || reference policy)", per_role=True),
    "update/teacher_divergence": Metric(
        "nats/token", "divergence of the policy from its teacher, as the loss has it", per_role=True
    ),
    "update/teacher_tokens": Metric(
        "tokens", "context and response tokens that a teacher scored in the updates"
    ),
    "update/clip_low_fraction": _fraction("tokens clipped at the lower bound", per_role=True),
    "update/clip_high_fraction": _fraction("tokens clipped at the upper bound", per_role=True),
    "update/clip_fraction": _fraction(
        "tokens whose ratio is outside the clip range, at either bound (sb3-*)"
    ),
    "update/dual_clip_fraction": _fraction("tokens past the dual clip", per_role=True),
    "update/ratio_mean": Metric("ratio", "policy / old, mean over tokens", per_role=True),
    "update/ratio_max": Metric("ratio", "policy / old, largest", per_role=True),
    "update/effective_sample_fraction": _fraction(
        "(sum of ratios)^2 / (tokens * sum of squared ratios)", per_role=True
    ),
    "update/chi_square": Metric("1", "mean of (ratio - 1)^2", per_role=True),
    "update/importance_weight_mean": Metric(
        "ratio",
        "old / behavior: corrects for a sampler that differs from the trainer",
        per_role=True,
    ),
    "update/importance_capped_fraction": _fraction(
        "tokens whose importance weight reached its cap", per_role=True
    ),
    "update/behavior_gap_mean": Metric(
        "nats/token",
        "|old - behavior| log-probability, mean over tokens: trainer and sampler differ, or the "
        "training context differs from the sampling context",
        per_role=True,
    ),
    "update/behavior_gap_max": Metric(
        "nats/token",
        "|old - behavior| log-probability, largest; see behavior_gap_mean",
        per_role=True,
    ),
    "update/explained_variance": Metric(
        "1",
        "1 - variance(return - value) / variance(return): 1 for a perfect critic (sb3-*), 0 for a "
        "constant one; None while all returns are equal",
    ),
    "update/pair_margin_mean": Metric(
        "reward", "implied reward of the chosen response over the rejected one's, mean over pairs"
    ),
    "update/pair_accuracy": _fraction("pairs whose chosen response has the larger implied reward"),
    "update/grad_norm": Metric("reward/parameter", "gradient norm before clipping"),
    "update/learning_rate": Metric(
        "1", "learning rate of the last optimizer step: warm-up and schedule included"
    ),
    "update/num_updates": Metric("updates", "optimizer steps of this iteration"),
    "update/num_skipped": Metric("updates", "planned optimizer steps without any gradient"),
    "update/num_nonfinite": Metric(
        "updates", "updates skipped because loss or gradient was not finite; healthy: 0"
    ),
    "update/active_rows_fraction": _fraction(
        "training samples with a gradient; the others are skipped"
    ),
    "update/is_prefix_shared": Metric(
        "1", "1 if prefixes that rows share run through the model once; 0 if it is not known to"
    ),
    "update/row_tokens": Metric("tokens", "tokens of the rows with a gradient, over all updates"),
    "update/distinct_tokens": Metric(
        "tokens", "the same with shared prefixes counted once: the least that passes need"
    ),
    "update/forward_tokens": Metric(
        "tokens", "run forward and backward through the model, padding included, over all updates"
    ),
    "update/num_updates_total": Metric(
        "updates", "optimizer steps since the start: the policy version"
    ),
    "eval/pass_at_1": _fraction("unbiased pass@1 on the evaluation problems"),
    "eval/pass_at_1_low": _fraction("lower 95 % limit of pass@1, bootstrap over problems"),
    "eval/pass_at_1_high": _fraction("upper 95 % limit of pass@1, bootstrap over problems"),
    "eval/pass_at_k": _fraction("unbiased pass@k on the evaluation problems; k is eval/k"),
    "eval/pass_at_k_low": _fraction("lower 95 % limit of pass@k, bootstrap over problems"),
    "eval/pass_at_k_high": _fraction("upper 95 % limit of pass@k, bootstrap over problems"),
    "eval/k": Metric("samples", "the k of eval/pass_at_k"),
    "eval/num_problems": Metric("problems", "evaluation problems"),
    "eval/num_samples": Metric("samples", "completions sampled a problem"),
    "eval/greedy_pass_rate": _fraction("problems solved by greedy decoding"),
    "eval/greedy_pass_rate_low": _fraction("lower 95 % Wilson limit of the greedy pass rate"),
    "eval/greedy_pass_rate_high": _fraction("upper 95 % Wilson limit of the greedy pass rate"),
    "eval/sampled_tokens": Metric(
        "tokens", "generated for this evaluation; not counted as training tokens"
    ),
    "cpi/advantage": Metric(
        "reward",
        "policy advantage of the candidate on fresh restarts; per response, or the mean over the "
        "horizon's steps (estimator step)",
    ),
    "cpi/advantage_low": Metric("reward", "lower limit of cpi/advantage, at CPIConfig.confidence"),
    "cpi/advantage_high": Metric("reward", "upper limit of cpi/advantage"),
    "cpi/num_restarts": Metric("states", "restart states at which cpi/advantage was measured"),
    "cpi/restart_share": _fraction(
        "weight of mu in the restarts, 1 - beta; 0: only the problems themselves"
    ),
    "cpi/accepted": _fraction("1 if the candidate passed the test"),
    "cpi/alpha": _fraction("step size taken; 0 for a rejected candidate"),
    "cpi/bound": Metric(
        "reward",
        "guaranteed gain in return from the restarts for the mixture of whole policies, from the "
        "lower limit; below 0: no guarantee; None: rejected, or no theorem applies",
    ),
    "cpi/kl_mixture": Metric("nats/token", "KL(mixture || new policy), on held-out responses"),
    "cpi/kl_interpolated": Metric(
        "nats/token", "KL(mixture || interpolated weights), the start of the distillation"
    ),
    "cpi/realised": Metric(
        "reward", "gain in return from D of the new policy over the last one, on fresh samples"
    ),
    "cpi/realised_low": Metric("reward", "lower limit of cpi/realised, at CPIConfig.confidence"),
    "cpi/realised_high": Metric("reward", "upper limit of cpi/realised"),
    "cpi/realised_restarts": Metric("reward", "gain in return from (1 - beta) mu + beta D"),
    "cpi/realised_restarts_low": Metric("reward", "lower limit of cpi/realised_restarts"),
    "cpi/realised_restarts_high": Metric("reward", "upper limit of cpi/realised_restarts"),
    "cpi/rejected": Metric(
        "reward", "gain in return from D that a rejected candidate would have had, fresh samples"
    ),
    "cpi/rejected_low": Metric("reward", "lower limit of cpi/rejected, at CPIConfig.confidence"),
    "cpi/rejected_high": Metric("reward", "upper limit of cpi/rejected"),
    "cpi/further_problems": Metric(
        "problems", "drawn to find restarts because the method asked for more"
    ),
    "cpi/scored_tokens": Metric("tokens", "scored for the method to find restarts"),
    "cpi/judge_tokens": Metric("tokens", "generated by judges to find restarts"),
    "cpi/judge_read_tokens": Metric("tokens", "of questions to judges to find restarts"),
    "cpi/unjudged": Metric("questions", "to find restarts that do not fit the judge's context"),
    "cpi/tokens_candidate": Metric("tokens", "generated for the candidate: rollout/sampled_tokens"),
    "cpi/tokens_advantage": Metric(
        "tokens",
        "generated to find and measure the restarts; part of rollout/sampled_tokens_total",
    ),
    "cpi/tokens_realised": Metric(
        "tokens", "generated for cpi/realised; not counted as training tokens"
    ),
    "cpi/tokens_rejected": Metric(
        "tokens", "generated for cpi/rejected; not counted as training tokens"
    ),
    "time/rollout_s": Metric("s", "sampling and environment, without grading"),
    "time/grade_s": Metric("s", "waiting for verdicts"),
    "time/update_s": Metric("s", "scoring, loss, gradients and optimizer"),
    "time/sampling_s": Metric("s", "of rollout_s: the engine's sampling"),
    "time/mismatch_s": Metric(
        "s", "of update_s: scoring episodes only to compare trainer and sampler"
    ),
    "time/learning_s": Metric("s", "of update_s: the learner's passes and optimizer"),
    "time/eval_s": Metric("s", "evaluation"),
    "time/iteration_s": Metric("s", "whole iteration"),
}
"""name -> unit and meaning. Names are `<stage>/<what>[_<unit>]`."""


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
    """Look up a name, which may end in a role if the metric is per role.

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


def mean(values: Iterable[float]) -> float | None:
    """Average the values; None if there are none."""
    listed = list(values)
    return sum(listed) / len(listed) if listed else None
