"""reasoning-gym as a source: its generators make the problems, its scorers verify the answers.

A separate process makes the entries (`verify/scorers/reasoning_gym_scorer.py` says why), and the
verifier's workers score them. `answer` is one right answer, as a reference and for hints; the
scorer decides which others are right. Correct is a score of 1 and nothing less; the verdict keeps
the score (`state.verdict.score`).

Splits are disjoint twice: their seeds come from ranges of their own, and a question belongs to one
split by its hash (half of all to "train", a quarter each to the others), so that a set with few
questions cannot draw one in two splits.

Levels are those of reasoning-gym's curricula, counted from 1, every attribute at that level.
Without levels a set has its default configuration, and its problems level 0, unknown.
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
"""Seeds of a split; 2**20 for each problem seed."""

_NO_ANSWER = "its entries have no answer (None), so no reference can be stated"
REFUSED: dict[str, str] = {
    "boxnet": _NO_ANSWER,
    "graph_color": _NO_ANSWER,
    "propositional_logic": _NO_ANSWER,
    "rubiks_cube": _NO_ANSWER,
    "rush_hour": _NO_ANSWER,
    "coin_flip": "its scorer gives the answer '0' full marks, whatever the question",
    "complex_arithmetic": "its scorer gives the answer 'nan' full marks, whatever the question",
    "game_of_life_halting": "its scorer gives every text full marks",
    "composite": "it is a mixture of sets; load each by its name",
}
"""Set -> why it is not offered."""


def load_reasoning_gym(
    name: str,
    *,
    split: str = "train",
    size: int | None = None,
    levels: tuple[int, int] | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> ProblemSet:
    """Returns problems of the reasoning-gym set `name`; the same in every process.

    Args:
        name: As in `reasoning_gym.create_dataset`.
        split: "train", "validation" or "test"; no question is in two of them.
        size: Number of problems; 500 for training and 100 else where None.
        levels: Lowest and highest level of its curriculum, from 1, taking turns; its default
            configuration where None.
        seed: Chooses the problems, 0..1023.
        options: Fields of the set's own configuration, JSON-able.

    Raises:
        ConfigError: reasoning-gym is not installed; or an argument is out of its range.
        UnknownNameError: It has no such set.
        ProblemError: The set is not offered, or holds too few different questions.
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
    """Makes the set once for all environments of this process."""
    request = {
        "set": name,
        "levels": levels,
        "options": json.loads(options),
        "seed": list(_SHARES).index(split) * _RANGE + seed * 2**20,
        "share": _SHARES[split],
        "size": size,
    }
    reply = _asked(request)
    _check(reply, name, levels)
    if reply["num_unsound"]:
        logger.warning(
            "%d answers of %s:%s are wrong by its own scorer and are left out",
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


def _asked(request: dict[str, Any]) -> dict[str, Any]:
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
            f"{SOURCE}:{request['set']} must be made by a process that ends well, got status "
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
            f"{SOURCE}:{name} must have texts as answers, got {reply['answer']}; choose another set"
        )
    if "refused" in reply:
        raise ConfigError(
            f"{SOURCE}:{name} must be given options and levels that it can draw from, got "
            f"{shown(reply['refused'])} from it; change them"
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
            f"answer of {problem_id!r} must be one that a box or a '####' line can state, got "
            f"{shown(problem.answer)}; choose another set"
        )
    return problem
