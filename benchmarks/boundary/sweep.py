"""Cell and Sweep: what is run. The sweep is a file, `design.json`, committed before its runs.

A cell is a source of problems and the methods that run there beside GRPO: all five with the base
model, so that a method is also seen where its number is low; with the models of `late` and `sealed`
those that they are made for. Cells differ in the numbers that should decide: base success, how late
the first error comes, what a reset, a prefix or a list of mistakes gains. Those numbers are
measured before any training (`numbers.py`), on problems of a seed that no run has.

All arms of a cell spend the same generated tokens, have the same learning rate and loss (GRPO's),
and take the same number of updates from an iteration. Problems an iteration are chosen such that an
iteration is about 16 responses in every arm, which plans at least 100 updates each.

On `sealed` nothing is learned in the budget of the other cells, and a quarter of the solution is
not the shortest prefix that helps: that cell has `times` the budget, and POPE searches there.

    python -m benchmarks.boundary --design      # writes design.json from SWEEP
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from reason_env.agents.compare import CompareConfig, arm, shared_settings, with_loss
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.runs import CheckpointConfig, config_json
from reason_env.agents.train import TrainConfig
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError, UnknownNameError, did_you_mean

ROOM = Path(__file__).parent
DESIGN = ROOM / "design.json"
LEAST_UPDATES = 100
LEAST_CELLS = 30
BASELINE = "grpo"
ARMS = MappingProxyType(
    {
        "grpo": "grpo:problems_per_iteration=2",
        "rrpo": "rrpo:max_tries=5,tries_per_round=5,problems_per_iteration=2",
        "srpo": "srpo:localiser=checker,max_tries=5,tries_per_round=5,problems_per_iteration=2",
        "pope": "pope:hard_samples=2,probe_samples=1,grid=0.25,easy=mix,problems_per_iteration=1",
        "lte": "lte:problems_per_iteration=1",
        "expo": "expo:problems_per_iteration=2",
    }
)
"""Label -> arm, as `reason-env compare` takes it; each gets GRPO's loss of policy tokens."""
SEARCHING = "pope:hard_samples=4,grid=0.125,problems_per_iteration=1"
"""POPE where it searches for the shortest prefix that helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One point of the map.

    Raises:
        UnknownNameError: An arm is not in `ARMS`.
        ConfigError: The baseline is missing, or the budget holds no iteration.
    """

    name: str
    """Family and level, as in "chain-4"."""
    source: str
    """As `reason-env compare` takes it."""
    arms: tuple[str, ...]
    """Labels of `ARMS`, the baseline first."""
    response: int
    """Tokens of a response of the untrained model, about: the budget is in responses."""
    max_tokens: int = 128
    """Tokens of a response, at most."""
    model: str = "base"
    """As `--model` takes it."""
    times: int = 1
    """Factor of the sweep's budget, and of the iterations between evaluations."""
    searches: bool = False
    """Whether POPE searches for its prefix."""

    def __post_init__(self) -> None:
        unknown = next((label for label in self.arms if label not in ARMS), None)
        if unknown is not None:
            raise UnknownNameError(
                f"no arm {unknown!r} in cell {self.name!r}{did_you_mean(unknown, ARMS)}"
            )
        if self.arms[:1] != (BASELINE,) or len(set(self.arms)) < max(2, len(self.arms)):
            raise ConfigError(
                f"a cell must have {BASELINE!r} and other arms, each once, got {self.arms}"
            )
        if self.response < 1:
            raise ConfigError(f"response must be at least 1 token, got {self.response!r}")
        if self.times < 1:
            raise ConfigError(f"times must be at least 1, got {self.times!r}")

    def arm(self, label: str) -> str:
        """Return an arm as `reason-env compare` takes it."""
        return SEARCHING if label == "pope" and self.searches else ARMS[label]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """All cells and what they share.

    Raises:
        ConfigError: There are fewer than `LEAST_CELLS` cells, two have one name, or fewer updates
            than `LEAST_UPDATES` are planned.
    """

    cells: tuple[Cell, ...]
    seeds: tuple[int, ...] = (2020, 2021)
    """Of a run and of its problems."""
    responses: int = 400
    """Budget of a run in responses of the untrained model: 25 iterations of 16."""
    updates_per_iteration: int = 8
    learning_rate: float = 7.5e-5
    train_size: int = 16
    """Training problems."""
    eval_size: int = 32
    """Held-out problems of the split `hard`, with the cell's levels."""
    eval_samples: int = 8
    eval_every: int = 5
    """Iterations between evaluations: an arm is judged by its mean pass@1 over the budget."""
    numbers_seed: int = 2019
    """Seed of the problems that the deciding numbers are measured on."""
    numbers_problems: int = 24
    numbers_again: int = 2
    """Guided, hinted and plain retries of a problem, each."""

    def __post_init__(self) -> None:
        names = [cell.name for cell in self.cells]
        if len(set(names)) < len(names):
            raise ConfigError(f"cells must have different names, got {names}")
        if len(self.cells) < LEAST_CELLS:
            raise ConfigError(
                f"a sweep must have at least {LEAST_CELLS} cells, got {len(self.cells)}"
            )
        if len(set(self.seeds)) < max(2, len(self.seeds)) or self.numbers_seed in self.seeds:
            raise ConfigError(
                f"a sweep must have two or more seeds, and another for its numbers, got "
                f"{self.seeds} and {self.numbers_seed}"
            )
        if self.responses // 16 * self.updates_per_iteration < LEAST_UPDATES:
            raise ConfigError(
                f"an arm must plan at least {LEAST_UPDATES} updates, got {self.responses} "
                f"responses with {self.updates_per_iteration} updates for 16; plan more"
            )

    @property
    def content_hash(self) -> str:
        """Hash of every setting, 8 hex digits; equal in every process."""
        text = json.dumps([json.loads(config_json.dump(self)), dict(ARMS), SEARCHING])
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def budget(self, cell: Cell) -> int:
        """Return the generated tokens of each run of a cell."""
        return self.responses * cell.response * cell.times

    def comparison(self, cell: Cell, seed: int) -> CompareConfig:
        """Build the comparison of a cell's arms on one seed.

        Args:
            cell: Of the sweep.
            seed: One of the sweep's seeds; the problems have it, too.
        """
        shared = replace(
            shared_settings(),
            model=cell.model,
            env=EnvConfig(size=self.train_size, problem_seed=seed, max_tokens=cell.max_tokens),
            eval=EvalConfig(
                split="hard",
                problems=cell.source,
                num_problems=self.eval_size,
                samples=self.eval_samples,
                k=self.eval_samples,
                greedy=False,
                every=self.eval_every * cell.times,
            ),
            learner=LearnerConfig(
                learning_rate=self.learning_rate,
                updates_per_iteration=self.updates_per_iteration,
            ),
            episodes_per_iteration=0,
            checkpoint=CheckpointConfig(every=10, keep_last=1),
        )
        arms = {label: _same_loss(arm(cell.arm(label), shared)) for label in cell.arms}
        return CompareConfig(
            arms=arms,
            sources=(cell.source,),
            num_seeds=1,
            first_seed=seed,
            budget=self.budget(cell),
        )


