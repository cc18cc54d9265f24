"""Evaluate a policy: pass@1, unbiased pass@k and greedy decoding, with 95 % intervals.

Samples of one problem are correlated, so intervals resample problems. Episodes that the verifier
failed on are ignored; a problem with fewer than k graded samples is left out and counted.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from reason_env.agents.engines import SamplingConfig
from reason_env.agents.policy import Policy
from reason_env.agents.rollout import Group, Start, Trajectory, collect, initial_states
from reason_env.agents.statistics import Interval, pass_at_k, pass_at_k_interval, wilson
from reason_env.codec import Codec
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError, VerifierError
from reason_env.verify import GradesJobs

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """Which problems are evaluated on, and how they are sampled."""

    split: str = "test"
    """Split of the evaluation problems, if the source has splits."""
    problems: str | None = None
    """Source of the evaluation problems. None: the training source, if it has the split; a single
    file has none, and then nothing is evaluated."""
    num_problems: int = 200
    """Number of problems, the first of the set; fewer if it holds fewer."""
    samples: int = 8
    """Completions per problem."""
    k: int = 8
    """The k of pass@k, at most `samples`."""
    temperature: float = 1.0
    """Sampling temperature; top-k and top-p are off."""
    greedy: bool = True
    """Also decode each problem greedily."""
    every: int = 0
    """Iterations between evaluations during training; 0: only before and after."""
    cache_dir: str | None = None
    """Directory that caches evaluations before training between runs; None: no cache. An entry is
    valid for one policy, environment, seed and these settings."""

    def __post_init__(self) -> None:
        for name in ("num_problems", "samples", "k"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        if self.k > self.samples:
            raise ConfigError(
                f"k must be at most samples, got {self.k!r} of {self.samples!r}; sample more"
            )
        if self.every < 0:
            raise ConfigError(f"every must be at least 0, got {self.every!r}; 0 is off")
        if not self.temperature > 0:
            raise ConfigError(
                f"temperature must be above 0, got {self.temperature!r}; `greedy` measures greedy "
                "decoding in addition to the samples"
            )

    def make_env(self, env: EnvConfig, codec: Codec, **changes: Any) -> gym.Env[Any, Any] | None:
        """Make the environment for evaluation, without wrappers; None if there is none.

        There is none if the training source is a single file, without a test split, and neither
        `problems` nor `split` is set.

        Args:
            env: The training environment.
            codec: The policy's.
            changes: Further arguments of `gym.make`.
        """
        is_default = self.problems is None and self.split == EvalConfig().split
        if is_default and not env.has_split(self.split):
            return None
        # Another source has splits of its own.
        own = {"problems": self.problems, "hold_out": None}
        source = {"size": self.num_problems} if self.problems is None else own
        return env.make_bare(codec, **{"size": None, "split": self.split} | source | changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalReport:
    """The results of one evaluation."""

    pass_at_1: Interval
    pass_at_k: Interval
    k: int
    greedy: Interval | None
    by_level: Mapping[int, tuple[int, float, float]]
    """level -> (problems, pass@1, pass@k)."""
    outcomes: Mapping[str, int]
    """Outcome -> number of sampled episodes."""
    num_problems: int
    num_left_out: int
    """Problems left out: fewer than k graded samples."""
    samples: int
    sampled_tokens: int
    """Generated tokens, greedy decoding included."""
    trajectories: tuple[Trajectory, ...]
    """The sampled episodes."""

    @property
    def metrics(self) -> dict[str, float | int | None]:
        """The `eval/` metrics."""
        greedy = self.greedy
        return {
            "eval/pass_at_1": self.pass_at_1.estimate,
            "eval/pass_at_1_low": self.pass_at_1.low,
            "eval/pass_at_1_high": self.pass_at_1.high,
            "eval/pass_at_k": self.pass_at_k.estimate,
            "eval/pass_at_k_low": self.pass_at_k.low,
            "eval/pass_at_k_high": self.pass_at_k.high,
            "eval/k": self.k,
            "eval/num_problems": self.num_problems,
            "eval/num_samples": self.samples,
            "eval/greedy_pass_rate": None if greedy is None else greedy.estimate,
            "eval/greedy_pass_rate_low": None if greedy is None else greedy.low,
            "eval/greedy_pass_rate_high": None if greedy is None else greedy.high,
            "eval/sampled_tokens": self.sampled_tokens,
        }

    @property
    def summary(self) -> dict[str, Any]:
        """The numbers as JSON, without the episodes."""
        return {
            **{name.removeprefix("eval/"): value for name, value in self.metrics.items()},
            "num_left_out": self.num_left_out,
            "outcomes": dict(self.outcomes),
            "by_level": {
                str(level): {"num_problems": count, "pass_at_1": one, "pass_at_k": at_k}
                for level, (count, one, at_k) in self.by_level.items()
            },
        }

    @property
    def transcripts(self) -> list[dict[str, Any]]:
        """Each sampled episode as a person reads it: prompt, response and verdict."""
        return [_transcript(item) for item in self.trajectories]


def evaluate(
    policy: Policy,
    env: gym.Env[Any, Any],
    problem_ids: Sequence[str],
    *,
    config: EvalConfig,
    seed: int,
    graders: GradesJobs | None = None,
) -> EvalReport:
    """Sample these problems and report pass rates with intervals.

    Args:
        policy: Not changed.
        env: A stack with format "tokens"; its start wrappers act.
        problem_ids: At least one.
        config: Number of samples, and k.
        seed: Seed of sampling and bootstrap; an equal seed pairs two policies.
        graders: As in `collect`.

    Raises:
        VerifierError: No problem has k graded samples.
    """
    states = initial_states(env, problem_ids, seed=seed)
    starts = [
        Start(
            state=state,
            num_samples=config.samples,
            learn_from=state,
            group=f"{index}:{state.problem.problem_id}",
            role="eval",
        )
        for index, state in enumerate(states)
    ]
    sampling = SamplingConfig(temperature=config.temperature)
    batch = collect(starts, env=env, policy=policy, sampling=sampling, seed=seed, graders=graders)
    groups = [group for group in batch.groups if len(group.decided) >= config.k]
    num_left_out = len(batch.groups) - len(groups)
    if not groups:
        raise VerifierError(
            f"some problem must have {config.k} graded samples, got none of {len(batch.groups)}; "
            "see the outcomes of the episodes for the verifier's failures"
        )
    if num_left_out:
        _log.warning(
            "left out %d of %d problems: the verifier failed", num_left_out, len(batch.groups)
        )
    greedy, greedy_tokens = (
        _greedy(policy, env, starts, seed, graders) if config.greedy else (None, 0)
    )
    rng = np.random.default_rng(seed)
    correct, graded = _counts(groups)
    return EvalReport(
        pass_at_1=pass_at_k_interval(correct, graded, k=1, rng=rng),
        pass_at_k=pass_at_k_interval(correct, graded, k=config.k, rng=rng),
        k=config.k,
        greedy=greedy,
        by_level=_by_level(groups, config.k),
        outcomes=Counter(item.outcome for item in batch.trajectories),
        num_problems=len(groups),
        num_left_out=num_left_out,
        samples=config.samples,
        sampled_tokens=greedy_tokens + sum(item.num_sampled_tokens for item in batch.trajectories),
        trajectories=batch.trajectories,
    )


def _transcript(item: Trajectory) -> dict[str, Any]:
    state, verdict = item.final_state, item.final_state.verdict
    return {
        "problem_id": state.problem.problem_id,
        "level": state.problem.level,
        "sample": item.index,
        "prompt": state.codec.decode(item.prompt_ids),
        "response": state.text,
        "answer": state.problem.answer,
        "extracted": None if verdict is None else verdict.extracted,
        "outcome": item.outcome,
        "reason": "" if verdict is None else verdict.reason,
        "is_success": item.is_success,
        "return": item.episode_return,
        "sampled_tokens": item.num_sampled_tokens,
    }


def _counts(groups: Sequence[Group]) -> tuple[list[int], list[int]]:
    correct = [sum(item.is_success for item in group.decided) for group in groups]
    return correct, [len(group.decided) for group in groups]


def _by_level(groups: Sequence[Group], k: int) -> dict[int, tuple[int, float, float]]:
    levels: dict[int, list[Group]] = {}
    for group in groups:
        levels.setdefault(group.trajectories[0].start.state.problem.level, []).append(group)
    return {
        level: (
            len(own),
            pass_at_k(*_counts(own), k=1),
            pass_at_k(*_counts(own), k=k),
        )
        for level, own in sorted(levels.items())
    }


def _greedy(
    policy: Policy,
    env: gym.Env[Any, Any],
    starts: Sequence[Start],
    seed: int,
    graders: GradesJobs | None,
) -> tuple[Interval, int]:
    greedy_starts = [
        Start(
            state=start.state, num_samples=1, learn_from=start.state, group=start.group, role="eval"
        )
        for start in starts
    ]
    batch = collect(
        greedy_starts,
        env=env,
        policy=policy,
        sampling=SamplingConfig(temperature=0),
        seed=seed,
        graders=graders,
    )
    graded = [item for item in batch.trajectories if not item.is_undecided]
    tokens = sum(item.num_sampled_tokens for item in batch.trajectories)
    return wilson(sum(item.is_success for item in graded), len(graded)), tokens
