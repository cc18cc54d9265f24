import random
import re
from collections import Counter
from fractions import Fraction
from functools import cache

import pytest

from reason_env.problem import Problem, ProblemSet
from reason_env.problems.families import equation


@cache
def problems() -> ProblemSet:
    return equation.make(size=900)


def sides(text: str) -> tuple[int, list[int], int]:
    """(factor, terms, right side) of an equation, read on its own."""
    left, right = text.split("=")
    factor, x, terms = left.partition("x")
    assert x == "x"
    return int(factor), [int(term) for term in re.findall(r"[-+]\d", terms)], int(right)


def solution(text: str) -> Fraction:
    factor, terms, right = sides(text)
    return Fraction(right - sum(terms), factor)


def test_answers_solve_the_equation_and_are_in_lowest_terms():
    for problem in problems():
        x = solution(problem.question)
        assert x.denominator > 1
        assert problem.answer == rf"\frac{{{x.numerator}}}{{{x.denominator}}}"
        factor, terms, right = sides(problem.question)
        assert equation.written(factor, terms, right) == problem.question


def test_each_reference_step_moves_the_last_term_and_keeps_the_solution():
    for problem in problems():
        *equations, last = problem.solution
        factor, terms, _ = sides(problem.question)
        assert len(terms) == len(equations) == problem.level
        assert 0 not in terms
        assert len({term > 0 for term in terms}) == 1  # so that forgotten signs never cancel
        for moved, step in enumerate(equations, start=1):
            assert sides(step)[:2] == (factor, terms[: len(terms) - moved])
            assert solution(step) == solution(problem.question)
        assert last == f"x={problem.answer}"


def test_factors_terms_and_right_sides_use_their_whole_range():
    read = [sides(problem.question) for problem in problems()]
    assert {factor for factor, _, _ in read} == set(range(2, 10))
    assert {term for _, terms, _ in read for term in terms} == {*range(-9, 0), *range(1, 10)}
    assert 50 < max(abs(right) for *_, right in read) < 60
    lefts = {right - sum(terms) for _, terms, right in read}
    assert min(lefts) == -40
    assert max(lefts) == 40


def test_demonstrations_have_the_rates_of_kept_signs_and_of_sums_off_by_one():
    rng = random.Random(5)
    kinds = Counter()
    for problem in problems():
        trace = equation.demonstration(problem, rng, {"sign": 0.3, "sum": 0.1})
        factor, terms, right = sides(problem.question)
        for step in trace.steps[:-1]:
            term = terms.pop()
            found_factor, found_terms, after = sides(step)
            assert (found_factor, found_terms) == (factor, terms)
            kinds["keeps" if after == right + term else after - (right - term)] += 1
            right = after
        assert terms == []
        assert trace.answer == rf"\frac{{{right}}}{{{factor}}}"
        assert trace.steps[-1] == f"x={trace.answer}"
    total = sum(kinds.values())
    assert total > 4000
    shares = {"keeps": 0.3, 0: 0.6, 1: 0.05, -1: 0.05}
    assert set(kinds) == set(shares)
    for kind, share in shares.items():
        # Four standard deviations of a binomial share.
        assert abs(kinds[kind] - total * share) < 4 * (total * share * (1 - share)) ** 0.5


def test_two_kept_signs_of_opposite_terms_cancel_and_the_checker_still_finds_the_first():
    problem = Problem(
        problem_id="equation/test/0",
        question="4x+3-3=9",
        answer=r"\frac{9}{4}",
        solution=("4x+3=12", "4x=9", r"x=\frac{9}{4}"),
    )
    trace = equation.demonstration(problem, random.Random(0), {"sign": 1.0})
    assert trace.steps == ("4x+3=6", "4x=9", r"x=\frac{9}{4}")
    assert equation.is_right(problem, trace.answer)
    assert equation.first_wrong_step(problem, trace.steps) == 1


def test_errors_need_their_generator_and_a_question_of_the_family():
    with pytest.raises(AssertionError, match="rates and rng come together"):
        equation.solved(2, (1,), 4, rates={"sign": 1.0})
    strange = Problem(problem_id="t/0", question="x=3", answer="3")
    with pytest.raises(AssertionError, match="not a question of this family: 'x=3'"):
        equation.demonstration(strange, random.Random(0), {"sign": 1.0})
