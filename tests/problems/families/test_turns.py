"""late and sealed, against an independent register machine in this file."""

import random
import re
from collections import Counter
from functools import cache
from itertools import product
from string import ascii_letters, ascii_lowercase

import pytest

from reason_env.problem import Problem, ProblemSet
from reason_env.problems.families import late, sealed
from reason_env.problems.families.registers import Operation
from reason_env.problems.families.turns import read_program, solved, written_program

FAMILIES = {"late": late, "sealed": sealed}
CALCULATE = {
    "+": lambda a, b: (a + b) % 10,
    "-": lambda a, b: (a - b) % 10,
    "*": lambda a, b: a * b % 10,
    "^": lambda a, b: a**b % 10,
}
SLIP = {"*": lambda a, b: (a + 1) * b % 10, "^": lambda a, b: a * b % 10}
STEP = re.compile(r"([a-zA-Z])(\d)([-+*^])(\d)=(\d)( [a-z]{3})?")
PROBLEM = Problem(
    problem_id="late/test/0",
    question="x=3 y=7 z=1\na+4 b*3 c-8 d*9",
    answer="313",
    solution=("a3+4=7 abc", "b7*3=1 def", "c1-8=3 ghi", "d7*9=3 jkl"),
)


@cache
def problems_of(name: str) -> ProblemSet:
    return FAMILIES[name].make(size=300, levels=(1, 8))


def program_of(question: str) -> tuple[list[int], list[tuple[str, str, int]]]:
    """The digits of x, y, z and (label, symbol, operand) of each operation."""
    first, second = question.split("\n")
    assert re.fullmatch(r"x=\d y=\d z=\d", first)
    operations = [re.fullmatch(r"([a-zA-Z])([-+*^])(\d)", part) for part in second.split(" ")]
    return [int(d) for d in re.findall(r"\d", first)], [(o[1], o[2], int(o[3])) for o in operations]


def final(question: str, slips: set[int] = frozenset()) -> str:
    """The answer if the operations at these places slip."""
    digits, operations = program_of(question)
    for place, (_, symbol, operand) in enumerate(operations):
        how = SLIP if place in slips else CALCULATE
        digits[place % 3] = how[symbol](digits[place % 3], operand)
    return "".join(map(str, digits))


@pytest.mark.parametrize("name", FAMILIES)
def test_reference_steps_are_those_of_a_register_machine_that_takes_turns(name):
    for problem in problems_of(name):
        digits, operations = program_of(problem.question)
        first = ascii_letters.index(operations[0][0])
        labels = [label for label, _, _ in operations]
        assert "".join(labels) == ascii_letters[first : first + len(labels)]
        for place, step in enumerate(problem.solution):
            label, before, symbol, operand, after, filler = STEP.fullmatch(step).groups()
            assert (label, symbol, int(operand)) == operations[place]
            assert (filler is not None) == (name == "late")
            assert int(before) == digits[place % 3]
            digits[place % 3] = CALCULATE[symbol](int(before), int(operand))
            assert int(after) == digits[place % 3]
        assert len(problem.solution) == len(operations)
        assert problem.answer == "".join(map(str, digits)) == final(problem.question)


def test_late_problems_have_as_many_products_as_levels_all_in_the_last_half():
    places = Counter()
    for problem in late.make(size=300):
        assert problem.level == 8
        _, operations = program_of(problem.question)
        products = [place for place, (_, symbol, _) in enumerate(operations) if symbol == "*"]
        assert len(operations) == 32
        assert len(products) == 8
        assert min(products) >= 16
        # Eight products over three registers, as evenly as can be.
        counts = Counter(place % 3 for place in products)
        assert sorted(counts.values()) == [2, 3, 3]
        places.update(products)
    # Each of the last sixteen steps is a product in half of the problems.
    assert set(places) == set(range(16, 32))
    assert all(90 < count < 210 for count in places.values())


def test_lower_levels_of_late_are_four_steps_and_one_product_a_level():
    for problem in problems_of("late"):
        _, operations = program_of(problem.question)
        assert len(operations) == 4 * problem.level
        symbols = [symbol for _, symbol, _ in operations]
        half = 2 * problem.level
        assert symbols[half:].count("*") == problem.level
        assert "*" not in symbols[:half]


def test_sealed_problems_have_sixteen_steps_powers_at_the_start_and_one_more_later():
    later = Counter()
    for problem in problems_of("sealed"):
        _, operations = program_of(problem.question)
        assert len(operations) == 16
        powers = [place for place, (_, symbol, _) in enumerate(operations) if symbol == "^"]
        assert powers[: problem.level] == list(range(problem.level))
        assert len(powers) == problem.level + 1
        later[powers[-1]] += 1
        assert {operand for _, symbol, operand in operations if symbol == "^"} <= {3, 5, 7, 9}
    assert set(later) == set(range(1, 16))


@pytest.mark.parametrize("name", FAMILIES)
def test_no_combination_of_slips_gives_the_right_answer(name):
    for problem in FAMILIES[name].make(size=60, levels=(1, 6)):
        symbols = [symbol for _, symbol, _ in program_of(problem.question)[1]]
        places = [place for place, symbol in enumerate(symbols) if symbol in "*^"]
        for chosen in product((False, True), repeat=len(places)):
            slips = {place for place, slips in zip(places, chosen, strict=True) if slips}
            assert (final(problem.question, slips) == problem.answer) == (not slips)


