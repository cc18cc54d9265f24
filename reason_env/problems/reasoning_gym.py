"""Problems of reasoning-gym: its generators draw the problems, its scorers verify the answers.

A separate process generates the entries (for the reasons in
`verify/scorers/reasoning_gym_scorer.py`), and the verifier's workers score answers. `answer` is one
right answer, for hints and as a reference; the scorer decides which others are right. Only a score
of 1 is correct; the verdict keeps the score (`state.verdict.score`).

Splits have separate ranges of seeds. The hash of a question also assigns it to one split (half of
all questions to "train", a quarter to each other split), so that a set with few questions cannot
draw one in two splits.

Levels are those of reasoning-gym's curricula, from 1, with every attribute at that level. Without
levels, a set has its default configuration and its problems have level 0 (unknown).
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from reason_env.errors import ConfigError, ProblemError, UnknownNameError, did_you_mean, shown
from reason_env.problem import ProblemSet, ScoredProblem, ScoredReference
from reason_env.problems.reference import answer_line
from reason_env.verify import FIXED, extract_answer

logger = logging.getLogger(__name__)

SOURCE = "reasoning_gym"
DEFAULT_SIZE = {"train": 500, "validation": 100, "test": 100}
MAX_SIZE = 50_000
MAX_SEED = 1023
_SHARES = {"train": (0, 1), "validation": (2,), "test": (3,)}
_RANGE = 2**30
"""Number of seeds of a split; each problem seed has 2**20 of them."""

_NO_ANSWER = "its entries have no reference answer (None)"
REFUSED: dict[str, str] = {
    "boxnet": _NO_ANSWER,
    "graph_color": _NO_ANSWER,
    "propositional_logic": _NO_ANSWER,
    "rubiks_cube": _NO_ANSWER,
    "rush_hour": _NO_ANSWER,
    "coin_flip": "its scorer accepts the answer '0' to every question",
    "complex_arithmetic": "its scorer accepts the answer 'nan' to every question",
    "game_of_life_halting": "its scorer accepts every answer",
    "composite": "it is a mixture of sets; load each by its name",
}
"""Set -> the reason why it cannot be loaded."""


def load_reasoning_gym(
    name: str,
    *,
    split: str = "train",
    size: int | None = None,
    levels: tuple[int, int] | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> ProblemSet:
    """Generate problems of a reasoning-gym set; equal arguments give equal problems in any process.

    Args:
        name: Name of the set, as in `reasoning_gym.create_dataset`.
        split: "train", "validation" or "test"; no question is in two of them.
        size: Number of problems; None is 500 for train, 100 for the other splits.
        levels: Lowest and highest level of the set's curriculum, from 1, which take turns; None is
            the set's default configuration.
        seed: Determines the problems, 0..1023.
        options: Fields of the set's own configuration, JSON-able.

    Raises:
        ConfigError: reasoning-gym is not installed, or an argument is out of its range.
        UnknownNameError: reasoning-gym has no such set.
        ProblemError: The set is in `REFUSED`, or has too few different questions.
    """
    if name in REFUSED:
        raise ProblemError(
            f"reasoning_gym set must have a sound scorer and answers, got {name!r}: "
            f"{REFUSED[name]}; choose another set"
        )
    if split not in _SHARES:
        raise ConfigError(
            f"split of {SOURCE}:{name} must be one of {', '.join(_SHARES)}, got {shown(split)}"
        )
    count = DEFAULT_SIZE[split] if size is None else size
    for what, value, low, high in (("size", count, 1, MAX_SIZE), ("seed", seed, 0, MAX_SEED)):
        if not low <= value <= high:
            raise ConfigError(f"{what} of {SOURCE}:{name} must be {low}..{high}, got {value!r}")
    try:
        written = json.dumps(dict(options or {}), sort_keys=True)
    except TypeError as error:
        raise ConfigError(f"options must be JSON-able, got {shown(options)}; {error}") from error
    return _problem_set(name, split, size=count, levels=levels, seed=seed, options=written)


@lru_cache(maxsize=16)
def _problem_set(
    name: str, split: str, *, size: int, levels: tuple[int, int] | None, seed: int, options: str
) -> ProblemSet:
    """Generate the set once for all environments of this process."""
    request = {
        "set": name,
        "levels": levels,
        "options": json.loads(options),
        "seed": list(_SHARES).index(split) * _RANGE + seed * 2**20,
        "share": _SHARES[split],
        "size": size,
    }
    reply = _reply(request)
    _check(reply, name, levels)
    if reply["num_unsound"]:
        logger.warning(
            "leaving out %d problems of %s:%s whose answer is wrong by its own scorer",
            reply["num_unsound"], SOURCE, name,
        )  # fmt: skip
    problems = tuple(
        _problem(row, f"{SOURCE}:{name}/{split}/{index}") for index, row in enumerate(reply["rows"])
    )
    if len(problems) < size:
        raise ProblemError(
            f"{SOURCE}:{name} must hold {size} different questions in split {split!r}, found "
            f"{len(problems)}; ask for fewer, for higher levels, or for other options"
        )
    return ProblemSet(f"{SOURCE}:{name}", problems)


def _reply(request: dict[str, Any]) -> dict[str, Any]:
    path = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-m", "reason_env.verify.scorers.reasoning_gym_scorer"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | path | FIXED,
    )
    if done.returncode != 0:
        raise ProblemError(
            f"the process that generates {SOURCE}:{request['set']} must exit with status 0, got "
            f"{done.returncode}: {shown(done.stderr.strip()[-150:])}"
        )
    return json.loads(done.stdout)


def _check(reply: dict[str, Any], name: str, levels: tuple[int, int] | None) -> None:
    if "missing" in reply:
        raise ConfigError(
            f"problems {SOURCE}:{name} must have reasoning-gym installed, got no module "
            f"{reply['missing']!r}; pip install 'reason-env[reasoning-gym]'"
        )
    if "unknown" in reply:
        known = [other for other in reply["unknown"] if other not in REFUSED]
        raise UnknownNameError(f"no reasoning_gym set {name!r}{did_you_mean(name, known)}")
    if "highest" in reply:
        rule = f"be within 1..{reply['highest']}" if reply["highest"] else "be None: no curriculum"
        raise ConfigError(
            f"levels of {SOURCE}:{name} must {rule}, got {levels!r}; leave them out for its default"
        )
    if "answer" in reply:
        raise ProblemError(
            f"answers of {SOURCE}:{name} must be text, got {reply['answer']}; choose another set"
        )
    if "refused" in reply:
        raise ConfigError(
            f"options and levels of {SOURCE}:{name} must suit its generator, which raised "
            f"{shown(reply['refused'])}; change them"
        )


def _problem(row: dict[str, Any], problem_id: str) -> ScoredProblem:
    problem = ScoredProblem(
        problem_id=problem_id,
        question=row["question"],
        answer=row["answer"].strip(),
        level=row["level"],
        source="reasoning-gym",
        scored_by=ScoredReference(scorer=SOURCE, entry=row["entry"]),
    )
    if extract_answer(answer_line(problem)) != problem.answer:
        raise ProblemError(
            f"answer of {problem_id!r} must fit into a box or a '####' line, got "
            f"{shown(problem.answer)}; choose another set"
        )
    return problem
