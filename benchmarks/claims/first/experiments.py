"""The experiments that the claims share: arms, problems and budget.

Every arm of an experiment has the same base model, problems, learning rate, evaluation and budget
of generated tokens; tokens of preparations, localisations and discarded episodes count.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchmarks.claims.first.experts import write_foreign
from reason_env.agents.compare import CompareConfig, Comparison, arms_of, num_cores, shared_settings
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.env import EnvConfig

Preset = Literal["full", "quick"]
OUT = Path("runs/claims")


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Arms on one source of problems."""

    source: str
    """Source of the training problems, as `reason-env compare` takes it."""
    arms: Mapping[str, str]
    """Label -> arm, as `reason-env compare` takes it."""
    train_size: int
    """Number of training problems; small, because POPE measures each of them before training."""
    budget: int
    """Generated tokens of each run."""
    eval_problems: str | None = None
    """Source of the evaluation problems; None: the training source. Their split is `hard`, so they
    share no question with the training problems."""
    is_foreign: bool = False
    """Whether the reference solutions are rewritten in other words (`experts.py`)."""
    eval_size: int = 48
    """Held-out problems."""
    learning_rate: float = 3e-4
    problems_per_iteration: int = 16
    updates_per_iteration: int = 2
    eval_every: int = 0
    """Iterations between evaluations of the full preset; 0: only before and after training."""
    seeds: tuple[int, int] = (0, 4)
    """First and last seed of the full preset; the quick preset runs only the first."""

    def config(self, preset: Preset, seeds: int | None, out: Path) -> CompareConfig:
        """Build the comparison to run; rewritten problems are written to the folder `out`."""
        source, env = self.source, EnvConfig(size=self.train_size)
        if self.is_foreign:
            source, env = write_foreign(source, env, out), EnvConfig()
        shared = replace(
            shared_settings(),
            env=env,
            eval=EvalConfig(
                split="hard",
                problems=self.eval_problems or self.source,
                num_problems=self.eval_size,
                samples=8,
                k=8,
                greedy=False,
                every=self.eval_every if preset == "full" else 0,
            ),
            learner=LearnerConfig(
                learning_rate=self.learning_rate,
                updates_per_iteration=self.updates_per_iteration,
            ),
            problems_per_iteration=self.problems_per_iteration,
            episodes_per_iteration=0,
        )
        arms = arms_of(list(self.arms.values()), shared)
        first, last = self.seeds
        return CompareConfig(
            arms=dict(zip(self.arms, arms.values(), strict=True)),
            sources=(source,),
            num_seeds=seeds or (last - first + 1 if preset == "full" else 1),
            first_seed=first,
            budget=self.budget if preset == "full" else self.budget // 2,
        )


_SEARCH = "hard_samples=4,probe_samples=4,grid=0.25"
_CLIP = "loss.clip_low=0.2,loss.clip_high=0.2"
_CLIPPED = f"loss.surrogate=clip,{_CLIP},loss.aggregation=token_mean,loss.importance_weight_cap=2.0"
_POPE = f"pope:{_SEARCH},{_CLIP},loss.aggregation=token_mean"
_PAPER = (
    "loss.surrogate=reinforce,loss.aggregation=seq_mean_token_mean,loss.importance_weight_cap=null"
)

SIX: dict[str, str] = {
    "grpo": "grpo",
    "rrpo": f"rrpo:{_CLIPPED}",
    "srpo": f"srpo:{_CLIPPED}",
    "pope": _POPE,
    "lte": "lte",
    "expo": "expo",
}
"""The six methods, all with GRPO's clipped loss, averaged over tokens."""

_PRECEDENCE = Experiment(
    source="mix:precedence@7-10",
    train_size=32,
    budget=80_000,
    eval_every=3,
    arms=SIX
    | {
        "pope, hard prefix": f"{_POPE},conditioning=response",
        "pope, guided only": f"{_POPE},copies=guided_only",
        "pope, no restating": f"{_POPE},instruction=Do not restate.",
        "grpo, extra": "lte:extra=unhinted",
        "grpo, entropy bonus": "grpo:loss.entropy_coefficient=0.01",
        "grpo, clip higher": "grpo:loss.clip_high=0.5",
        "grpo, pass@k": "grpo:advantage.kind=pass_at_k,advantage.k=4",
        "sft": "sft",
    },
)
_MIXED = {"grpo": "grpo", "pope": f"{_POPE},easy=mix"}
_INVERSE = Experiment(
    source="mix:inverse@8-10",
    train_size=32,
    budget=100_000,
    learning_rate=2e-4,
    updates_per_iteration=1,
    arms=SIX | {"expo, expert chains": "expo:explanations=expert"},
)
_CHAIN = Experiment(
    source="mix:chain@12-14",
    train_size=32,
    budget=80_000,
    eval_size=40,
    eval_every=3,
    learning_rate=2e-4,
    updates_per_iteration=1,
    arms={
        "grpo": f"grpo:{_PAPER},advantage.std=population,advantage.eps=0.0",
        "rrpo": "rrpo",
        "srpo": "srpo",
        "srpo, checker": "srpo:localiser=checker",
        "srpo, checker -4": "srpo:localiser=checker,offset=-4",
        "srpo, checker +4": "srpo:localiser=checker,offset=4",
    },
)


def _some(experiment: Experiment, *arms: str) -> dict[str, str]:
    return {arm: experiment.arms[arm] for arm in arms}


