# pyright: basic, reportMissingImports=false
# The peers have no complete types and are not installed together (see PEERS).
"""The quality suite on other people's environments, through an adapter of a few lines each.

Claim: the checks of `check_reasoning_env` are not made to measure; other environments can be put to
them, and the suite finds in them what training would learn from. What an environment does not offer
(a state to take, a second process) is "-", never a failure.

Run: python -m benchmarks.check_peers ours | reasoning_gym | gem. GEM 0.1.0 pins reasoning-gym
0.1.23, so it needs an environment of its own: pip install gem-llm datasets pylatexenc gymnasium,
and run from the repository's root. Prints a Markdown table and the findings.
"""

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import gymnasium as gym

import reason_env  # noqa: F401 - registers the ids
from reason_env.check import CheckReport, ReasoningTask, check_reasoning_env
from reason_env.errors import ConfigError, ProblemError, VerifierError, shown

NUM_PROBLEMS = 10
SHORT = ("reference", "floor", "load", "replay", "global RNG", "leak", "hash seed", "fork", "apart")
"""Column names of the nine checks, in their order."""
MARKS = {"ok": "ok", "FAILED": "**fails**", "skipped": "-"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One environment of a peer."""

    name: str
    make: Callable[[], Any]


class ReasoningGymTask:
    """One set of reasoning-gym: seed `s` is entry `s`, a response is the answer."""

    def __init__(self, name: str) -> None:
        """Makes the set."""
        import reasoning_gym

        self._name = name
        self._set = reasoning_gym.create_dataset(name, seed=7, size=1000)
        self._entry: dict[str, Any] = {}

    def begin(self, seed: int) -> str:
        """Takes an entry."""
        self._entry = self._set[seed]
        return self._entry["question"]

    def respond(self, text: str) -> float:
        """Scores an answer; a scorer that raises has not kept its word."""
        try:
            return float(self._set.score_answer(text, self._entry))
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise VerifierError(f"the scorer raises {type(error).__name__} for {text!r}") from error

    def reference(self) -> str:
        """Returns the entry's answer."""
        if self._entry["answer"] is None:
            raise ProblemError("the entry's answer is None")
        return self._entry["answer"]

    def another(self) -> ReasoningTask:
        """Makes the set again."""
        return ReasoningGymTask(self._name)

    def program(self) -> str:
        """Returns Python that makes the set."""
        return (
            "from benchmarks.check_peers import ReasoningGymTask\n"
            f"task = ReasoningGymTask({self._name!r})"
        )


class GemTask:
    """An environment of GEM whose first turn may hold the whole answer."""

    def __init__(self, env_id: str) -> None:
        """Makes it by its id; "math" is its MathEnv on problems written here."""
        self._env_id = env_id
        self._env = _gem_math() if env_id == "math" else _gem(env_id)

    def begin(self, seed: int) -> str:
        """Resets with a seed."""
        return self._env.reset(seed=seed)[0]

    def respond(self, text: str) -> float:
        """Says the text, then nothing, until the episode ends."""
        total = 0.0
        for _ in range(100):
            _, reward, terminated, truncated, _ = self._env.step(text)
            total += float(reward)
            if terminated or truncated:
                return total
            text = ""
        raise VerifierError("the episode did not end in 100 turns")

    def reference(self) -> str:
        """Returns the answer in a box, wherever the environment keeps it."""
        env = self._env
        if self._env_id.startswith("rg:"):
            return f"\\boxed{{{env.data['answer']}}}"
        return f"\\boxed{{{env.answer if self._env_id == 'math' else env.game_number}}}"

    def another(self) -> ReasoningTask:
        """Makes it again."""
        return type(self)(self._env_id)

    def program(self) -> str:
        """Returns Python that makes it."""
        kind = type(self).__name__
        return f"from benchmarks.check_peers import {kind}\ntask = {kind}({self._env_id!r})"


class ForkableGemTask(GemTask):
    """One that also has `get_state` and `set_state`."""

    def save(self) -> Any:
        """Returns its state."""
        return self._env.get_state()

    def load(self, saved: Any) -> None:
        """Takes a state."""
        self._env.set_state(saved)


def _gem(env_id: str) -> Any:
    import gem

    return gem.make(env_id)


def _gem_math() -> Any:
    from datasets import Dataset
    from gem.envs.math_env import MathEnv

    rng = random.Random(0)
    rows = [
        {"problem": f"What is {a}/{b} + {c}?", "answer": f"\\frac{{{a + b * c}}}{{{b}}}"}
        for a, b, c in (
            (rng.randint(1, 99), rng.randint(2, 99), rng.randint(1, 9)) for _ in range(200)
        )
    ]
    return MathEnv(dataset=Dataset.from_list(rows))


def _ours(source: str, *, token: bool = False) -> Setting:
    layout: dict[str, Any] = {"granularity": "token", "format": "tokens"} if token else {}
    return Setting(
        name=f"MathReason-v0, {source}{', tokens' if token else ''}",
        make=lambda: gym.make("MathReason-v0", problems=source, size=100, **layout),
    )


SETS = (
    "gcd", "countdown", "spiral_matrix", "word_ladder", "prime_factorization", "coin_flip",
    "game_of_life_halting", "graph_color",
)  # fmt: skip
PEERS: dict[str, tuple[Setting, ...]] = {
    "ours": (
        _ours("chain"),
        _ours("inverse", token=True),
        _ours("reasoning_gym:gcd"),
        _ours("reasoning_gym:word_ladder"),
    ),
    "reasoning_gym": tuple(
        Setting(name=name, make=lambda name=name: ReasoningGymTask(name)) for name in SETS
    ),
    "gem": (
        Setting(name="math (MathEnv)", make=lambda: GemTask("math")),
        Setting(name="rg:gcd", make=lambda: ForkableGemTask("rg:gcd")),
        Setting(name="rg:word_ladder", make=lambda: ForkableGemTask("rg:word_ladder")),
        Setting(
            name="game:GuessTheNumber-v0-easy", make=lambda: GemTask("game:GuessTheNumber-v0-easy")
        ),
    ),
}
PACKAGES = {"ours": "reason-env", "reasoning_gym": "reasoning_gym", "gem": "gem-llm"}


def run(setting: Setting, *, num_problems: int = NUM_PROBLEMS) -> CheckReport:
    """Returns the report on one environment."""
    return check_reasoning_env(setting.make(), num_problems=num_problems)


def table(reports: dict[str, CheckReport]) -> str:
    """Returns a Markdown table: environments by checks."""
    lines = [f"| | {' | '.join(SHORT)} |", "|---" * (len(SHORT) + 1) + "|"]
    for name, report in reports.items():
        marks = [MARKS[word] for _, word, _ in report.rows]
        lines.append(f"| {name} | {' | '.join(marks)} |")
    return "\n".join(lines)


def findings(reports: dict[str, CheckReport]) -> list[str]:
    """Returns each failed check with what failed first."""
    return [
        f"* {name}, {check}: {detail}"
        for name, report in reports.items()
        for check, word, detail in report.rows
        if word == "FAILED"
    ]


def main() -> None:
    """Prints the table of the peer that the command line names."""
    peer = sys.argv[1] if len(sys.argv) == 2 else ""
    if peer not in PEERS:
        raise ConfigError(f"peer must be one of {', '.join(PEERS)}, got {shown(sys.argv[1:])}")
    print(f"{PACKAGES[peer]} {version(PACKAGES[peer])}, {NUM_PROBLEMS} problems\n", flush=True)
    reports: dict[str, CheckReport] = {}
    for setting in PEERS[peer]:
        reports[setting.name] = run(setting)
        print(reports[setting.name].rows, file=sys.stderr, flush=True)
    print(table(reports), "", *findings(reports), sep="\n")


if __name__ == "__main__":
    main()
