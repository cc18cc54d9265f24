import math
import random
import re
from collections import Counter
from functools import cache

import pytest

from reason_env.problem import ProblemSet
from reason_env.problems.families import precedence

READINGS = ("right", "first", "last", "sums")


@cache
def problems() -> ProblemSet:
    return precedence.make(size=600)


def rows_of(question: str) -> dict[str, str]:
    return dict(part.split("=") for part in question.split(" "))


def calculate(left: int, symbol: str, right: int) -> int:
    return {"+": left + right, "-": left - right, "*": left * right}[symbol]


def from_the_left(text: str) -> int:
    value, *rest = re.split(r"([-+*])", text)
    result = int(value)
    for symbol, digit in zip(rest[::2], rest[1::2], strict=True):
        result = calculate(result, symbol, int(digit))
    return result


def from_the_right(text: str) -> int:
    if len(text) == 1:
        return int(text)
    return calculate(int(text[0]), text[1], from_the_right(text[2:]))


def products_first(text: str) -> int:
    terms = re.findall(r"([-+]?)([^-+]+)", text)
    return sum((-1 if s == "-" else 1) * math.prod(map(int, t.split("*"))) for s, t in terms)


def sums_first(text: str) -> int:
    return math.prod(from_the_left(part) for part in text.split("*"))


def answer(question: str, evaluate) -> str:
    # The last digits form a ring: cutting at each step or at the end is the same.
    return "".join(str(evaluate(row) % 10) for row in rows_of(question).values())


def answers(question: str) -> list[str]:
    ways = (products_first, from_the_left, from_the_right, sums_first)
    return [answer(question, way) for way in ways]


def test_the_four_evaluators_of_this_file_agree_with_hand_computed_values():
    ways = (products_first, from_the_left, from_the_right, sums_first)
    # 9-(2*3)+4=7, ((9-2)*3)+4=25, 9-(2*(3+4))=-5, (9-2)*(3+4)=49
    assert [way("9-2*3+4") for way in ways] == [7, 25, -5, 49]


def test_the_four_readings_have_four_answers_and_the_reference_is_pythons():
    for problem in problems():
        found = answers(problem.question)
        assert problem.answer == found[0]
        assert len(set(found)) == 4
        rows = precedence.read_rows(problem.question)
        assert [precedence.solved(rows, reading).answer for reading in READINGS] == found


def test_each_reference_step_carries_out_the_first_product_or_else_the_first_operation():
    for problem in problems():
        steps = iter(problem.solution)
        for name, start in rows_of(problem.question).items():
            row = start
            while len(row) > 1:
                pattern = r"(\d)(\*)(\d)" if "*" in row else r"^(\d)([-+])(\d)"
                row = re.sub(
                    pattern,
                    lambda m: str(calculate(int(m[1]), m[2], int(m[3])) % 10),
                    row,
                    count=1,
                )
                assert next(steps) == f"{name}={row}"
        assert next(steps, None) is None


def test_the_number_of_operations_is_the_levels_and_is_spread_over_three_rows():
    expected = {1: 6, 2: 7, 3: 7, 4: 8, 5: 9, 6: 9, 7: 10, 8: 11, 9: 11, 10: 12}
    seen = set()
    for problem in problems():
        rows = rows_of(problem.question)
        sizes = [len(row) // 2 for row in rows.values()]
        assert list(rows) == ["x", "y", "z"]
        assert all(re.fullmatch(r"[1-9]([-+*][1-9])+", row) for row in rows.values())
        assert sum(sizes) == len(problem.solution) == expected[problem.level]
        assert precedence.num_operations(problem.level) == expected[problem.level]
        assert max(sizes) - min(sizes) <= 1
        seen.add(tuple(sizes))
    assert {(2, 2, 3), (2, 3, 2), (3, 2, 2)} <= seen


SHARES = {"first": 0.5, "last": 0.3, "sums": 0.2}


@pytest.mark.parametrize(
    ("level", "right"),
    [(1, 0.3), (2, 0.2), (3, 0.1), (4, 0.05), (6, 0.01), (7, 0.004), (10, 0.004)],
)
def test_demonstrations_follow_one_reading_by_the_share_of_its_level(level, right):
    rng = random.Random(level)
    counts = Counter()
    chosen = precedence.make(size=30, levels=(level, level))
    for problem in chosen:
        names = dict(zip(answers(problem.question), READINGS, strict=True))
        for _ in range(50):
            counts[names[precedence.demonstration(problem, rng, SHARES).answer]] += 1
    for name in READINGS:
        share = right if name == "right" else (1 - right) * SHARES[name]
        # Four standard deviations of a binomial share.
        assert abs(counts[name] - 1500 * share) <= 4 * (1500 * share * (1 - share)) ** 0.5 + 1


def test_the_share_of_the_right_reading_can_be_given():
    rng = random.Random(0)
    rates = {"right": 0.6, "last": 2.0}
    counts = Counter(
        answers(problem.question).index(precedence.demonstration(problem, rng, rates).answer)
        for problem in problems()
    )
    assert set(counts) == {0, 2}
    assert abs(counts[0] - 360) < 4 * (600 * 0.6 * 0.4) ** 0.5


def test_rates_without_a_wrong_reading_are_a_programming_error():
    with pytest.raises(AssertionError, match="rates must give a wrong reading a share"):
        precedence.demonstration(problems()[0], random.Random(0), {"digit": 0.1})


def test_digit_errors_have_their_rate_and_all_nine_offsets():
    rng = random.Random(3)
    offsets = Counter()
    for problem in problems():
        trace = precedence.demonstration(problem, rng, {"right": 1.0, "first": 1.0, "digit": 0.2})
        for name, start in rows_of(problem.question).items():
            row = start
            for step in [step for step in trace.steps if step[0] == name]:
                after = step[2:]
                offsets[(products_first(after) - products_first(row)) % 10] += "*" not in row
                row = after
    total = sum(offsets.values())
    assert total > 1500
    wrong = total - offsets[0]
    assert abs(wrong - 0.2 * total) < 4 * (0.16 * total) ** 0.5
    assert all(abs(offsets[k] - wrong / 9) < 4 * (wrong * 8 / 81) ** 0.5 for k in range(1, 10))
