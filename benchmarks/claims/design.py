"""Plan and Design: what a claim's experiment is to be, and what it is once its pilot has run.

A `Plan` is what a person decides: problems, arms, contrasts with the smallest effect of interest,
gates. A `Design` is the plan with every number that the pilot decides: each arm's learning rate,
the size of its iterations (so that all arms spend the same tokens in as many iterations), and the
number of seeds. Designs are files, `designs/CLAIM_NUMBER.json`, committed before their runs; rows
hold the hash of the design that they ran with. Another design has another number, so that the rows
of the first stay what they were.

The pilot is a design, too: each arm at each learning rate, on seeds that no later run has.

A claim about the base model itself has no arms: its file measures a row for each seed.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from benchmarks.claims.experts import write_experts
from benchmarks.claims.power import LEAST_SEEDS
from reason_env.agents.compare import CompareConfig, arm, shared_settings
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.probe import Gate
from reason_env.agents.runs import CheckpointConfig, config_json
from reason_env.agents.train import TrainConfig
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError

LEAST_UPDATES = 100
"""Fewer updates of an arm measure the optimizer's first steps: about the learning rate a weight,
whatever the signal."""
FIRST_SEED = 1000
"""Seeds of designs begin here, those of pilots are below."""
AT = " @ "
"""Between label and learning rate of an arm of a pilot."""
UNTRAINED = "untrained"
"""The arm of the rows that are measured without training."""
OPTIONAL = ("arms", "sources", "experts")
"""Mappings that no hash holds while they are empty."""
MOST_BUDGET_GAP = 0.05
"""Largest relative difference of the generated tokens of two arms of a seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is decided before a claim's pilot."""

    source: str
    """Source of the training problems, as `reason-env compare` takes it."""
    effects: dict[str, float]
    """Contrast -> the smallest effect of interest."""
    gates: tuple[Gate, ...]
    """What the claim presumes of the base model and the problems."""
    gate_problems: int
    """Problems that the gates are measured on: enough for intervals that decide."""
    arms: dict[str, str] = field(default_factory=dict[str, str])
    """Label -> arm, as `reason-env compare` takes it; none: measured without training."""
    budget: int = 0
    """Generated tokens of each run."""
    rates: tuple[float, ...] = ()
    """Learning rates that the pilot tries for each arm; several unless the claim is about one."""
    eval_problems: str | None = None
    """Source of the evaluation problems; None: the training source. Their split is `hard`."""
    sources: dict[str, str] = field(default_factory=dict[str, str])
    """Label -> source of an arm that trains on other problems."""
    experts: dict[str, float] = field(default_factory=dict[str, float])
    """Label -> share of the steps that an arm's reference solutions say in other words
    (`experts.py`)."""
    model: str = "base"
    """As `--model` takes it."""
    max_tokens: int = 256
    """Tokens of a response."""
    train_size: int = 32
    """Training problems, others for each seed."""
    eval_size: int = 48
    eval_samples: int = 8
    iterations: int = 30
    """Iterations that the budget is divided into, the same for each arm."""
    updates_per_iteration: int = 4
    evaluations: int = 1
    """Evaluations after the one before training, evenly spaced, the last one at the end."""
    first_problems: int = 8
    """Problems an iteration in the pilot, for arms whose text does not give them."""
    pilot_seeds: tuple[int, ...] = (100, 101, 102, 103)
    fewest_seeds: int = LEAST_SEEDS
    """Seeds at least, where the pilot's few may not show how far seeds differ, and because its
    power is that of one test, while verdicts are corrected for all claims."""
    most_seeds: int = 20
    """Seeds that the machine's hours allow."""
    first_seed: int = FIRST_SEED
    """First of the design's seeds: a plan that follows another's verdict has seeds of its own."""

    @property
    def content_hash(self) -> str:
        """Hash of every setting, 8 hex digits; equal in every process."""
        return _hash(_settings(self))

    @property
    def gates_hash(self) -> str:
        """Hash of what the gates are and what they are measured on."""
        gates = [asdict(gate) for gate in self.gates]
        what = [self.source, self.model, self.max_tokens, self.gate_problems]
        return _hash([*what, gates])


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """An arm with the numbers that its pilot decided."""

    text: str
    """As `reason-env compare` takes it."""
    learning_rate: float
    problems_per_iteration: int
    run_s: float
    """Seconds of a run in the pilot; 0 in the pilot's own design."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A complete experiment.

    Raises:
        ConfigError: A number is out of range.
    """

    claim: str
    """Name of the claim's file."""
    plan: str
    """Hash of the plan that it completes."""
    source: str
    eval_problems: str | None
    train_size: int
    eval_size: int
    eval_samples: int
    budget: int
    iterations: int
    updates_per_iteration: int
    evaluations: int
    arms: dict[str, Arm]
    effects: dict[str, float]
    """Contrast -> the smallest effect of interest."""
    seeds: tuple[int, ...]
    pilot_sd: dict[str, float]
    """Contrast -> standard deviation over the pilot's seeds; empty in the pilot's own design."""
    model: str = "base"
    max_tokens: int = 256
    sources: dict[str, str] = field(default_factory=dict[str, str])
    experts: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        updates = self.iterations * self.updates_per_iteration
        if self.arms and updates < LEAST_UPDATES:
            raise ConfigError(
                f"an arm of {self.claim!r} must plan at least {LEAST_UPDATES} updates, got "
                f"{self.iterations} iterations of {self.updates_per_iteration}; plan more"
            )
        if self.iterations * MOST_BUDGET_GAP < 1:
            raise ConfigError(
                f"an iteration of {self.claim!r} must cost at most {MOST_BUDGET_GAP:.0%} of the "
                f"budget, got {self.iterations} iterations; plan smaller ones"
            )
        if not 1 <= self.evaluations <= self.iterations:
            raise ConfigError(
                f"evaluations must lie in 1..{self.iterations}, got {self.evaluations!r}"
            )
        if not self.effects or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(
                f"a design must have effects and different seeds, got {list(self.effects)} and "
                f"{self.seeds}"
            )
        for name, effect in self.effects.items():
            if not effect > 0:
                raise ConfigError(f"the effect of {name!r} must be above 0, got {effect!r}")

    @property
    def content_hash(self) -> str:
        """Hash of every setting, 8 hex digits; equal in every process."""
        return _hash(_settings(self))

    def run_hash(self, label: str, seed: int) -> str:
        """Hash what decides one run, 12 hex digits; a setting that is added later changes none."""
        own = self.arms[label]
        shared = {
            name: value
            for name, value in _settings(self).items()
            if name not in ("claim", "plan", "effects", "seeds", "pilot_sd", *OPTIONAL)
        }
        source = self.sources.get(label, self.source)
        arm = [own.text, own.learning_rate, own.problems_per_iteration]
        return _hash([shared, arm, source, self.experts.get(label), seed], digits=12)

    @property
    def core_hours(self) -> float:
        """Hours of one core that all runs take, at the speed of the pilot."""
        return len(self.seeds) * sum(own.run_s for own in self.arms.values()) / 3600

    def comparison(self, seed: int) -> CompareConfig:
        """Build the comparison of one of the seeds, which is also the seed of its problems."""
        shared = replace(
            shared_settings(),
            model=self.model,
            env=EnvConfig(size=self.train_size, problem_seed=seed, max_tokens=self.max_tokens),
            eval=EvalConfig(
                split="hard",
                problems=self.eval_problems or self.source,
                num_problems=self.eval_size,
                samples=self.eval_samples,
                k=self.eval_samples,
                greedy=False,
                every=0 if self.evaluations == 1 else self.iterations // self.evaluations,
            ),
            episodes_per_iteration=0,
            checkpoint=CheckpointConfig(every=10, keep_last=1),
        )
        return CompareConfig(
            arms={label: self._arm(own, shared) for label, own in self.arms.items()},
            sources=(self.source,),
            num_seeds=1,
            first_seed=seed,
            budget=self.budget,
        )

    def single(self, label: str, seed: int, folder: Path) -> CompareConfig:
        """Build the comparison of one run alone, in which nothing names the claim or the arm.

        Args:
            label: Of the arm.
            seed: One of the seeds.
            folder: For problems with other reference solutions.
        """
        both = self.comparison(seed)
        config, source = both.arms[label], self.sources.get(label, self.source)
        if label in self.experts:
            evaluated = config.eval.problems or source
            source = write_experts(source, evaluated, config.env, self.experts[label], folder)
            env = replace(config.env, size=None, problem_seed=0)
            config = replace(config, env=env, eval=replace(config.eval, problems=source))
        return replace(both, arms={"arm": config}, sources=(source,))

    def untrained(self, seed: int) -> TrainConfig:
        """Build what a claim without arms is measured with: its model, and problems of a seed."""
        env = EnvConfig(
            problems=self.source,
            size=self.train_size,
            problem_seed=seed,
            max_tokens=self.max_tokens,
        )
        return TrainConfig(model=self.model, method=GRPOConfig(), env=env, seed=seed)

    def _arm(self, own: Arm, shared: TrainConfig) -> TrainConfig:
        learner = LearnerConfig(
            learning_rate=own.learning_rate, updates_per_iteration=self.updates_per_iteration
        )
        config = arm(own.text, replace(shared, learner=learner))
        return replace(config, problems_per_iteration=own.problems_per_iteration)

    def quick(self, share: float) -> "Design":
        """Return the first seed alone, with a share of the budget and of the problems."""
        return replace(
            self,
            seeds=self.seeds[:1],
            budget=round(share * self.budget),
            train_size=max(1, round(share * self.train_size)),
        )


