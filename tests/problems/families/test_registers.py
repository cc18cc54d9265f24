"""chain, inverse and unlock, against an independent register machine in this file."""

import random
import re
from collections import Counter
from functools import cache

import pytest

from reason_env.problem import Problem, ProblemSet
from reason_env.problems.families import chain, inverse, unlock
from reason_env.problems.families.registers import LABELS, Operation, run, slips_can_cancel

FAMILIES = {"chain": chain, "inverse": inverse, "unlock": unlock}
NAMES = sorted(FAMILIES)
CALCULATE = {
    "+": lambda a, b: (a + b) % 10,
    "-": lambda a, b: (a - b) % 10,
    "*": lambda a, b: a * b % 10,
    "^": lambda a, b: a**b % 10,
    "/": lambda a, b: next(c for c in range(10) if c * b % 10 == a),
}
UNDO = {"+": "-", "-": "+", "*": "/"}
STEP = re.compile(r"([A-Z]):(\d)([-+*/^])(\d) ([xyz])=(\d)")


@cache
def problems_of(name: str) -> ProblemSet:
    return FAMILIES[name].make(size=900)


def parsed(problem: Problem, name: str) -> tuple[dict[str, int], list[tuple[str, str, str, int]]]:
    """Reads a question on its own: the stated registers and (label, register, symbol, operand)."""
    first, second = problem.question.split("\n")
    operations, registers = (first, second) if name == "inverse" else (second, first)
    stated = {name: int(digit) for name, digit in re.findall(r"([xyz])=(\d)", registers)}
    listed = re.findall(r"([A-Z]):([xyz])([-+*^])(\d)(?= |$)", operations)
    assert " ".join(f"{a}:{b}{c}{d}" for a, b, c, d in listed) == operations
    assert registers == " ".join(f"{register}={stated[register]}" for register in "xyz")
    return stated, [(a, b, c, int(d)) for a, b, c, d in listed]


def forward(registers: dict[str, int], operations) -> dict[str, int]:
    values = dict(registers)
    for _, register, symbol, operand in operations:
        values[register] = CALCULATE[symbol](values[register], operand)
    return values


def written(values: dict[str, int]) -> str:
    return "".join(str(values[register]) for register in "xyz")


@pytest.mark.parametrize("name", ["chain", "unlock"])
def test_answers_are_what_the_program_computes(name):
    for problem in problems_of(name):
        stated, operations = parsed(problem, name)
        assert problem.answer == written(forward(stated, operations))


def test_inverse_answers_are_the_only_start_that_leads_to_the_stated_end():
    for problem in problems_of("inverse"):
        stated, operations = parsed(problem, "inverse")
        # The registers do not touch each other: each is searched on its own.
        ends = [forward(dict.fromkeys("xyz", digit), operations) for digit in range(10)]
        starts = {
            register: [digit for digit in range(10) if ends[digit][register] == stated[register]]
            for register in "xyz"
        }
        assert starts == {
            register: [int(problem.answer["xyz".index(register)])] for register in "xyz"
        }


@pytest.mark.parametrize("name", NAMES)
def test_every_reference_step_is_a_true_statement_about_the_register_before_it(name):
    for problem in problems_of(name):
        values, operations = parsed(problem, name)
        if name == "inverse":
            operations = [(a, b, UNDO[c], d) for a, b, c, d in reversed(operations)]
        assert len(problem.solution) == len(operations)
        for step, (label, register, symbol, operand) in zip(
            problem.solution, operations, strict=True
        ):
            after = CALCULATE[symbol](values[register], operand)
            assert step == f"{label}:{values[register]}{symbol}{operand} {register}={after}"
            values[register] = after
        assert written(values) == problem.answer


@pytest.mark.parametrize("name", ["chain", "inverse"])
def test_a_third_of_the_operations_multiply_and_take_turns_on_the_registers(name):
    # round(level / 3), at least one: by hand.
    expected = {1: 1, 2: 1, 4: 1, 5: 2, 8: 3, 12: 4, 13: 4, 14: 5, 26: 9}
    for level, count in expected.items():
        operands = set()
        for problem in FAMILIES[name].make(size=12, levels=(level, level)):
            _, operations = parsed(problem, name)
            assert len(operations) == problem.level == level
            multiplied = [(register, d) for _, register, symbol, d in operations if symbol == "*"]
            assert len(multiplied) == count
            assert len({register for register, _ in multiplied[:3]}) == min(3, count)
            assert all(a[0] == b[0] for a, b in zip(multiplied, multiplied[3:], strict=False))
            operands |= {d for _, d in multiplied}
        assert operands <= ({3, 7, 9} if name == "inverse" else set(range(2, 10)))


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_consecutive_from_any_letter(name):
    firsts = set()
    for problem in problems_of(name):
        labels = "".join(label for label, *_ in parsed(problem, name)[1])
        assert labels in LABELS
        firsts.add(labels[0])
    assert len(firsts) > 15


def test_unlock_begins_with_a_quarter_of_powers_and_has_one_more_after_an_easy_step():
    lengths = {1: 4, 2: 5, 3: 7, 4: 8, 5: 9, 6: 11, 7: 12, 8: 13, 9: 15, 10: 16}
    late = Counter()
    for problem in problems_of("unlock"):
        stated, operations = parsed(problem, "unlock")
        assert len(operations) == lengths[problem.level] == unlock.num_steps(problem.level)
        places = [place for place, (*_, symbol, _) in enumerate(operations) if symbol == "^"]
        quarter = lengths[problem.level] // 4
        assert places[:-1] == list(range(quarter))
        assert quarter < places[-1] < lengths[problem.level]
        late[places[-1] - quarter] += 1
        powers = [operations[place] for place in places]
        assert len({register for _, register, *_ in powers[:3]}) == min(3, len(powers))
        for place, (_, register, _, exponent) in zip(places, powers, strict=True):
            digit = forward(stated, operations[:place])[register]
            assert exponent in (3, 5, 7, 9)
            assert digit**exponent % 10 != digit * exponent % 10
    assert set(late) == set(range(1, 12))


