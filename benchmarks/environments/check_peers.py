# pyright: basic, reportMissingImports=false
# The peers have incomplete types and cannot be installed together (see PEERS).
"""Runs `check_reasoning_env` on other projects' environments and on ours; writes `check_peers.md`.

    python -m benchmarks.environments.check_peers [ours] [reasoning_gym] [gem]

Claim: the checks fit environments other than ours, and find faults that training would exploit. A
check that an environment cannot run (it has no state to copy, say) is "-", never a failure.

Rewrites the section of each peer named on the command line, by default of all whose packages are
installed; it prints which sections it keeps and why. GEM 0.1.0 pins reasoning-gym 0.1.23, so it
needs a separate environment (the page has the commands).
"""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from importlib.metadata import Distribution, version
from importlib.util import find_spec
from pathlib import Path
from platform import python_version
from typing import Any

import gymnasium as gym

import reason_env  # noqa: F401 - registers the ids
from benchmarks.environments.check_peers_gem import KINDS, gem_task
from reason_env.check import check_reasoning_env
from reason_env.check.report import CheckReport
from reason_env.check.tasks import ReasoningTask
from reason_env.errors import ConfigError, ProblemError, VerifierError, did_you_mean
from reason_env.problems import problem_sources

PAGE = Path(__file__).with_name("check_peers.md")
GSM8K = PAGE.parents[3] / "shared" / "data" / "gsm8k"
"""Folder of GSM8K outside the checkout; without it the page lists the setting as left out."""
NUM_PROBLEMS = 10
SIZE = 100
"""Problems in each of our sets."""
MARKS = {"ok": "ok", "FAILED": "**fails**", "skipped": "-"}
CHECKS = (
    ("reference", "the reference response returns more than an empty one, and always the same"),
    ("floor", "empty text, random text and the end of the prompt return less than the reference"),
    ("load", "the reference returns the same while two other processes are busy"),
    ("replay", "the same seed and response give the same observation and return again"),
    ("global RNG", "Python's and NumPy's global generators are neither changed nor used"),
    ("leak", "the observation stays the same without the answer and the solution"),
    (
        "hash seed",
        "observation, reference, solution and return are equal under PYTHONHASHSEED 1 and 2",
    ),
    ("fork", "a state copied to a second instance continues there as in the first"),
    ("apart", "episodes of one instance do not change another in the same process"),
)
"""Column and its condition, in the order of a report."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One environment of a peer."""

    name: str
    make: Callable[[], Any]


class ReasoningGymTask:
    """A data set of reasoning-gym: seed `s` selects entry `s`, and a response is its answer."""

    def __init__(self, name: str) -> None:
        """Build the data set."""
        import reasoning_gym

        self._name = name
        self._set = reasoning_gym.create_dataset(name, seed=7, size=1000)
        self._entry: dict[str, Any] = {}

    def begin(self, seed: int) -> str:
        """Select an entry; return its question."""
        self._entry = self._set[seed]
        return self._entry["question"]

    def respond(self, text: str) -> float:
        """Score an answer; a scorer that raises is a finding."""
        try:
            return float(self._set.score_answer(text, self._entry))
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise VerifierError(f"the scorer raises {type(error).__name__} for {text!r}") from error

    def reference(self) -> str:
        """Return the entry's answer."""
        if self._entry["answer"] is None:
            raise ProblemError("the entry's answer is None")
        return self._entry["answer"]

    def another(self) -> ReasoningTask:
        """Build another instance."""
        return ReasoningGymTask(self._name)

    def program(self) -> str:
        """Return Python code that builds the task."""
        return (
            "from benchmarks.environments.check_peers import ReasoningGymTask\n"
            f"task = ReasoningGymTask({self._name!r})"
        )


def _ours(source: str, *, name: str = "", **arguments: Any) -> Setting:
    return Setting(
        name=name or source,
        make=lambda: gym.make("MathReason-v0", problems=source, **arguments),
    )


def _wrapped() -> Any:
    from reason_env.wrappers.hint import Hint
    from reason_env.wrappers.prefix_rollin import PrefixRollin
    from reason_env.wrappers.reset_to_state import ResetToState

    env = gym.make("MathReason-v0", problems="chain", size=SIZE)
    return Hint(PrefixRollin(ResetToState(env, keep="none"), probability=0.5), trigger=0.5)


def our_settings() -> list[Setting]:
    """List our settings: all families and layouts, a mixture, a stack, and available data."""
    families = [source.name for source in problem_sources() if source.module]
    layouts = [
        (granularity, form)
        for granularity in ("token", "step", "response")
        for form in ("text", "tokens")
        if (granularity, form) != ("step", "text")
    ]
    mixture = "mix:unlock@1-3+chain*2+inverse"
    settings = [
        *(_ours(family, size=SIZE) for family in families),
        _ours(mixture, size=SIZE),
        *(
            _ours(
                "chain", name=f"chain, {granularity}s as {form}", size=SIZE,
                granularity=granularity, format=form,
            )
            for granularity, form in layouts
        ),
        Setting(name="Hint(PrefixRollin(ResetToState(chain)))", make=_wrapped),
    ]  # fmt: skip
    absent = unavailable()
    if "gsm8k" not in absent:
        settings.append(_ours(f"gsm8k:{GSM8K}", name="gsm8k:PATH, test", split="test"))
    if "reasoning_gym" not in absent:
        settings += [_ours(f"reasoning_gym:{name}", size=SIZE) for name in ("gcd", "word_ladder")]
    return settings


