"""Three one-digit registers x, y, z and a list of labelled operations: a world of three families.

`chain` and `unlock` run a program forwards, `inverse` undoes it. Arithmetic keeps the last digit,
so every operation is one look-up in a 10 x 10 table, and a step is either right or a wrong choice:
nothing in it is hard to *say*. The answer is the three digits in a row (1,000 possibilities).

A trace with `error_rates` is a demonstration in which each step of an operation is wrong with a
known probability and everything after it follows from the wrong digit. Two kinds of error: any of
the nine wrong digits, or the one *slip* that tempts: a power taken for a product, any other
operation carried out on the next digit.
"""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reason_env.problems.families.family import Trace

REGISTERS = "xyz"
LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SLIP = "slip "
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
            case "^":
                return pow(digit, self.operand, 10)
            case _:
                return digit * pow(self.operand, -1, 10) % 10

    def slip(self, digit: int) -> int:
        """Returns the tempting wrong digit (of some powers, the right one)."""
        if self.symbol == "^":
            return digit * self.operand % 10
        return self.apply((digit + 1) % 10)


def run(
    digits: Sequence[int],
    operations: Sequence[Operation],
    *,
    error_rates: Mapping[str, float] | None = None,
    rng: random.Random | None = None,
    num_right: int = 0,
) -> Trace:
    """Returns the trace of `operations` from the registers' `digits`.

    Args:
        digits: x, y and z, each 0..9.
        operations: In the order in which they are carried out.
        error_rates: Probability, by symbol, that a step writes one of the nine wrong digits; under
            "slip *" (and so on), that it writes the symbol's slip.
        rng: Draws the errors; needed with `error_rates`, and with them only.
        num_right: The first steps, which have no errors.

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
        written = f"{operation.label}:{before}{operation.symbol}{operation.operand}"
        steps.append(f"{written} {operation.register}={after}")
    return Trace(tuple(steps), "".join(str(values[name]) for name in REGISTERS))


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
    """Returns whether one or more slips of `symbol` can still lead to the right answer.

    3^3 taken for 3*3 shows; where y is 0, 0*3 is 0^3 and does not. Registers do not touch each
    other, so each is looked at alone.

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
    """Returns `level` random operations; a third of them, at least one, multiply.

    Multiplications take turns on the registers, so that errors seldom cancel. Labels are
    consecutive letters from a random one, so that none tells a position. `padding` is how many
    sums there are more, anywhere.
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
    """Returns a random addition or subtraction."""
    return Operation(label, rng.choice(REGISTERS), rng.choice("+-"), rng.randint(1, 9))


def draw_labels(count: int, rng: random.Random) -> str:
    """Returns consecutive letters from a random one."""
    first = rng.randint(0, len(LABELS) - count)
    return LABELS[first : first + count]


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