@pytest.mark.parametrize(("name", "critical"), [("inverse", "/"), ("unlock", "^")])
def test_no_choice_of_slips_leads_to_the_right_answer(name, critical):
    for problem in list(problems_of(name))[-120:]:
        values, operations = parsed(problem, name)
        if name == "inverse":
            operations = [(a, b, UNDO[c], d) for a, b, c, d in reversed(operations)]
        places = [place for place, item in enumerate(operations) if item[2] == critical]
        for mask in range(1, 2 ** len(places)):
            slipped = {place for bit, place in enumerate(places) if mask >> bit & 1}
            registers = dict(values)
            for place, (_, register, symbol, operand) in enumerate(operations):
                before = registers[register]
                if place not in slipped:
                    registers[register] = CALCULATE[symbol](before, operand)
                elif critical == "^":
                    registers[register] = before * operand % 10
                else:
                    registers[register] = CALCULATE["/"]((before + 1) % 10, operand)
            assert written(registers) != problem.answer


def test_slips_that_cancel_are_detected():
    # 3*9 for 3^9 leaves 7, not 3; 7*9 for 7^9 leaves 3 again, as two right powers do.
    twice = [Operation(label, "y", "^", 9) for label in "AB"]
    assert slips_can_cancel((1, 3, 1), twice, "^")
    assert not slips_can_cancel((1, 3, 1), twice[:1], "^")
    assert not slips_can_cancel((1, 3, 1), twice, "*")
    # Registers are apart: one slip each on y and z does not cancel.
    apart = [Operation("A", "y", "^", 9), Operation("B", "z", "^", 9)]
    assert not slips_can_cancel((1, 3, 3), apart, "^")


@pytest.mark.parametrize("exponent", unlock.EXPONENTS)
def test_a_power_maps_digits_one_to_one(exponent):
    assert sorted(digit**exponent % 10 for digit in range(10)) == list(range(10))


@pytest.mark.parametrize(
    ("symbol", "digit", "operand", "right", "slip"),
    [
        ("+", 8, 4, 2, 3),
        ("-", 2, 5, 7, 8),
        ("*", 7, 3, 1, 4),  # 8*3
        ("/", 1, 7, 3, 6),  # 3*7=21, 6*7=42
        ("^", 2, 3, 8, 6),  # 2*3
        ("^", 5, 7, 5, 5),  # no slip shows
    ],
)
def test_the_slip_of_an_operation_is_the_tempting_digit(symbol, digit, operand, right, slip):
    operation = Operation("A", "x", symbol, operand)
    assert (operation.apply(digit), operation.slip(digit)) == (right, slip)


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("chain", {"+": 0.05, "-": 0.2, "*": 0.3, "slip *": 0.4}),
        ("inverse", {"-": 0.1, "+": 0.03, "/": 0.2, "slip /": 0.5}),
        ("unlock", {"^": 0.2, "slip ^": 0.5, "+": 0.1, "-": 0.05, "slip -": 0.3}),
    ],
)
def test_demonstrations_have_the_error_and_slip_rates_of_each_symbol(name, rates):
    rng = random.Random(7)
    seen, expected, variance = Counter(), Counter(), Counter()
    total, others = Counter(), Counter()
    for problem in problems_of(name):
        trace = FAMILIES[name].demonstration(problem, rng, rates)
        values, _ = parsed(problem, name)
        for step in trace.steps:
            _, before, symbol, operand, register, after = STEP.fullmatch(step).groups()
            assert int(before) == values[register]  # what follows an error follows from it
            values[register] = int(after)
            right = CALCULATE[symbol](int(before), int(operand))
            slip = (
                int(before) * int(operand) % 10
                if symbol == "^"
                else CALCULATE[symbol]((int(before) + 1) % 10, int(operand))
            )
            total[symbol] += 1
            blur, slips = rates.get(symbol, 0.0), rates.get(f"slip {symbol}", 0.0)
            shows = slip != right
            chances = {"wrong": blur + slips * shows, "slip": (blur / 9 + slips) * shows}
            found = {"wrong": int(after) != right, "slip": shows and int(after) == slip}
            for kind, chance in chances.items():
                seen[symbol, kind] += found[kind]
                expected[symbol, kind] += chance
                variance[symbol, kind] += chance * (1 - chance)
            if int(after) not in (right, slip):
                others[(int(after) - right) % 10] += 1
        assert trace.answer == written(values)
    assert min(total.values()) > 900
    for key, mean in expected.items():
        # Four standard deviations of the sum of independent trials.
        assert abs(seen[key] - mean) <= 4 * variance[key] ** 0.5, key
    assert set(others) == set(range(1, 10))


def test_errors_need_their_generator():
    operations = [Operation("A", "x", "+", 4)]
    with pytest.raises(AssertionError, match="error_rates and rng come together"):
        run((3, 7, 1), operations, error_rates={"+": 1.0})
    noisy = run((3, 7, 1), operations, error_rates={"+": 1.0}, rng=random.Random(0))
    assert noisy.answer != "771"
    assert noisy.answer[1:] == "71"


@pytest.mark.parametrize("operand", [1, 3, 7, 9])
def test_undoing_an_operation_restores_every_digit(operand):
    for symbol in "+-*":
        operation = Operation("A", "x", symbol, operand)
        assert [operation.undone.apply(operation.apply(d)) for d in range(10)] == list(range(10))
        assert operation.undone.label == "A"
