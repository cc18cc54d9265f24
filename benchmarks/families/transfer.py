"""What a policy trained by POPE on `sealed` has learned: its success by the number of shown steps.

    python -m benchmarks.families.transfer RUN [RUN ...]

Where success falls from nearly 1 with a prefix to 0 without one, the policy has learned to continue
a prefix and not yet to begin.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.families.hosts import Subject, guided_success, success
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.runs import RunDir, model_directory
from reason_env.agents.train import TrainConfig
from reason_env.env import EnvConfig
from reason_env.errors import ReasonEnvError

SAMPLES = 8
MOST_SHOWN = 4


def by_steps_shown(subject: Subject, most: int = MOST_SHOWN, seed: int = 1) -> list[float]:
    """Measure success with 0, 1, ... `most` steps of the solution in the prompt."""
    without = success(subject.sample(subject.states, SAMPLES, seed).trajectories)
    ids = [state.problem.problem_id for state in subject.states]
    return [
        without,
        *(
            guided_success(subject, dict.fromkeys(ids, shown), SAMPLES, seed)
            for shown in range(1, most + 1)
        ),
    ]


def main(words: Sequence[str] | None = None) -> None:
    """Print one line a run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run directories on sealed")
    try:
        for run in parser.parse_args(words).runs:
            trained = RunDir.open(run).config(TrainConfig).env
            policy = LanguageModelPolicy.load(model_directory(str(run)))
            config = EnvConfig(
                problems=trained.problems, size=trained.size, problem_seed=trained.problem_seed
            )
            subject = Subject(policy=policy, env=config.make(policy.codec))
            rates = ", ".join(f"{rate:.2f}" for rate in by_steps_shown(subject))
            print(f"{run}: success with 0 to {MOST_SHOWN} steps shown {rates}")
    except ReasonEnvError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