def _same_loss(config: TrainConfig) -> TrainConfig:
    return replace(config, method=with_loss(config.method, GRPOConfig().loss))


def _cells(
    family: str,
    lengths: dict[int, int],
    arms: str = "rrpo srpo pope lte expo",
    **settings: Any,
) -> list[Cell]:
    """Make a family's cells: level -> tokens of a response."""
    return [
        Cell(
            name=f"{family}-{level}",
            source=f"mix:{family}@{level}-{level}",
            arms=(BASELINE, *arms.split()),
            response=length,
            max_tokens=max(96, 2 * length),
            **settings,
        )
        for level, length in lengths.items()
    ]


SWEEP = Sweep(
    cells=(
        *_cells("chain", {2: 30, 3: 41, 4: 51, 5: 62, 6: 72, 8: 93, 10: 114}),
        *_cells("equation", {2: 49, 3: 61, 4: 74}),
        *_cells("inverse", {2: 30, 3: 41, 4: 51, 5: 61, 6: 72, 8: 93}),
        *_cells("precedence", {1: 42, 2: 51, 3: 51, 4: 59, 5: 68, 7: 78}),
        *_cells("unlock", {1: 51, 2: 66, 3: 82}),
        *_cells("countdown", {4: 52, 5: 52, 6: 52}),
        *_cells("opposed", {1: 42, 2: 51}),
        *_cells("late", {1: 54, 2: 99, 3: 144}, "rrpo srpo", model="late"),
        *_cells("sealed", {4: 115}, "pope", model="sealed", times=8, searches=True),
    )
)
"""The sweep that is published. Lengths are those of 24 problems with 8 samples each."""


def write_design() -> None:
    """Write `design.json`."""
    DESIGN.write_text(config_json.dump(SWEEP) + "\n", encoding="utf-8")


def read_design() -> Sweep:
    """Read `design.json`.

    Raises:
        ConfigError: There is none, or it is another than `SWEEP`.
    """
    if not DESIGN.is_file():
        raise ConfigError("a sweep must have a design; write it with --design, and commit it")
    found = config_json.load(Sweep, DESIGN.read_text(encoding="utf-8"))
    if found != SWEEP:
        raise ConfigError(
            f"'{DESIGN.name}' must be the sweep of sweep.py, got {found.content_hash} and "
            f"{SWEEP.content_hash}; write it again with --design, and commit it before its runs"
        )
    return found
