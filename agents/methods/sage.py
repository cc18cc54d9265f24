"""SAGE: a problem whose whole group failed is sampled again with a hint, stronger as it fails on.

    trigger   all G returns of a problem are failures
    hints     three levels; level k is shown if all episodes failed at the levels before it
    train     the group of the last level in place of the problem's group, under the prompt with
              the hint; without a hint, or once no level is left, the group as it is

The hints help to sample under the same reward; the policy is deployed without them. Training is
on-policy, because the context trained is the one sampled under.

`hints="self"` is the paper's: the policy writes all levels at once, shown question and solution, as
JSON with the keys level_1, level_2 and level_3. A reply that cannot be read leaves the problem
without a hint, and is counted. That takes a model which writes instructions; for others, and by
default, the levels are growing parts of the reference solution (`hints="tiers"`).

Source: arXiv 2602.03143, "Self-Hinting Language Models Enhance Reinforcement Learning", and the
released code (github.com/BaohaoLiao/SAGE, commit 8722c1a, `trainer.method=sage`). The shares of the
tiers and the words of the request are our choice; the release asks several times if it cannot read
a reply. Its variant sage-light, with levels by the pass rate of the last epoch, is not covered.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, cast, get_args

import numpy as np
import tyro

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.pipeline import BASE, Part, is_problem_group
from reason_env.agents.methods.protocol import (
    Collect,
    MethodBase,
    MethodConfig,
    check_names,
    problem_starts,
)
from reason_env.agents.methods.reference import with_solution
from reason_env.agents.methods.row import UNSAID, Row
from reason_env.agents.metrics import Number
from reason_env.agents.rollout import Group, Start, Trajectory
from reason_env.errors import ConfigError
from reason_env.problem import Problem
from reason_env.state import (
    Guidance,
    ReasonState,
    checked_fraction,
    solution_guidance,
    steps_of_fraction,
)

HINT = "/hint"
Hints = Literal["tiers", "self"]
LEVELS = ("level_1", "level_2", "level_3")
REQUEST = (
    "Write three hints for a student who cannot solve this problem yet: level_1 names the idea, "
    "level_2 the method, level_3 the intermediate steps. None may state the final answer. Reply "
    'with JSON only: {"level_1": "...", "level_2": "...", "level_3": "..."}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SAGEConfig(MethodConfig):
    """SAGE's numbers."""

    kind: Annotated[Literal["sage"], tyro.conf.Suppress] = "sage"
    group_size: int = 8
    """Episodes a problem, and as many again at each level of a hint (G)."""
    hints: Hints = "tiers"
    """self: the policy writes the hints (the paper). tiers: growing parts of the reference."""
    shares: tuple[float, ...] = (0.25, 0.5, 0.75)
    """tiers only: shares of the reference solution's steps, 0..1, that the levels show."""
    request: str = REQUEST
    """self only: asks for the hints, after question and solution [our words]."""
    max_hint_tokens: int = 512
    """self only: most tokens of the reply, which a response's budget limits too [not known]."""
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=lambda: LossConfig(clip_high=0.28))

    def __post_init__(self) -> None:
        check_names(self, {"hints": get_args(Hints)})
        self.advantage.check_size(self.group_size, "group_size")
        if self.max_hint_tokens < 1:
            raise ConfigError(f"max_hint_tokens must be at least 1, got {self.max_hint_tokens!r}")
        if not self.shares or list(self.shares) != sorted(self.shares):
            raise ConfigError(f"shares must be in ascending order, got {self.shares!r}")
        for share in self.shares:
            checked_fraction(share, "shares")

    def longest_guidance(self, problem: Problem) -> tuple[Guidance, ...]:
        """The largest part of the solution; for self-made hints the whole, and the request."""
        num_steps = len(problem.solution)
        asked = Guidance("instruction", (self.request,))
        if self.hints == "tiers":
            num_steps = steps_of_fraction(self.shares[-1], num_steps)
        piece = solution_guidance(problem, num_steps)
        if piece is None:
            return ()
        return (piece,) if self.hints == "tiers" else (piece, asked)


def read_hints(reply: str) -> tuple[str, ...]:
    """Read the levels of a reply that are texts, in order; none if it holds no JSON object.

    >>> read_hints('Sure: {"level_1": "Factor.", "level_2": " ", "level_3": "Divide by 3."}')
    ('Factor.', 'Divide by 3.')
    >>> read_hints("Factor it."), read_hints("{" * 9999)
    ((), ())
    """
    begin, end = reply.find("{"), reply.rfind("}")
    try:
        found: object = json.loads(reply[begin : end + 1])
    except (ValueError, RecursionError):
        # A policy's text; what cannot be read is counted.
        return ()
    if not isinstance(found, dict):
        return ()
    levels = cast("dict[str, object]", found)
    texts = [levels.get(level) for level in LEVELS]
    return tuple(text.strip() for text in texts if isinstance(text, str) and text.strip())


