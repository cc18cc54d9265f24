import random
from collections import Counter
from functools import cache
from itertools import permutations, product

import pytest

from reason_env.problem import Problem, ProblemSet
from reason_env.problems.families import countdown

PROBLEM = Problem(
    problem_id="countdown/test/0",
    question="31 from 9 3 4",
    answer="3*9+4",
    solution=("3*9=27", "27+4=31"),
)


@cache
def problems() -> ProblemSet:
    return countdown.make(size=400)


def read(question: str) -> tuple[int, list[int]]:
    target, digits = question.split(" from ")
    return int(target), [int(digit) for digit in digits.split(" ")]


def calculate(left: int, symbol: str, right: int) -> int:
    return {"+": left + right, "-": left - right, "*": left * right}[symbol]


def searched(digits: list[int]) -> list[tuple[str, int]]:
    """Every order and choice of operations with its value, if no value leaves 0..99."""
    found = []
    for order in permutations(digits):
        for symbols in product("+-*", *["+-"] * (len(digits) - 2)):
            value, text = order[0], str(order[0])
            for symbol, digit in zip(symbols, order[1:], strict=True):
                value = calculate(value, symbol, digit)
                text += f"{symbol}{digit}"
                if not 0 <= value <= 99:
                    break
            else:
                found.append((text, value))
    return found


def test_the_reference_is_among_what_brute_force_finds_and_its_steps_are_true():
    shapes = {1: (3, 7), 2: (3, 8), 3: (3, 9), 4: (4, 6), 5: (4, 7), 6: (4, 8), 7: (4, 9),
              8: (5, 6), 9: (5, 7), 10: (5, 9)}  # fmt: skip
    highest = Counter()
    for index, problem in enumerate(problems()):
        target, digits = read(problem.question)
        assert 10 <= target <= 99
        assert len(digits) == shapes[problem.level][0]
        assert problem.answer[1] == "*"
        highest[problem.level] = max(highest[problem.level], *digits)
        if index < 60 and len(digits) < 5:
            assert (problem.answer, target) in searched(digits)
        value = int(problem.answer[0])
        places = range(1, len(problem.answer), 2)
        for step, place in zip(problem.solution, places, strict=True):
            symbol, digit = problem.answer[place], int(problem.answer[place + 1])
            after = calculate(value, symbol, digit)
            assert step == f"{value}{symbol}{digit}={after}"
            value = after
        assert value == target
        assert sorted(map(int, problem.answer[::2])) == sorted(digits)
    assert highest == {level: highest for level, (_, highest) in shapes.items()}


def test_attempts_are_what_brute_force_finds_once_each():
    for digits in ([9, 3, 4], [2, 2, 7], [5, 1, 6, 1]):
        found = countdown.attempts_of(digits)
        texts = ["".join(map(str, attempt)) for attempt in found]
        assert len(set(texts)) == len(texts)
        assert set(texts) == {text for text, _ in searched(digits)}
        values = dict(searched(digits))
        assert [countdown.values_of(attempt)[-1] for attempt in found] == [values[t] for t in texts]


def test_random_attempts_are_spread_over_all_of_them():
    rng = random.Random(0)
    counts = Counter(
        "".join(map(str, countdown.random_attempt([9, 3, 4], rng))) for _ in range(4000)
    )
    expected = {text for text, _ in searched([9, 3, 4])}
    assert set(counts) == expected
    mean = 4000 / len(expected)
    assert all(abs(count - mean) < 5 * mean**0.5 for count in counts.values())


def test_without_insight_an_attempt_hits_as_often_as_a_blind_one_and_insight_adds_to_it():
    rng = random.Random(1)
    for insight in (0.0, 0.4):
        hits, mean, variance = 0, 0.0, 0.0
        for problem in countdown.make(size=120, levels=(1, 4)):
            target, digits = read(problem.question)
            values = [value for _, value in searched(digits)]
            chance = insight + (1 - insight) * values.count(target) / len(values)
            mean, variance = mean + 10 * chance, variance + 10 * chance * (1 - chance)
            for _ in range(10):
                trace = countdown.demonstration(
                    problem, rng, {"give up": 1.0, **({"insight": insight} if insight else {})}
                )
                assert len(trace.steps) == len(digits) - 1
                hits += countdown.is_right(problem, trace.answer)
        assert abs(hits - mean) < 4 * variance**0.5


def tries_of(steps) -> list[list[str]]:
    tries: list[list[str]] = [[]]
    for step in steps:
        if step == "no":
            tries.append([])
        else:
            tries[-1].append(step)
    return tries


def test_a_search_gives_up_after_a_miss_at_its_rate_and_always_after_the_sixth():
    rng = random.Random(2)
    given_up = went_on = sixth = 0
    for problem in list(problems()) * 3:
        target, digits = read(problem.question)
        trace = countdown.demonstration(problem, rng, {"give up": 0.3})
        tries = tries_of(trace.steps)
        assert all(len(attempt) == len(digits) - 1 for attempt in tries)
        assert len(tries) <= 6
        ends = [int(attempt[-1].split("=")[1]) for attempt in tries]
        assert target not in ends[:-1]
        assert countdown.is_right(problem, trace.answer) == (ends[-1] == target)
        went_on += len(tries) - 1
        sixth += len(tries) == 6
        given_up += ends[-1] != target and len(tries) < 6
        # Every step is true, so that the answer alone can be wrong.
        wrong = countdown.first_wrong_step(problem, (*trace.steps, f"#### {trace.answer}"))
        assert wrong == (None if ends[-1] == target else len(trace.steps) + 1)
    total = given_up + went_on
    assert total > 1500
    assert sixth > 20
    assert abs(given_up - 0.3 * total) < 4 * (0.21 * total) ** 0.5