def unavailable() -> dict[str, str]:
    """Return our sources that cannot be checked on this machine, with the reason."""
    absent: dict[str, str] = {}
    if not GSM8K.exists():
        absent["gsm8k"] = "its data are not on this machine"
    if find_spec("reasoning_gym") is None:
        absent["reasoning_gym"] = "not installed"
    return absent


SETS = (
    "gcd", "countdown", "spiral_matrix", "word_ladder", "prime_factorization", "coin_flip",
    "game_of_life_halting", "graph_color",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A project whose environments are checked, and the packages that this needs."""

    modules: tuple[str, ...]
    packages: tuple[str, ...]
    settings: Callable[[], Iterable[Setting]]
    left_out: Callable[[], dict[str, str]] = dict


PEERS = {
    "ours": Peer(
        modules=("reason_env",), packages=("reason-env", "gymnasium", "numpy"),
        settings=our_settings, left_out=unavailable,
    ),
    "reasoning_gym": Peer(
        modules=("reasoning_gym",), packages=("reasoning_gym",),
        settings=lambda: [
            Setting(name=name, make=lambda name=name: ReasoningGymTask(name)) for name in SETS
        ],
    ),
    "gem": Peer(
        modules=("gem", "datasets", "pylatexenc"),
        packages=("gem-llm", "reasoning-gym", "math-verify", "datasets"),
        settings=lambda: [
            Setting(name=name, make=lambda name=name: gem_task(name)) for name in KINDS
        ],
    ),
}  # fmt: skip


def run(setting: Setting, *, num_problems: int = NUM_PROBLEMS) -> CheckReport:
    """Check one environment."""
    return check_reasoning_env(setting.make(), num_problems=num_problems)


def table(reports: dict[str, CheckReport]) -> str:
    """Format a Markdown table of environments by checks."""
    columns = [column for column, _ in CHECKS]
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, report in reports.items():
        marks = [MARKS[word] for _, word, _ in report.rows]
        lines.append(f"| {name} | {' | '.join(marks)} |")
    return "\n".join(lines)


def findings(reports: dict[str, CheckReport]) -> list[str]:
    """List the failed checks, each with its first failure."""
    return [
        f"* {name}, {check}: {detail}"
        for name, report in reports.items()
        for check, word, detail in report.rows
        if word == "FAILED"
    ]


def explained() -> str:
    """Format the checks and their conditions as a Markdown table."""
    return "\n".join(["| check | holds if |", "|---|---|", *(f"| {a} | {b} |" for a, b in CHECKS)])


def with_section(page: str, name: str, body: str) -> str:
    """Replace the body between the marks of a section of the page.

    Raises:
        ConfigError: The page lacks the section's marks.
    """
    first, last = f"<!-- {name}: made by check_peers.py -->", f"<!-- end of {name} -->"
    if page.count(first) != 1 or page.count(last) != 1:
        raise ConfigError(f"{PAGE.name} must hold {first!r} and {last!r} once; write them there")
    before, rest = page.split(first)
    return f"{before}{first}\n\n{body}\n\n{last}{rest.split(last)[1]}"


def missing(peer: Peer) -> list[str]:
    """List a peer's missing modules, or if it has all of them its missing packages."""
    return [module for module in peer.modules if find_spec(module) is None] or [
        package for package in peer.packages if not any(Distribution.discover(name=package))
    ]


def chosen(names: list[str]) -> list[str]:
    """Return the named peers, or all installed ones; print which are skipped.

    Raises:
        ConfigError: A name is unknown, or the peer's packages are not installed.
    """
    for name in names:
        if name not in PEERS:
            raise ConfigError(f"no peer {name!r}{did_you_mean(name, PEERS)}")
        if absent := missing(PEERS[name]):
            raise ConfigError(
                f"peer {name} must have {', '.join(absent)} installed; see {PAGE.name}"
            )
    for name, peer in PEERS.items():
        if not names and (absent := missing(peer)):
            print(f"skipped {name}: {', '.join(absent)} not installed; its section is kept")
    return names or [name for name, peer in PEERS.items() if not missing(peer)]


def section(peer: Peer, reports: dict[str, CheckReport]) -> str:
    """Write a peer's section of the page: versions, date, table and findings."""
    versions = ", ".join(f"{package} {version(package)}" for package in peer.packages)
    head = (
        f"{versions}, Python {python_version()}; {NUM_PROBLEMS} problems per environment; "
        f"{date.today().isoformat()}."
    )
    left = [f"* left out: {name}, {why}" for name, why in peer.left_out().items()]
    found = findings(reports) or ["No check fails."]
    return "\n".join([head, "", table(reports), "", *found, *left])


def main(names: list[str]) -> None:
    """Rewrite the sections of the peers."""
    for name in chosen(names):
        reports: dict[str, CheckReport] = {}
        for setting in PEERS[name].settings():
            reports[setting.name] = run(setting)
            marks = [word for _, word, _ in reports[setting.name].rows]
            print(f"{name}, {setting.name}: {' '.join(marks)}", flush=True)
        page = PAGE.read_text(encoding="utf-8")
        page = with_section(page, "checks", explained())
        page = with_section(page, name, section(PEERS[name], reports))
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
