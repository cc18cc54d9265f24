"""Mixtures of families: `mix:unlock@1-3*1+unlock@8-10*3` has one easy problem to three hard ones.

For experiments on easy and hard problems together (ray interference), and on several families with
one policy. A part of a mixture has a family, its levels and its weight.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from reason_env.errors import ConfigError, shown
from reason_env.problem import Problem, ProblemSet
from reason_env.problems.families.family import DEFAULT_SIZE

_PART = re.compile(r"([a-z_]+)(?:@([0-9]{1,3})-([0-9]{1,3}))?(?:\*([0-9]{1,4}))?")
MakeFamily = Callable[[str, str, int, tuple[int, int] | None, int], ProblemSet]
"""(family, split, size, levels, seed) -> its problems."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a mixture."""

    family: str
    levels: tuple[int, int] | None
    weight: int


def read_parts(text: str) -> tuple[Part, ...]:
    """Read the parts of a mixture.

    Raises:
        ConfigError: The text does not describe a mixture.

    >>> read_parts("unlock@1-3+chain*2")
    (Part(family='unlock', levels=(1, 3), weight=1), Part(family='chain', levels=None, weight=2))
    """
    parts: list[Part] = []
    for part in text.split("+"):
        found = _PART.fullmatch(part)
        if found is None or int(found[4] or 1) == 0:
            raise ConfigError(
                f"a part of a mix must be FAMILY, FAMILY@LOW-HIGH, either with *WEIGHT of 1..9999, "
                f"got {shown(part)} in {shown(text)}; as in mix:unlock@1-3+unlock@8-10*3"
            )
        levels = (int(found[2]), int(found[3])) if found[2] else None
        parts.append(Part(found[1], levels, int(found[4] or 1)))
    return tuple(parts)


def make_mix(
    text: str, split: str, *, size: int | None, seed: int, make_family: MakeFamily
) -> ProblemSet:
    """Generate different problems of a mixture; the parts take turns by their weights.

    Args:
        text: The parts, as in `read_parts`.
        split: The split of every part.
        size: Number of problems in total; None is the default size of the split.
        seed: Determines the problems of each part.
        make_family: Generates the problems of one part.

    Raises:
        ConfigError: The text does not describe a mixture, or its weights sum to more than `size`.
    """
    parts = read_parts(text)
    # Unknown splits take any size here: the families refuse them.
    total = DEFAULT_SIZE.get(split, DEFAULT_SIZE["test"]) if size is None else size
    turns = [index for index, part in enumerate(parts) for _ in range(part.weight)]
    if total < len(turns):
        raise ConfigError(
            f"size of mix:{text} must be at least {len(turns)}, the sum of its weights, got "
            f"{total!r}"
        )
    rounds = math.ceil(total / len(turns))
    weights = Counter[str]()
    for part in parts:
        weights[part.family] += part.weight
    sets = [
        # Parts of one family may draw the same problem, although different seeds make that rare:
        # each part has enough problems to leave out those of the other parts.
        make_family(
            part.family, split, rounds * weights[part.family], part.levels, seed + 1000 * index
        )
        for index, part in enumerate(parts)
    ]
    queues = [iter(problems) for problems in sets]
    problems: dict[str, tuple[int, Problem]] = {}
    for index in itertools.islice(itertools.cycle(turns), total):
        problem = next(item for item in queues[index] if item.question not in problems)
        problems[problem.question] = (index, problem)
    named = tuple(
        replace(problem, problem_id=f"mix/{split}/{place}")
        for place, (_, problem) in enumerate(problems.values())
    )
    return ProblemSet(f"mix:{text}", named, _checker(sets, problems))


def _checker(
    sets: Sequence[ProblemSet], problems: dict[str, tuple[int, Problem]]
) -> Callable[[Problem, Sequence[str]], int | None] | None:
    """Combine the step checkers of the parts; None if a part has none."""
    checkers = [part.checker for part in sets]
    if not all(checkers):
        return None

    def first_wrong_step(problem: Problem, steps: Sequence[str]) -> int | None:
        checker = checkers[problems[problem.question][0]]
        assert checker is not None, "every part has a step checker"
        return checker(problem, steps)

    return first_wrong_step