class SAGE(MethodBase):
    """Sample failed problems again with hints; train under the hinted prompt."""

    config: SAGEConfig
    roles = frozenset({"hinted", "hint"})
    row = Row(
        starts="the problem; again with a stronger hint, up to three times, if all episodes failed",
        context="the same, with the hint",
        paper='arXiv 2602.03143, "Self-Hinting Language Models Enhance Reinforcement Learning"',
        numbers={
            "group_size": 8,
            "hints": "self",
            "loss.clip_high": 0.28,
            "shares": UNSAID,
            "max_hint_tokens": UNSAID,
        },
        run_numbers={"problems_per_iteration": 128, "learner.learning_rate": 1e-6},
        result="Six benchmarks, over GRPO: +2.0 (Llama-3.2-3B-Instruct), +1.2 "
        "(Qwen2.5-7B-Instruct), +1.3 (Qwen3-4B-Instruct).",
        differences=(
            "By default the levels are growing parts of the reference solution, because a small "
            "model writes no hints; `--hints self` is the paper's.",
            "A reply without readable levels leaves the problem without a hint, and is counted "
            "(`rollout/unreadable_hints`); the release asks again. The words of the request are "
            "ours. sage-light is not covered.",
            "Problems without a reference solution are left out. A hint that does not fit the "
            "prompt is no level.",
        ),
    )

    @property
    def part(self) -> Part:
        """The last level's episodes take the place of the problem's group."""
        return replace(super().part, compared=frozenset(), swap=last_level)

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Keep the problems with a reference solution.

        Raises:
            ProblemError: No problem has one.
        """
        return with_solution(states, "SAGE")

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start `group_size` episodes at each problem, as GRPO does."""
        return problem_starts(states, self.config.group_size)

    def follow_up(self, groups: Sequence[Group], rng: np.random.Generator) -> list[Start]:
        """Ask for hints of failed groups, then sample them with the next level of theirs."""
        known = {group.key: group for group in groups}
        starts: list[Start] = []
        for group in groups:
            if not is_problem_group(group) or _is_solved(group):
                continue
            first = group.trajectories[0].start
            asked = known.get(group.key + HINT)
            if self.config.hints == "self" and asked is None:
                request = self._request(first)
                starts += [request] if self.fits(request.state) else []
                continue
            levels = self.levels(first.state, asked)
            number = len(_levels_of(group))
            if number < len(levels):
                state = first.state.with_guidance(levels[number])
                starts.append(
                    replace(
                        first,
                        state=state,
                        learn_from=state,
                        num_samples=self.config.group_size,
                        role="hinted",
                    )
                )
        return starts

    def levels(self, state: ReasonState, asked: Group | None) -> list[Guidance]:
        """Return the hints for a problem, the weakest first; those that fit the prompt."""
        problem, delimiter = state.problem, state.codec.step_delimiter
        if asked is not None:
            hints = [
                Guidance("text", (f"Hint: {text}",))
                for text in read_hints(asked.trajectories[0].reply)
            ]
        else:
            num_steps = len(problem.solution)
            counts = sorted({steps_of_fraction(share, num_steps) for share in self.config.shares})
            pieces = [solution_guidance(problem, count, delimiter=delimiter) for count in counts]
            hints = [piece for piece in pieces if piece is not None]
        return [hint for hint in hints if self.fits(state.with_guidance(hint))]

    def metrics(self, groups: Sequence[Group]) -> dict[str, Number]:
        """Count the replies that hold no level."""
        if self.config.hints == "tiers":
            return {}
        replies = [group.trajectories[0].reply for group in groups if group.key.endswith(HINT)]
        return {"rollout/unreadable_hints": sum(not read_hints(reply) for reply in replies)}

    def _request(self, first: Start) -> Start:
        state = first.state.cut(0).without_guidance()
        piece = solution_guidance(
            state.problem, len(state.problem.solution), delimiter=state.codec.step_delimiter
        )
        assert piece is not None, "`prepare` keeps problems with a solution"
        asking: Any = state.with_guidance(piece, Guidance("instruction", (self.config.request,)))
        return replace(
            first,
            state=asking,
            learn_from=asking,
            num_samples=1,
            group=first.group + HINT,
            role="hint",
            is_auxiliary=True,
            max_new_tokens=self.config.max_hint_tokens,
        )


def last_level(
    episodes: Sequence[Trajectory], own: Sequence[Trajectory], rng: np.random.Generator
) -> tuple[Trajectory, ...]:
    """Return the episodes of the last level of a hint; those of the problem if there is none."""
    if not own:
        return tuple(episodes)
    return tuple(item for item in own if item.start.state == own[-1].start.state)


def _levels_of(group: Group) -> list[ReasonState]:
    """List the hinted states that a group was sampled from, in order."""
    hinted = (item.start.state for item in group.trajectories if item.start.role == "hinted")
    return list(dict.fromkeys(hinted))


def _is_solved(group: Group) -> bool:
    """Return whether an episode of the group succeeded, hinted or not, or none is graded."""
    return not group.graded or any(
        item.is_success for item in group.graded if item.start.role in (BASE, "hinted")
    )