def design_of(
    claim: str,
    plan: Plan,
    *,
    arms: Mapping[str, Arm],
    seeds: tuple[int, ...],
    pilot_sd: Mapping[str, float],
) -> Design:
    """Complete a plan."""
    return Design(
        claim=claim,
        plan=plan.content_hash,
        source=plan.source,
        eval_problems=plan.eval_problems,
        train_size=plan.train_size,
        eval_size=plan.eval_size,
        eval_samples=plan.eval_samples,
        budget=plan.budget,
        iterations=plan.iterations,
        updates_per_iteration=plan.updates_per_iteration,
        evaluations=plan.evaluations,
        arms=dict(arms),
        effects=dict(plan.effects),
        seeds=seeds,
        pilot_sd=dict(pilot_sd),
        model=plan.model,
        max_tokens=plan.max_tokens,
        sources=_of_arms(plan.sources, arms),
        experts=_of_arms(plan.experts, arms),
    )


def _of_arms(by_label: Mapping[str, Any], arms: Iterable[str]) -> dict[str, Any]:
    """Give what belongs to an arm to its runs at each rate, too ("label @ rate" in a pilot).

    >>> _of_arms({"a": 1}, ["a @ 0.1", "a @ 0.3", "b"])
    {'a @ 0.1': 1, 'a @ 0.3': 1}
    """
    named = {label: label.partition(AT)[0] for label in arms}
    return {label: by_label[own] for label, own in named.items() if own in by_label}


def _settings(value: Plan | Design) -> dict[str, Any]:
    """Return the settings, without those at their default: a later field changes no hash."""
    found: dict[str, Any] = json.loads(config_json.dump(value))
    return {
        own.name: found[own.name]
        for own in fields(value)
        if getattr(value, own.name) != own.default
        and not (own.name in OPTIONAL and not getattr(value, own.name))
    }


def _hash(value: object, digits: int = 8) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:digits]


def read_design(file: Path) -> Design:
    """Read a design.

    Raises:
        ConfigError: There is none, or it has another form.
    """
    if not file.is_file():
        raise ConfigError(f"a design must be a file, got '{file}'; make it from a pilot: --design")
    return config_json.load(Design, file.read_text(encoding="utf-8"))