EXPERIMENTS: dict[str, Experiment] = {
    "precedence": _PRECEDENCE,
    "precedence, easy mixed in": replace(
        _PRECEDENCE,
        source="mix:precedence@1-3+precedence@7-10",
        eval_problems=_PRECEDENCE.source,
        train_size=64,
        eval_every=0,
        arms=_MIXED,
    ),
    "precedence, foreign experts": replace(
        _PRECEDENCE, is_foreign=True, eval_every=0, arms=_some(_PRECEDENCE, "sft")
    ),
    "inverse": _INVERSE,
    "inverse, foreign experts": replace(
        _INVERSE, is_foreign=True, arms=_some(_INVERSE, "expo, expert chains")
    ),
    "chain": _CHAIN,
    "chain, large steps": replace(
        _CHAIN,
        source="mix:chain@8-10",
        budget=100_000,
        eval_every=1,
        learning_rate=1e-3,
        arms={
            "rrpo": "rrpo",
            "rrpo, accepted": 'rrpo:cpi={"step_size":1.0,"num_restarts":32,"realised_problems":0}',
        },
    ),
}
"""Name -> experiment. Its arms share one loss of policy tokens, except arms named for another loss:
GRPO's clipped loss, and in `chain` the unclipped loss of SRPO's paper."""


VARIATIONS: dict[str, Experiment] = {
    "precedence, fresh seeds": replace(
        _PRECEDENCE,
        seeds=(5, 14),
        eval_every=0,
        arms=_some(
            _PRECEDENCE,
            *("grpo", "pope", "lte", "grpo, extra"),
            *("grpo, entropy bonus", "grpo, clip higher", "grpo, pass@k"),
        ),
    ),
    "chain, fresh seeds": replace(
        _CHAIN,
        seeds=(5, 14),
        eval_every=0,
        arms=_some(_CHAIN, "grpo", "rrpo", "srpo", "srpo, checker"),
    ),
    "chain, offsets": replace(
        _CHAIN,
        seeds=(5, 9),
        eval_every=0,
        arms={
            f"srpo, checker {offset:+d}": f"srpo:localiser=checker,offset={offset}"
            for offset in (-4, -2, -1, 1, 2, 4)
        },
    ),
    "chain, longer": replace(
        _CHAIN,
        source="mix:chain@16-18",
        budget=160_000,
        seeds=(5, 9),
        eval_every=0,
        arms=_some(_CHAIN, "grpo", "rrpo", "srpo", "srpo, checker"),
    ),
    "precedence, another skill mixed in": replace(
        _PRECEDENCE,
        source="mix:chain@1-3+precedence@7-10",
        eval_problems=_PRECEDENCE.source,
        train_size=64,
        seeds=(5, 9),
        eval_every=0,
        arms=_MIXED,
    ),
    "unlock": Experiment(
        source="mix:unlock@10-10",
        train_size=32,
        budget=400_000,
        learning_rate=2e-4,
        updates_per_iteration=1,
        problems_per_iteration=8,
        seeds=(5, 9),
        arms=_some(_PRECEDENCE, "grpo", "pope", "pope, hard prefix"),
    ),
}
"""Name -> experiment for scoring claims again, on fresh seeds or other problems."""


_FURTHER: dict[str, str] = {
    "grpo": "grpo",
    "grpo, maxrl": "grpo:advantage.kind=maxrl",
    "dapo": "dapo",
    "opsd": "opsd",
    "grpo+opsd": "grpo+opsd",
    "sdpo": "sdpo",
    "vineppo": "vineppo:group_size=4,value_samples=3",
    "spo": "spo:group_size=4,value_samples=3",
    "treerl": "treerl",
    "vppo": "vppo",
    "int": "int",
    "adaback": "adaback",
    "prefixrl": "prefixrl:attempts=8",
    "failure-prefix": "failure-prefix:attempts=8",
    "prefix-sampling": "prefix-sampling",
    "sage": "sage",
}
"""Methods beside the six, each with its own loss. Those that measure or value states take fewer
samples than their default, as POPE's search does in `SIX`, because budgets are small."""

FURTHER: dict[str, Experiment] = {
    f"{name}, further methods": replace(experiment, eval_every=0, arms=_FURTHER)
    for name, experiment in (("precedence", _PRECEDENCE), ("inverse", _INVERSE))
}
"""Name -> experiment: further methods on problems, settings and seeds of the six. GRPO runs
again: its rates must be those of the first table."""

_NONE_NEARLY_SOLVED = "it trains problems that are nearly solved, and no problem here is"
REFUSED: dict[str, dict[str, str]] = {
    name: {"failure-prefix": _NONE_NEARLY_SOLVED} for name in FURTHER
}
"""Name -> arms whose runs refuse to begin, and why."""

ALL: dict[str, Experiment] = EXPERIMENTS | VARIATIONS | FURTHER


def comparison(
    name: str, preset: Preset, *, seeds: int | None = None, out: Path = OUT
) -> Comparison:
    """Open or create the comparison of an experiment."""
    config = ALL[name].config(preset, seeds, out)
    return Comparison.open_or_create(out / preset / file_name(name), config)


def file_name(name: str) -> str:
    """Convert an experiment's name to a file name.

    >>> file_name("unlock, easy mixed in")
    'unlock_easy_mixed_in'
    """
    return name.replace(",", "").replace(" ", "_")


def run(name: str, preset: Preset, *, seeds: int | None = None, out: Path = OUT) -> None:
    """Run the unfinished runs of an experiment, on every core."""
    comparison(name, preset, seeds=seeds, out=out).run(workers=num_cores())
