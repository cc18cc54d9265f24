"""Three one-digit registers x, y, z and a list of labelled operations: the world of two families.

`chain` runs a program forwards, `inverse` undoes it. Arithmetic keeps the last digit, so every
operation is one look-up in a 10 x 10 table and a step is either right or a wrong choice: nothing
in it is hard to *say*. The answer is the three digits in a row (1,000 possibilities).

A trace with `error_rates` is a demonstration in which each step of an operation is wrong with a
known probability and everything after it follows from the wrong digit.
"""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem, ProblemSet, StepChecker

REGISTERS = "xyz"
LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SPLITS = ("train", "validation", "test")
INVERSE_OF = {"+": "-", "-": "+", "*": "/"}


@dataclass(frozen=True, slots=True)
class Operation:
    """One labelled operation on one register, with a one-digit operand."""

    label: str
    register: str
    symbol: str
    operand: int

    def __str__(self) -> str:
        return f"{self.label}:{self.register}{self.symbol}{self.operand}"

    @property
    def undone(self) -> "Operation":
        """The operation that takes the register back."""
        return Operation(self.label, self.register, INVERSE_OF[self.symbol], self.operand)

    def apply(self, digit: int) -> int:
        """Returns the register's next digit; division is by digits coprime to ten."""
        match self.symbol:
            case "+":
                return (digit + self.operand) % 10
            case "-":
                return (digit - self.operand) % 10
            case "*":
                return digit * self.operand % 10
            case _:
                return digit * pow(self.operand, -1, 10) % 10


@dataclass(frozen=True, slots=True)
class Trace:
    """A written-out run: its steps without delimiters, and the answer it arrives at."""

    steps: tuple[str, ...]
    answer: str


def run(
    digits: Sequence[int],
    operations: Sequence[Operation],
    *,
    error_rates: Mapping[str, float] | None = None,
    rng: random.Random | None = None,
) -> Trace:
    """Returns the trace of `operations` from the registers' `digits`.

    Args:
        digits: x, y and z, each 0..9.
        operations: In the order in which they are carried out.
        error_rates: Probability, by symbol, that a step writes one of the nine wrong digits.
        rng: Draws the errors; needed with `error_rates`, and with them only.

    >>> run((3, 7, 1), [Operation("A", "x", "+", 4), Operation("B", "y", "*", 3)])
    Trace(steps=('A:3+4 x=7', 'B:7*3 y=1'), answer='711')
    """
    assert (error_rates is None) == (rng is None), "error_rates and rng come together"
    values = dict(zip(REGISTERS, digits, strict=True))
    steps: list[str] = []
    for operation in operations:
        before = values[operation.register]
        after = operation.apply(before)
        if error_rates and rng and rng.random() < error_rates.get(operation.symbol, 0.0):
            after = (after + rng.randint(1, 9)) % 10
        values[operation.register] = after
        written = f"{operation.label}:{before}{operation.symbol}{operation.operand}"
        steps.append(f"{written} {operation.register}={after}")
    return Trace(tuple(steps), "".join(str(values[name]) for name in REGISTERS))


def draw_operations(level: int, multipliers: Sequence[int], rng: random.Random) -> list[Operation]:
    """Returns `level` random operations; a third of them multiply, by one of `multipliers`."""
    operations: list[Operation] = []
    for label in LABELS[:level]:
        symbol = rng.choice("+-*")
        operand = rng.choice(multipliers) if symbol == "*" else rng.randint(1, 9)
        operations.append(Operation(label, rng.choice(REGISTERS), symbol, operand))
    return operations


def written_registers(digits: Sequence[int]) -> str:
    """Returns the registers as the question writes them.

    >>> written_registers((3, 7, 1))
    'x=3 y=7 z=1'
    """
    return " ".join(f"{name}={digit}" for name, digit in zip(REGISTERS, digits, strict=True))


def read_registers(text: str) -> tuple[int, ...]:
    """Returns the digits that `written_registers` wrote."""
    return tuple(int(part[2:]) for part in text.split())


def read_operations(text: str) -> list[Operation]:
    """Returns the operations of a question's list.

    >>> read_operations("A:x+4 B:y*3")[1].undone
    Operation(label='B', register='y', symbol='/', operand=3)
    """
    return [Operation(part[0], part[2], part[3], int(part[4:])) for part in text.split()]


def split_of(question: str) -> str:
    """Returns the one split that a question may be in: disjoint whatever the seeds.

    Four fifths of all questions are for training, a tenth each for validation and test.
    """
    bucket = hashlib.sha256(question.encode("utf-8")).digest()[0] % 10
    return "test" if bucket == 9 else "validation" if bucket == 8 else "train"


def make_set(
    family: str,
    split: str,
    *,
    draw: Callable[[int, random.Random], tuple[str, Trace]],
    size: int,
    levels: tuple[int, int],
    seed: int,
    checker: StepChecker,
) -> ProblemSet:
    """Returns `size` different problems of one split, levels taking turns.

    Args:
        family: Its name.
        split: "train", "validation" or "test".
        draw: (level, rng) -> (question, reference trace).
        size: Number of problems.
        levels: Lowest and highest number of operations, both included.
        seed: The only source of chance; the same in every process.
        checker: The family's step checker.

    Raises:
        ConfigError: An unknown split, an impossible level or size.
        ProblemError: The levels do not hold that many different problems.
    """
    if split not in SPLITS:
        raise ConfigError(f"split of {family!r} must be one of {', '.join(SPLITS)}, got {split!r}")
    low, high = levels
    if not 1 <= low <= high <= len(LABELS):
        raise ConfigError(
            f"levels of {family!r} must be low..high within 1..{len(LABELS)}, got {levels!r}"
        )
    if size < 1:
        raise ConfigError(f"size of {family!r} must be at least 1, got {size!r}")
    digest = hashlib.sha256(f"{family}/{split}/{low}-{high}/{seed}".encode()).digest()
    rng = random.Random(int.from_bytes(digest[:8], "big"))
    problems: dict[str, Problem] = {}
    for _ in range(100 * size + 1000):
        level = low + len(problems) % (high - low + 1)
        question, trace = draw(level, rng)
        if split_of(question) != split or question in problems:
            continue
        problems[question] = Problem(
            problem_id=f"{family}/{split}/{len(problems)}",
            question=question,
            answer=trace.answer,
            solution=trace.steps,
            level=level,
            source=f"reason-env family {family!r}, seed {seed}",
        )
        if len(problems) == size:
            return ProblemSet(family, tuple(problems.values()), checker)
    raise ProblemError(
        f"levels {levels!r} of {family!r} must hold {size} different problems, found "
        f"{len(problems)}; ask for fewer or for higher levels"
    )


def first_wrong_step(problem: Problem, steps: Sequence[str]) -> int | None:
    """Returns the 1-based index of the first step that is not the reference's, or None.

    The reference trace is the only right one, so comparing texts is exact. The last expected step
    is the answer line.
    """
    expected = (*problem.solution, f"#### {problem.answer}")
    for index, step in enumerate(steps):
        if index >= len(expected) or step.strip() != expected[index]:
            return index + 1
    return None
