"""opposed, against an independent evaluator in this file."""

import random
import re
from collections import Counter

from reason_env.problems.families import opposed
from reason_env.problems.families.mix import make_mix
from reason_env.problems.sources import load_problems

CALCULATE = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}


def places(tokens: list[str], reading: str) -> int:
    """The place of the symbol that a reading takes next."""
    symbols = list(range(1, len(tokens), 2))
    if reading == "right":
        return next((at for at in symbols if tokens[at] == "*"), symbols[0])
    if reading == "sums":
        return next((at for at in symbols if tokens[at] != "*"), symbols[0])
    return symbols[0 if reading == "first" else -1]


def chain(question: str, reading: str) -> list[str]:
    """Every step of a reading, in the family's notation, and the answer."""
    steps, digits = [], ""
    for row in question.split(" "):
        name, tokens = row[0], list(row[2:])
        while len(tokens) > 1:
            at = places(tokens, reading)
            value = CALCULATE[tokens[at]](int(tokens[at - 1]), int(tokens[at + 1])) % 10
            tokens[at - 1 : at + 2] = [str(value)]
            steps.append(f"{name}={''.join(tokens)}")
        digits += tokens[0]
    return [*steps, digits]


def test_reading_from_the_left_is_right_step_for_step_and_the_other_readings_are_wrong():
    sizes = Counter()
    for problem in opposed.make(size=300, levels=(1, 10)):
        assert re.fullmatch(r"x=[-+*\d]+ y=[-+*\d]+ z=[-+*\d]+", problem.question)
        right = [*problem.solution, problem.answer]
        assert chain(problem.question, "right") == right
        assert chain(problem.question, "first") == right
        assert chain(problem.question, "last")[-1] != problem.answer
        assert chain(problem.question, "sums")[-1] != problem.answer
        sizes[problem.level] = len(problem.solution)
    assert sizes == dict(zip(range(1, 11), [6, 7, 7, 8, 9, 9, 10, 11, 11, 12], strict=True))


def test_a_demonstration_is_right_if_it_reads_from_the_left_or_products_first():
    rng = random.Random(0)
    problems = opposed.make(size=200, levels=(7, 7))
    # Level 7: the right reading 0.004, the others 0.7, 0.2 and 0.1 of the rest.
    right = 0.004 + 0.996 * 0.7
    rates = {"first": 0.7, "last": 0.2, "sums": 0.1}
    found = sum(
        opposed.demonstration(problem, rng, rates).answer == problem.answer
        for problem in problems
        for _ in range(5)
    )
    assert abs(found - 1000 * right) < 4 * (1000 * right * (1 - right)) ** 0.5


def test_no_question_is_one_of_precedence():
    # There the four readings have four answers.
    for problem in load_problems("precedence", size=300, levels=(1, 3)):
        assert chain(problem.question, "first")[-1] != chain(problem.question, "right")[-1]


def test_easy_and_hard_problems_mix_as_the_docs_say():
    def family(name, split, size, levels, seed):
        return load_problems(name, split=split, size=size, levels=levels, seed=seed)

    mixed = make_mix("opposed@1-3+precedence@7-10", "train", size=8, seed=0, make_family=family)
    assert [p.source.split("'")[1] for p in mixed] == ["opposed", "precedence"] * 4
    assert {p.level for p in mixed} <= {1, 2, 3, 7, 8, 9, 10}


def test_the_set_never_changes():
    assert opposed.make("test", size=50, levels=(1, 9), seed=3).content_hash == "4e2dfcd50c33ca79"