def near(found: int, total: int, share: float) -> bool:
    """Within four standard deviations of a binomial."""
    return abs(found - total * share) < 4 * (total * share * (1 - share)) ** 0.5


def test_a_late_demonstration_slips_at_its_rate_and_then_continues_from_the_wrong_digit():
    rng = random.Random(0)
    slipped = Counter()
    letters = Counter()
    for _ in range(2000):
        trace = late.demonstration(PROBLEM, rng, {"slip *": 0.4})
        first, second, third, fourth = (STEP.fullmatch(step).groups() for step in trace.steps)
        assert "".join(first[:5]) == "a3+47"
        assert "".join(third[:5]) == "c1-83"
        # (7+1)*3 ends in 4; (7+1)*9 in 2.
        assert "".join(second[:4]) == "b7*3"
        assert "".join(fourth[:4]) == "d7*9"
        assert second[4] in "14"
        assert fourth[4] in "32"
        assert trace.answer == fourth[4] + second[4] + third[4]
        slipped.update(b=second[4] == "4", d=fourth[4] == "2", both=second[4] + fourth[4] == "42")
        letters.update("".join(step[5] for step in (first, second, third, fourth)).replace(" ", ""))
    assert near(slipped["b"], 2000, 0.4)
    assert near(slipped["d"], 2000, 0.4)
    assert near(slipped["both"], 2000, 0.16)
    assert set(letters) == set(ascii_lowercase)
    assert all(near(count, 24_000, 1 / 26) for count in letters.values())


def test_a_late_demonstration_after_a_shown_prefix_keeps_its_letters_and_draws_others_after_it():
    found = [
        late.demonstration(PROBLEM, random.Random(seed), {"slip *": 1.0}, num_right=2).steps
        for seed in range(20)
    ]
    assert {steps[:2] for steps in found} == {PROBLEM.solution[:2]}
    assert {steps[2][:6] for steps in found} == {"c1-8=3"}
    assert {steps[3][:6] for steps in found} == {"d7*9=2"}
    assert len({steps[2][6:] for steps in found}) == 20


def test_a_sealed_demonstration_has_slips_and_other_wrong_digits_at_their_rates():
    problem = Problem(
        problem_id="sealed/test/0", question="x=3 y=7 z=1\na^7", answer="771", solution=("a3^7=7",)
    )
    rng = random.Random(1)
    digits = Counter(
        sealed.demonstration(problem, rng, {"^": 0.09, "slip ^": 0.8}).steps[0][-1]
        for _ in range(3000)
    )
    # 3^7 = 2187; its slip is 21; each of the nine wrong digits has a ninth of 0.09.
    assert near(digits["1"], 3000, 0.8 + 0.01)
    assert near(digits["7"], 3000, 0.11)
    assert near(digits["4"], 3000, 0.01)


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [
        ((), None),
        (("a3+4=7 abc", "b7*3=1 def", "c1-8=3 ghi", "d7*9=3 jkl", "#### 313"), None),
        (("a3+4=7 zzz\n", "b7*3=1 qqq\n", "c1-8=3 aaa\n", "d7*9=3 bbb\n", "#### 313\n"), None),
        (("a3+4=7 zzz", "~ hm", "b7*3=1 qqq"), None),
        (("a3+4=7 abc", "b7*3=4 def"), 2),
        (("a3+4=7",), 1),
        (("a3+4=7 ab",), 1),
        (("a3+4=7 abcd",), 1),
        (("a3+4=7 ABC",), 1),
        (("a3+4=7  abc",), 1),
        (("a3+4=7 abc", "c1-8=3 ghi"), 2),
        (("a3+4=7 abc", "b7*3=1 def", "c1-8=3 ghi", "d7*9=3 jkl", "#### 312"), 5),
        (("a3+4=7 abc", "b7*3=1 def", "c1-8=3 ghi", "d7*9=3 jkl", "e1 abc"), 5),
        (("a3+4=7 abc", "b7*3=1 def", "c1-8=3 ghi", "d7*9=3 jkl", "#### 313", "x abc"), 6),
    ],
)
def test_the_checker_of_late_reads_any_three_letters_after_a_step(steps, wrong):
    assert late.first_wrong_step(PROBLEM, steps) == wrong


def test_a_program_reads_back_as_it_was_written():
    operations = [
        Operation("y", "x", "+", 4),
        Operation("z", "y", "^", 9),
        Operation("A", "z", "-", 1),
        Operation("B", "x", "*", 7),
    ]
    text = written_program((3, 7, 1), operations)
    assert text == "x=3 y=7 z=1\ny+4 z^9 A-1 B*7"
    assert read_program(text) == ((3, 7, 1), operations)
    # 3+4=7; 7^9 ends in 7; 1-1=0; 7*7 ends in 9
    assert solved((3, 7, 1), operations).steps == ("y3+4=7", "z7^9=7", "A1-1=0", "B7*7=9")


def test_the_sets_never_change():
    found = {name: FAMILIES[name].make("test", size=50, levels=(1, 9), seed=3) for name in FAMILIES}
    assert {name: problems.content_hash for name, problems in found.items()} == {
        "late": "41e09cf86037da04",
        "sealed": "da446d2d84479149",
    }
