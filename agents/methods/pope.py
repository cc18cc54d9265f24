"""POPE: hard problems are also sampled with a short part of a reference solution in the prompt.

    hard set: no success in K samples of the base policy
    i*(x):    the shortest prefix of the reference solution (up to a quarter) with a success in K
              guided samples; the first quarter if no prefix has a success
    train on  x and x + prefix, 1:1, each with its own group;  A = r - mean
    L         = - sum over tokens of min(ratio A, clip(ratio, 0, 5) A) / response budget;  no KL

The prefix is part of the user's prompt (a soft reset: the policy may restate it, skip it, or go
back) and is never trained; the guided copy is trained under its guided prompt.

A problem is measured once. The paper measures all problems with the base policy, before training
(`search="before"`). For thousands of problems that is hours before the first update, and problems
that are never drawn are measured too. With `search="first_draw"`, an iteration first measures those
of its problems that no iteration has drawn before, with the policy of that time: hard is then what
the policy cannot do now. Problems that are not hard are left out, as before training, and further
ones are drawn in their place (`agents/train/collecting.py` says up to which limit). The search's
tokens count in both cases.

Source: arXiv 2601.18779, "Privileged On-Policy Exploration". The paper's K for the hard set is 128;
the grid of a sixteenth of the solution and the K of the search are our choice.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import tyro

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods.protocol import (
    Collect,
    MethodBase,
    MethodConfig,
    check_names,
    problem_starts,
)
from reason_env.agents.methods.reference import kept_states
from reason_env.agents.methods.row import UNSAID, Row
from reason_env.agents.methods.search_cache import (
    Measured,
    cache_path,
    read_measured,
    write_measured,
)
from reason_env.agents.rollout import Group, Start
from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem, StepChecker
from reason_env.state import (
    Guidance,
    ReasonState,
    checked_fraction,
    solution_guidance,
    with_reference_prefix,
)

GUIDED = "/guided"
Conditioning = Literal["prompt", "response"]
Copies = Literal["both", "guided_only"]
Easy = Literal["drop", "mix"]
Search = Literal["auto", "before", "first_draw"]
SEARCH_BEFORE = 512
"""Most problems that `search="auto"` measures before training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class POPEConfig(MethodConfig):
    """POPE's numbers; the defaults are the paper's where it gives one."""

    kind: Annotated[Literal["pope"], tyro.conf.Suppress] = "pope"
    group_size: int = 8
    """Episodes of each copy of a problem."""
    hard_samples: int = 16
    """K: a problem without success in this many samples is hard (the paper: 128)."""
    probe_samples: int = 16
    """Guided samples of each prefix length in the search [the paper does not say]."""
    search: Search = "auto"
    """When problems are measured. before: all of them before training, by the starting policy (the
    paper). first_draw: when an iteration first draws them, by the policy of that time. auto: before
    if there are at most 512, else first_draw."""
    max_fraction: float = 0.25
    """Largest fraction of the reference solution that is shown."""
    grid: float = 0.0625
    """Spacing of the searched lengths, as a fraction of the solution [the paper does not say]. If
    it leaves one length, as for solutions of few steps, there is nothing to search: it is shown."""
    conditioning: Conditioning = "prompt"
    """prompt: the prefix is guidance (the paper). response: the policy's response begins with it, a
    hard prefix (an ablation)."""
    copies: Copies = "both"
    """Guided and unguided copies 1:1, or the guided one alone (an ablation)."""
    easy: Easy = "drop"
    """Problems that are not hard: dropped, or mixed in unguided (an ablation, ray interference)."""
    instruction: str = ""
    """Shown with the prefix; the built-in base model needs none. "Do not restate ..." is the
    paper's ablation."""
    cache_dir: str | None = None
    """Directory that keeps searches between runs; None: keep none. An entry is for one policy,
    seed, environment and set of problems; its tokens count as if the run had searched."""
    advantage: AdvantageConfig = field(default_factory=lambda: AdvantageConfig(kind="mean"))
    loss: LossConfig = field(
        default_factory=lambda: LossConfig(
            clip_low=1.0, clip_high=4.0, aggregation="seq_mean_token_sum"
        )
    )

    def __post_init__(self) -> None:
        check_names(
            self,
            {
                "conditioning": get_args(Conditioning),
                "copies": get_args(Copies),
                "easy": get_args(Easy),
                "search": get_args(Search),
            },
        )
        self.advantage.check_size(self.group_size, "group_size")
        for name in ("hard_samples", "probe_samples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        for name in ("max_fraction", "grid"):
            if not checked_fraction(getattr(self, name), name) > 0:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)!r}")

    def longest_guidance(self, problem: Problem) -> tuple[Guidance, ...]:
        """The largest share of the solution, and the instruction; none in the response itself."""
        if self.conditioning == "response" or not problem.solution:
            return ()
        steps = len(problem.solution)
        most = prefix_lengths(steps, max_fraction=self.max_fraction, grid=self.grid)[-1]
        piece = solution_guidance(problem, most)
        assert piece is not None, "a prefix has at least one step"
        asked = (Guidance("instruction", (self.instruction,)),) if self.instruction else ()
        return (piece, *asked)


