"""Three one-digit registers x, y, z and a list of labelled operations, shared by five families.

`chain`, `unlock`, `late` and `sealed` run the operations, `inverse` undoes them. Arithmetic keeps
the last digit, so that every operation is a look-up in a 10 x 10 table. The answer is the three
digits in a row (1,000 possibilities).

With `error_rates`, each step is wrong with a known probability, and later steps continue from the
wrong digit. There are two kinds of error: one of the nine wrong digits, or the *slip*, one tempting
digit: a power computed as a product, any other operation applied to the next digit.
"""

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reason_env.problem import Problem
from reason_env.problems.families.family import Trace

REGISTERS = "xyz"
LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SLIP = "slip "
INVERSE_OF = {"+": "-", "-": "+", "*": "/"}


@dataclass(frozen=True, slots=True)
class Operation:
    """A labelled operation on one register, with a one-digit operand."""

    label: str
    register: str
    symbol: str
    operand: int

    def __str__(self) -> str:
        return f"{self.label}:{self.register}{self.symbol}{self.operand}"

    @property
    def undone(self) -> "Operation":
        """The inverse operation."""
        return Operation(self.label, self.register, INVERSE_OF[self.symbol], self.operand)

    def apply(self, digit: int) -> int:
        """Compute the register's next digit; divisors are coprime to ten."""
        match self.symbol:
            case "+":
                return (digit + self.operand) % 10
            case "-":
                return (digit - self.operand) % 10
            case "*":
                return digit * self.operand % 10
            case "^":
                return pow(digit, self.operand, 10)
            case _:
                return digit * pow(self.operand, -1, 10) % 10

    def slip(self, digit: int) -> int:
        """Compute the tempting digit; for some powers it is the right one."""
        if self.symbol == "^":
            return digit * self.operand % 10
        return self.apply((digit + 1) % 10)


def written_step(operation: Operation, before: int, after: int) -> str:
    """Write a step with the register that it changes.

    >>> written_step(Operation("A", "x", "+", 4), 3, 7)
    'A:3+4 x=7'
    """
    done = f"{operation.label}:{before}{operation.symbol}{operation.operand}"
    return f"{done} {operation.register}={after}"


def run(
    digits: Sequence[int],
    operations: Sequence[Operation],
    *,
    error_rates: Mapping[str, float] | None = None,
    rng: random.Random | None = None,
    num_right: int = 0,
    written: Callable[[Operation, int, int], str] = written_step,
) -> Trace:
    """Run `operations` on registers that begin with `digits`.

    Args:
        digits: x, y and z, each 0..9.
        operations: The program's operations, in order of execution.
        error_rates: Symbol -> probability that a step writes one of the nine wrong digits;
            "slip *" and so on -> probability that it writes the symbol's slip.
        rng: Draws the errors; given if and only if `error_rates` is.
        num_right: Number of first steps without errors.
        written: (operation, digit before, digit after) -> the text of a step.

    >>> run((3, 7, 1), [Operation("A", "x", "+", 4), Operation("B", "y", "*", 3)])
    Trace(steps=('A:3+4 x=7', 'B:7*3 y=1'), answer='711')
    """
    assert (error_rates is None) == (rng is None), "error_rates and rng come together"
    values = dict(zip(REGISTERS, digits, strict=True))
    steps: list[str] = []
    for operation in operations:
        before = values[operation.register]
        after = operation.apply(before)
        if error_rates and rng and len(steps) >= num_right:
            after = _noisy(operation, before, after, error_rates, rng)
        values[operation.register] = after
        steps.append(written(operation, before, after))
    return Trace(tuple(steps), "".join(str(values[name]) for name in REGISTERS))


def demonstration(
    problem: Problem, rng: random.Random, rates: Mapping[str, float], *, num_right: int = 0
) -> Trace:
    """Run the operations of a question with errors at these rates, as in `run`."""
    registers, operations = problem.question.split("\n")
    return run(
        read_registers(registers),
        read_operations(operations),
        error_rates=rates,
        rng=rng,
        num_right=num_right,
    )


def _noisy(
    operation: Operation,
    before: int,
    right: int,
    rates: Mapping[str, float],
    rng: random.Random,
) -> int:
    chance = rng.random()
    blur = rates.get(operation.symbol, 0.0)
    if chance < blur:
        return (right + rng.randint(1, 9)) % 10
    if chance < blur + rates.get(SLIP + operation.symbol, 0.0):
        return operation.slip(before)
    return right


def slips_can_cancel(digits: Sequence[int], operations: Sequence[Operation], symbol: str) -> bool:
    """Decide whether one or more slips of `symbol` can still lead to the right answer.

    3*3 instead of 3^3 changes the answer; 0*3 instead of 0^3 does not. Registers are independent.

    >>> power = Operation("A", "y", "^", 3)
    >>> slips_can_cancel((0, 3, 0), [power], "^"), slips_can_cancel((0, 0, 0), [power], "^")
    (False, True)
    """
    for register, digit in zip(REGISTERS, digits, strict=True):
        right, slipped = digit, set[int]()
        for operation in operations:
            if operation.register != register:
                continue
            tempting = {*slipped, right} if operation.symbol == symbol else set[int]()
            slipped = {operation.apply(value) for value in slipped}
            slipped |= {operation.slip(value) for value in tempting}
            right = operation.apply(right)
        if right in slipped:
            return True
    return False


def draw_operations(
    level: int, multipliers: Sequence[int], rng: random.Random, padding: int = 0
) -> list[Operation]:
    """Draw `level` operations, a third of them (at least one) products, and `padding` more sums.

    Products use the registers in turn, so that errors seldom cancel. Labels are consecutive letters
    from a random one, so that a label does not reveal a position.
    """
    length = level + padding
    critical = set(rng.sample(range(length), max(1, round(level / 3))))
    turns = itertools.cycle(rng.sample(REGISTERS, len(REGISTERS)))
    operations: list[Operation] = []
    for index, label in enumerate(draw_labels(length, rng)):
        if index in critical:
            operations.append(Operation(label, next(turns), "*", rng.choice(multipliers)))
        else:
            operations.append(draw_sum(label, rng))
    return operations


def draw_sum(label: str, rng: random.Random) -> Operation:
    """Draw a random addition or subtraction."""
    return Operation(label, rng.choice(REGISTERS), rng.choice("+-"), rng.randint(1, 9))


def draw_labels(count: int, rng: random.Random) -> str:
    """Draw consecutive letters from a random one."""
    first = rng.randint(0, len(LABELS) - count)
    return LABELS[first : first + count]


def written_registers(digits: Sequence[int]) -> str:
    """Write the registers as in a question.

    >>> written_registers((3, 7, 1))
    'x=3 y=7 z=1'
    """
    return " ".join(f"{name}={digit}" for name, digit in zip(REGISTERS, digits, strict=True))


def read_registers(text: str) -> tuple[int, ...]:
    """Read the digits back from `written_registers`."""
    return tuple(int(part[2:]) for part in text.split())


def read_operations(text: str) -> list[Operation]:
    """Read the list of operations of a question.

    >>> read_operations("A:x+4 B:y*3")[1].undone
    Operation(label='B', register='y', symbol='/', operand=3)
    """
    return [Operation(part[0], part[2], part[3], int(part[4:])) for part in text.split()]
