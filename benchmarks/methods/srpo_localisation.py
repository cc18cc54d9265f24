"""Claim (arXiv 2605.25507): a policy can locate the error in its own chain, which improves resets.

The base model fails on a family's problems, names the first wrong step of its chain, and is reset
to the step before it; the family's step checker finds the true step. For comparison, the same
problems are reset at a random step (RRPO) and at the checker's step. Nothing is trained.

    python -m benchmarks.methods.srpo_localisation

It prints how often the named step is the first wrong one, and what chance would score; the fraction
of clean prefixes; and the pass rates from clean and from unclean prefixes. Intervals are 95 %
Wilson; those of the pass rates are too narrow, because suffixes of one chain are not independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from reason_env.agents.methods import named_step
from reason_env.agents.methods.srpo import LOCALISE, SRPO, Localiser, SRPOConfig
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout import Group
from reason_env.agents.scripted import dry_run
from reason_env.agents.statistics import Interval, wilson
from reason_env.env import EnvConfig, reason_env_of
from reason_env.errors import ConfigError
from reason_env.problem import StepChecker
from reason_env.state import ReasonState

Row = dict[str, Any]
ARMS: tuple[Localiser, ...] = ("self", "random", "checker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The problems and the localisers of one measurement."""

    problems: str = "chain"
    levels: tuple[int, int] | None = (6, 12)
    split: str = "test"
    num_problems: int = 200
    model: str = "base"
    max_tokens: int = 256
    seed: int = 0
    show_answer: bool = False
    arms: tuple[Localiser, ...] = ARMS


SETTINGS = (
    Setting(problems="chain"),
    Setting(problems="inverse"),
    Setting(problems="chain", show_answer=True, arms=("self",)),
)


def run(setting: Setting) -> list[Row]:
    """Measure each reset: one row with the named step, the wrong step, kept steps and successes."""
    torch.set_num_threads(1)
    policy = LanguageModelPolicy.load(setting.model)
    env = EnvConfig(
        problems=setting.problems,
        split=setting.split,
        levels=setting.levels,
        size=setting.num_problems,
        max_tokens=setting.max_tokens,
    ).make(policy.codec)
    problems = reason_env_of(env).problems
    if problems.checker is None:
        raise ConfigError(
            f"problems must have a step checker, got none in {setting.problems!r}; use a built-in "
            "family"
        )
    ids = [problem.problem_id for problem in problems]
    rows: list[Row] = []
    for arm in setting.arms:
        config = SRPOConfig(localiser=arm, show_answer=setting.show_answer and arm == "self")
        method = SRPO(config, problems.checker)
        found = dry_run(method, ids, env=env, policy=policy, seed=setting.seed)
        replies = {group.key: group for group in found.groups}
        for source, group in method.resets(found.groups):
            reply = replies.get(source.start.group + LOCALISE)
            rows.append(_row(arm, source.final_state, group, reply, problems.checker))
    return rows


def _row(
    arm: str, chain: ReasonState, group: Group, reply: Group | None, checker: StepChecker
) -> Row:
    text = None if reply is None else reply.trajectories[0].reply
    return {
        "arm": arm,
        "num_steps": chain.num_steps,
        "wrong": checker(chain.problem, chain.steps),
        "named": None if text is None else named_step(text, chain.num_steps),
        "kept": group.trajectories[0].start.state.num_steps,
        "num_graded": len(group.graded),
        "num_correct": sum(item.is_success for item in group.graded),
    }


def score(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return arm -> fractions as `Interval`s (None if nothing is counted), and chance."""
    scores: dict[str, dict[str, Any]] = {}
    for arm in dict.fromkeys(row["arm"] for row in rows):
        own = [row for row in rows if row["arm"] == arm]
        named = [row for row in own if row["named"] is not None and row["wrong"] is not None]
        clean = [row for row in own if _is_clean(row)]
        unclean = [row for row in own if not _is_clean(row)]
        chance = [1 / row["num_steps"] for row in named]
        scores[arm] = {
            "resets": len(own),
            "accuracy": _share(sum(row["named"] == row["wrong"] for row in named), len(named)),
            "chance": sum(chance) / len(chance) if chance else None,
            "clean prefixes": _share(len(clean), len(own)),
            "success from clean": _success(clean),
            "success from unclean": _success(unclean),
        }
    return scores


def _is_clean(row: Row) -> bool:
    return row["wrong"] is None or row["kept"] < row["wrong"]


def _success(rows: Sequence[Row]) -> Interval | None:
    return _share(sum(row["num_correct"] for row in rows), sum(row["num_graded"] for row in rows))


def _share(count: int, total: int) -> Interval | None:
    return wilson(count, total) if total else None


def _shown(value: Any) -> str:
    if isinstance(value, Interval):
        return f"{value.estimate:.3f} [{value.low:.3f}, {value.high:.3f}]"
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    for setting in SETTINGS:
        answer = ", answer shown" if setting.show_answer else ""
        print(f"{setting.problems} {setting.levels}, {setting.model} model{answer}")
        for arm, numbers in score(run(setting)).items():
            cells = (f"{name} {_shown(value)}" for name, value in numbers.items())
            print(f"  {arm:<8} " + "; ".join(cells))