def prefix_lengths(num_steps: int, *, max_fraction: float, grid: float) -> tuple[int, ...]:
    """Return the prefix lengths to search, in steps, shortest first.

    The longest is `max_fraction` of the solution, at least one step, on the grid or not.

    >>> prefix_lengths(16, max_fraction=0.25, grid=0.0625), prefix_lengths(5, max_fraction=0.25,
    ...                                                                    grid=0.0625)
    ((1, 2, 3, 4), (1,))
    """
    most = max(1, math.floor(max_fraction * num_steps + 1e-9))
    spaced = {math.ceil(n * grid * num_steps - 1e-9) for n in range(1, math.ceil(1 / grid) + 1)}
    return tuple(sorted({most, *(length for length in spaced if length < most)}))


class POPE(MethodBase):
    """Train on guided and unguided copies of hard problems."""

    config: POPEConfig
    row = Row(
        starts="the problem, twice",
        context="the prompt of its own copy",
        paper='arXiv 2601.18779, "Privileged On-Policy Exploration"',
        numbers={
            "hard_samples": 128,
            "probe_samples": UNSAID,
            "grid": UNSAID,
            "max_fraction": 0.25,
            "search": "before",
            "loss.clip_low": 1.0,
            "loss.clip_high": 4.0,
        },
        result="pass@1 and pass@16 on AIME25: 49.6 and 81.4 before, 53.1 and 82.6 after; on "
        "HMMT25: 31.0 and 63.8, then 37.8 and 67.5.",
        differences=(
            "The prefix is shown without an instruction (`--instruction` gives one).",
            "Prefixes are whole steps, measured once and kept in checkpoints. Up to 512 problems "
            "are measured before training with the starting policy (`--search before`, the "
            "paper's way). Of more, a problem is measured when an iteration first draws it, with "
            "the policy of that time (`--search first_draw`). What is not hard is left out, and "
            "further problems are drawn in its place: `rollout/left_out_problems` counts them, "
            "`rollout/preparation_tokens` the tokens. An iteration measures in four rounds at "
            "most, and then trains on the hard problems that it has, with a warning if they are "
            "too few.",
            "Solutions of so few steps that one length is on the grid have nothing to search: "
            "that length is shown. A prefix that does not fit the prompt is no length to search.",
        ),
    )
    roles = frozenset({"guided"})
    has_follow_up = False
    to_sample_problems = "copies 'both'"

    def __init__(self, config: POPEConfig, checker: StepChecker | None = None) -> None:
        super().__init__(config, checker)
        self.prefixes: dict[str, int] = {}
        """Problem id -> steps shown; 0 for a problem that is not hard. Only measured problems."""
        self.search: Literal["before", "first_draw"] | None = None
        """When this run measures problems; None until `prepare` or a checkpoint decides."""
        self.num_problems = 0
        """Problems that can be measured; set by `prepare`."""

    @property
    def samples_problems(self) -> bool:
        """False if hard problems have only their guided copy."""
        return self.config.copies == "both"

    def prepare(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Find the hard problems and their prefixes; return the problems to train on.

        Raises:
            ProblemError: No problem has a reference solution, or no problem is hard.
        """
        # Also if the prefixes are known, so that a resumed run logs which problems are left out.
        solvable = kept_states(
            states,
            "POPE",
            lambda state: bool(state.problem.solution and self._lengths(state)),
            rule="a reference solution that fits",
            advice="give a `solution` column, or use another method",
        )
        self.search = self.search or self._search_for(len(states))
        self.num_problems = len(solvable)
        if self.search == "first_draw":
            return solvable
        if not self.prefixes:
            self.prepared_tokens = self._measure(states, solvable, collect)
        kept = [state for state in states if self._is_trained(state)]
        if not kept:
            raise self._no_hard_problem()
        return kept

    def measure(self, states: Sequence[ReasonState], collect: Collect) -> Sequence[ReasonState]:
        """Measure the drawn problems that are not known; return those to train on.

        Raises:
            ProblemError: Every problem is measured, and none is hard.
        """
        self.measured_tokens = 0
        if self.search != "first_draw":
            return states
        unknown: dict[str, ReasonState] = {}
        for state in states:
            name = state.problem.problem_id
            if name not in self.prefixes and self._lengths(state):
                unknown.setdefault(name, state)
        if unknown:
            found = list(unknown.values())
            self.measured_tokens = self._measure(found, found, collect)
        kept = [state for state in states if self._is_trained(state)]
        is_complete = len(self.prefixes) >= self.num_problems
        if is_complete and not kept and not any(self.prefixes.values()):
            raise self._no_hard_problem()
        return kept

    def trained_problems(self, problem_ids: Sequence[str]) -> Sequence[str]:
        """Return the problems that are measured and to be trained on."""
        is_mixed = self.config.easy == "mix"
        kept = {key for key, length in self.prefixes.items() if length > 0 or is_mixed}
        return [name for name in problem_ids if name in kept]

    def prepared_responses(self, num_problems: int) -> int:
        """Count the plain samples of each problem; nothing if they are measured when drawn."""
        is_before = self._search_for(num_problems) == "before"
        return num_problems * self.config.hard_samples if is_before else 0

    @property
    def planned_responses(self) -> int:
        """One copy of the problem, or both of a hard one."""
        config = self.config
        has_both = config.copies == "both" and config.easy == "drop"
        return config.group_size * (2 if has_both else 1)

    def plan(self, states: Sequence[ReasonState], rng: np.random.Generator) -> list[Start]:
        """Start an unguided and, if it is hard, a guided copy of each problem."""
        starts: list[Start] = []
        for start in problem_starts(states, self.config.group_size):
            length = self.prefixes[start.state.problem.problem_id]
            if length == 0 or self.config.copies == "both":
                starts.append(start)
            if length > 0:
                guided = self._guided(start.state, length)
                group = start.group + GUIDED
                starts.append(
                    replace(start, state=guided, learn_from=guided, group=group, role="guided")
                )
        return starts

    def state_dict(self) -> dict[str, Any]:
        """Return the searched prefixes, and when they are searched."""
        return {"prefixes": dict(self.prefixes), "search": self.search}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the prefixes, so that a resumed run does not search again."""
        self.prefixes = {str(key): int(value) for key, value in state["prefixes"].items()}
        # Runs of version 0.1 searched before training.
        self.search = state.get("search", "before")

    def _search_for(self, num_problems: int) -> Literal["before", "first_draw"]:
        if self.config.search != "auto":
            return self.config.search
        return "before" if num_problems <= SEARCH_BEFORE else "first_draw"

    def _no_hard_problem(self) -> ProblemError:
        return ProblemError(
            f"POPE must have hard problems, got none among {len(self.prefixes)} (every one was "
            f"solved within {self.config.hard_samples} samples); take harder ones, or GRPO"
        )

    def _measure(
        self, states: Sequence[ReasonState], solvable: Sequence[ReasonState], collect: Collect
    ) -> int:
        """Search prefixes, or read them from the cache; return the tokens of a search read there.

        Args:
            states: What the cache entry is about.
            solvable: The states among them that can be measured.
            collect: Samples, and counts the tokens.
        """
        path = self._cache_path(states)
        known = None if path is None else read_measured(path)
        if known is not None:
            self.prefixes |= known.values
            return known.sampled_tokens
        num_tokens = 0

        def counted(starts: Sequence[Start]) -> Sequence[Group]:
            nonlocal num_tokens
            groups = collect(starts)
            num_tokens += sum(t.num_sampled_tokens for g in groups for t in g.trajectories)
            return groups

        found = self._search(solvable, counted)
        self.prefixes |= found
        if path is not None:
            write_measured(path, Measured(values=found, sampled_tokens=num_tokens))
        return 0

    def _cache_path(self, states: Sequence[ReasonState]) -> Path | None:
        """Return the cache file of this search; None without a cache.

        Raises:
            ConfigError: There is a cache directory, but no fingerprint of the policy.
        """
        config = self.config
        if config.cache_dir is None:
            return None
        if self.fingerprint is None:
            raise ConfigError(
                f"cache_dir must be None without a policy's fingerprint, got {config.cache_dir!r}; "
                "give build_method a fingerprint"
            )
        lengths = [self._lengths(state) if state.problem.solution else () for state in states]
        searched = (
            config.hard_samples, config.probe_samples, config.max_fraction, config.grid,
            config.conditioning, config.instruction, lengths,
        )  # fmt: skip
        return cache_path(config.cache_dir, states, "pope", self.fingerprint(), repr(searched))

    def _search(self, solvable: Sequence[ReasonState], collect: Collect) -> dict[str, int]:
        """Find the steps to show of each problem; 0 if it is not hard."""
        plain = [
            _probe(state, state.problem.problem_id, self.config.hard_samples) for state in solvable
        ]
        solved = {group.key for group in collect(plain) if _has_success(group)}
        found = {state.problem.problem_id: 0 for state in solvable}
        open_states = {
            state.problem.problem_id: state
            for state in solvable
            if state.problem.problem_id not in solved
        }
        lengths = {key: self._lengths(state) for key, state in open_states.items()}
        # The longest prefix is shown whether it helps or not. It is sampled too if all problems are
        # measured before training, because the tokens of published comparisons include that.
        unsampled = 1 if self.search == "first_draw" else 0
        num_rounds = max((len(own) - unsampled for own in lengths.values()), default=0)
        for round_number in range(num_rounds):
            probes = [
                _probe(
                    self._guided(open_states[key], own[round_number]),
                    key,
                    self.config.probe_samples,
                )
                for key, own in lengths.items()
                if found[key] == 0 and round_number < len(own) - unsampled
            ]
            for group in collect(probes) if probes else ():
                if _has_success(group):
                    found[group.key] = lengths[group.key][round_number]
        for key, own in lengths.items():
            found[key] = found[key] or own[-1]
        return found

    def _lengths(self, state: ReasonState) -> tuple[int, ...]:
        lengths = prefix_lengths(
            len(state.problem.solution),
            max_fraction=self.config.max_fraction,
            grid=self.config.grid,
        )
        return tuple(length for length in lengths if self.fits(self._guided(state, length)))

    def _is_trained(self, state: ReasonState) -> bool:
        length = self.prefixes.get(state.problem.problem_id)
        return length is not None and (length > 0 or self.config.easy == "mix")

    def _guided(self, state: ReasonState, length: int) -> ReasonState:
        if self.config.conditioning == "response":
            return with_reference_prefix(state, length)
        piece = solution_guidance(state.problem, length, delimiter=state.codec.step_delimiter)
        assert piece is not None, "a searched prefix has at least one step"
        guided = state.with_guidance(piece)
        if not self.config.instruction:
            return guided
        return guided.with_guidance(Guidance("instruction", (self.config.instruction,)))


def _probe(state: ReasonState, key: str, count: int) -> Start:
    return Start(state=state, num_samples=count, learn_from=state, group=key, role="probe")


def _has_success(group: Group) -> bool:
    return any(item.is_success for item in group.trajectories)