def test_the_last_result_of_an_attempt_is_off_by_one_at_its_rate():
    rng = random.Random(4)
    offsets = Counter()
    for problem in list(problems()) * 3:
        trace = countdown.demonstration(problem, rng, {"sum": 0.25, "give up": 0.5})
        wrong = countdown.first_wrong_step(problem, trace.steps)
        first_off = None
        at = 0
        for attempt in tries_of(trace.steps):
            for step in attempt:
                left, after = step.split("=")
                symbol = next(symbol for symbol in "+-*" if symbol in left)
                right = calculate(
                    *(f(p) for f, p in zip((int, str, int), left.partition(symbol), strict=True))
                )
                at += 1
                if step is attempt[-1]:
                    offsets[int(after) - right] += 1
                else:
                    assert int(after) == right
                if first_off is None and int(after) != right:
                    first_off = at
            at += 1  # "no"
        assert wrong == first_off
    total = sum(offsets.values())
    assert set(offsets) == {-1, 0, 1}
    assert abs(offsets[-1] + offsets[1] - 0.25 * total) < 4 * (0.1875 * total) ** 0.5
    # A result of 0 can only be one too high: a little more than half are.
    assert 0.4 < offsets[1] / (offsets[-1] + offsets[1]) < 0.65


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [
        ((), None),
        (("3*9=27", "27+4=31", "#### 3*9+4"), None),
        (("9*3=27\n", "27+4=31\n", "#### (9*3)+4\n"), None),
        (("9*3=27", "27+4=31", "#### 4 + 9*3"), None),
        # Missed tries are taken back.
        (("3+9=12", "12-4=8", "no", "3*9=27", "27+4=31", "#### 9*3+4"), None),
        (("3+9=12", "no", "9-3=6", "6*4=24", "no"), None),
        (("no", "no", "3*9=27"), None),
        # Without "no" a second try does not continue from the first.
        (("3+9=12", "3*9=27"), 2),
        (("3+9=12", "12-4=8", "3*9=27", "27+4=31"), 3),
        (("3*9=27", "26+4=30"), 2),
        # Digits that are not there, or are used twice.
        (("5*6=30",), 1),
        (("3*8=24",), 1),
        (("3*3=9",), 1),
        (("3*9=27", "27+9=36"), 2),
        (("3*9=27", "27+4=31", "31-4=27"), 3),
        (("4+27=31",), 1),
        # Arithmetic.
        (("3*9=28",), 1),
        (("3+9=12", "no", "3*9=27", "27+4=30", "#### 3*9+4"), 4),
        (("3*9=027",), None),
        (("3-9=-6",), 1),
        (("9-3=6", "6-4=2", "no", "3-4=1"), 4),
        # Answers that miss, or are none.
        (("3*9=27", "27+4=31", "#### 3*9-4"), 3),
        (("#### 31",), 1),
        (("#### 3*9+4", "what comes after is not looked at"), None),
        (("3+9=12", "12-4=8", "#### 3+9-4"), 3),
        (("####",), 1),
        (("#### ",), 1),
        # Asides, and lines that say nothing.
        (("~hm", "3*9=27", "  ~oh", "27+4=31", "~", "#### 3*9+4"), None),
        (("~hm", "3*9=27", "~oh", "27+4=32"), 4),
        (("hm",), 1),
        (("",), 1),
        (("3*9=27 ", "27+4=31!"), 2),
        (("3/9=0",), 1),
        # Hostile.
        (("9" * 5000 + "+3=1",), 1),
        (("3*9=" + "7" * 100_000,), 1),
        (("\u0663*9=27",), 1),
    ],
)
def test_the_checker_finds_the_first_step_that_is_wrong(steps, wrong):
    assert countdown.first_wrong_step(PROBLEM, steps) == wrong


def test_the_same_digit_twice_can_be_used_twice():
    problem = Problem(problem_id="t/0", question="40 from 7 5 5", answer="5*7+5")
    assert countdown.first_wrong_step(problem, ("5*7=35", "35+5=40", "#### 5*7+5")) is None
    assert countdown.first_wrong_step(problem, ("5+5=10", "10*7=70", "no", "7+7=14")) == 4
    assert countdown.is_right(problem, "5*(7+1)") is False
    assert countdown.is_right(problem, "(7 + 5/5) * 5") is False
    assert countdown.is_right(problem, "5 + 7*5") is True


@pytest.mark.parametrize(
    ("level", "low", "high"), [(1, 0.04, 0.2), (5, 0.02, 0.12), (10, 0.01, 0.08)]
)
def test_a_blind_attempt_with_the_given_digits_hits_more_often_than_one_percent(level, low, high):
    # Several expressions reach a number: no level has the floor of the other families.
    rng = random.Random(level)
    hits = 0
    for problem in countdown.make(size=50, levels=(level, level)):
        target, digits = read(problem.question)
        for _ in range(40):
            hits += countdown.values_of(countdown.random_attempt(digits, rng))[-1] == target
    assert low < hits / 2000 < high
