import random
import re
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest

from reason_env.env import ReasonEnv
from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem, ProblemSet
from reason_env.problems import chain, inverse, load_problems, reference_response
from reason_env.problems.registers import (
    SPLITS,
    Operation,
    first_wrong_step,
    make_set,
    run,
    split_of,
)

FAMILIES = {"chain": chain, "inverse": inverse}
NAMES = sorted(FAMILIES)
UNIT_DIGIT = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}


@cache
def problems_of(name: str, split: str = "train", **changes) -> ProblemSet:
    return FAMILIES[name].make(split, **changes)


def parsed(problem: Problem, name: str) -> tuple[dict[str, int], list[tuple[str, ...]]]:
    """Reads a question on its own: the stated registers and (label, register, symbol, operand)."""
    first, second = problem.question.split("\n")
    operations, registers = (first, second) if name == "inverse" else (second, first)
    stated = {name: int(digit) for name, digit in re.findall(r"([xyz])=(\d)", registers)}
    listed = re.findall(r"([A-Z]):([xyz])([-+*])(\d)(?= |$)", operations)
    assert " ".join(f"{a}:{b}{c}{d}" for a, b, c, d in listed) == operations
    return stated, listed


def forward(registers: dict[str, int], operations) -> dict[str, int]:
    values = dict(registers)
    for _, register, symbol, operand in operations:
        values[register] = UNIT_DIGIT[symbol](values[register], int(operand)) % 10
    return values


def written(values: dict[str, int]) -> str:
    return "".join(str(values[register]) for register in "xyz")


# Right by an independent computation


def test_chain_answers_are_what_the_program_computes():
    for problem in problems_of("chain"):
        stated, operations = parsed(problem, "chain")
        assert problem.answer == written(forward(stated, operations))


def test_inverse_answers_are_the_only_start_that_leads_to_the_stated_end():
    for problem in list(problems_of("inverse"))[:300]:
        stated, operations = parsed(problem, "inverse")
        starts = [
            answer
            for answer in (f"{number:03}" for number in range(1000))
            if forward(dict(zip("xyz", map(int, answer), strict=True)), operations) == stated
        ]
        assert starts == [problem.answer]


@pytest.mark.parametrize("name", NAMES)
def test_every_reference_step_is_a_true_statement_about_the_register_before_it(name):
    undo = {"+": "-", "-": "+", "*": "/"}
    for problem in list(problems_of(name))[:1000]:
        values, operations = parsed(problem, name)
        if name == "inverse":
            operations = [(a, b, undo[c], d) for a, b, c, d in reversed(operations)]
        assert len(problem.solution) == len(operations) == problem.level
        for step, (label, register, symbol, operand) in zip(
            problem.solution, operations, strict=True
        ):
            match = re.fullmatch(r"([A-Z]):(\d)([-+*/])(\d) ([xyz])=(\d)", step)
            assert match is not None
            assert match.group(1, 3, 4, 5) == (label, symbol, operand, register)
            before, after = int(match[2]), int(match[6])
            assert before == values[register]
            if symbol == "/":
                assert after * int(operand) % 10 == before
            else:
                assert after == UNIT_DIGIT[symbol](before, int(operand)) % 10
            values[register] = after
        assert written(values) == problem.answer


@pytest.mark.parametrize("granularity", ["token", "step", "response"])
@pytest.mark.parametrize("name", NAMES)
def test_reference_solutions_are_rewarded_at_every_granularity_and_wrong_digits_are_not(
    name, granularity
):
    problems = ProblemSet(name, problems_of(name).problems[:150])
    env = ReasonEnv(problems, granularity=granularity, format="tokens")
    for problem in problems:
        response = reference_response(problem)
        wrong = f"{response[:-1]}{(int(response[-1]) + 1) % 10}"
        for text, reward in ((response, 1.0), (wrong, 0.0)):
            env.reset(options={"problem": problem.problem_id})
            ids = (*env.codec.encode(text), env.codec.eos_id)
            actions = {"token": ids, "response": [ids]}.get(granularity) or [
                env.codec.encode(line) for line in f"{text}\n".splitlines(keepends=True)
            ]
            turns = [env.step(action) for action in actions]
            assert [turn[1] for turn in turns] == [0.0] * (len(turns) - 1) + [reward]
            assert turns[-1][2:4] == (True, False)


# The step checker


@pytest.mark.parametrize("name", NAMES)
def test_the_checker_finds_exactly_the_first_wrong_step_at_every_position(name):
    problems = problems_of(name)
    for problem in list(problems)[:40]:
        right = [*problem.solution, f"#### {problem.answer}"]
        assert problems.checker(problem, right) is None
        for index in range(len(right)):
            assert problems.checker(problem, right[:index]) is None
            digit = str((int(right[index][-1]) + 1) % 10)
            broken = [*right[:index], right[index][:-1] + digit, *right[index + 1 :]]
            assert problems.checker(problem, broken) == index + 1
            both = [*broken[:-1], "#### 0000"]
            assert problems.checker(problem, both) == index + 1
            assert problems.checker(problem, [*right[:index], "?"]) == index + 1


def test_the_checker_reads_steps_with_delimiters_and_counts_what_is_too_much():
    problem = problems_of("chain")[0]
    right = [f"{step}\n" for step in problem.solution] + [f"#### {problem.answer}\n"]
    assert first_wrong_step(problem, right) is None
    assert first_wrong_step(problem, [*right, "more"]) == len(right) + 1
    swapped = [right[1], right[0], *right[2:]]
    assert first_wrong_step(problem, swapped) == 1
    skipped = right[1:]
    assert first_wrong_step(problem, skipped) == 1
    assert first_wrong_step(problem, [right[0], right[-1]]) == 2
    assert first_wrong_step(problem, []) is None


def test_the_checker_finds_nothing_wrong_in_the_states_of_a_right_episode():
    problem = Problem(problem_id="t/0", question="?", answer="534", solution=("A:1-8 y=3",))
    problems = ProblemSet("t", (problem,), first_wrong_step)
    env = ReasonEnv(problems, stop_at_answer=False)
    env.reset(seed=0)
    env.step("A:1-8 y=3\n#### 534\n")
    env.step("")
    assert env.state.verdict.is_correct
    assert first_wrong_step(problem, env.state.steps) is None


# Splits, levels, determinism


@pytest.mark.parametrize("name", NAMES)
def test_splits_share_no_question_whatever_seed_and_size(name):
    questions = {
        split: {
            problem.question
            for seed, size in ((0, 400), (1, 150), (2, 37))
            for problem in FAMILIES[name].make(split, size=size, levels=(1, 3), seed=seed)
        }
        for split in SPLITS
    }
    assert all(len(found) > 300 for found in questions.values())
    assert not questions["train"] & questions["validation"]
    assert not questions["train"] & questions["test"]
    assert not questions["validation"] & questions["test"]


def test_four_fifths_of_all_questions_are_for_training():
    counts = Counter(split_of(f"question {number}") for number in range(20_000))
    # The first byte modulo 10: 26 of 256 values for 0..5, 25 of 256 for 6..9.
    expected = {"train": 206 / 256, "validation": 25 / 256, "test": 25 / 256}
    for split, share in expected.items():
        # Four standard deviations of a binomial share.
        assert abs(counts[split] / 20_000 - share) < 4 * (share * (1 - share) / 20_000) ** 0.5


@pytest.mark.parametrize("name", NAMES)
def test_levels_take_turns_and_are_the_number_of_operations(name):
    problems = FAMILIES[name].make("validation", size=20, levels=(2, 5))
    assert [problem.level for problem in problems] == [2, 3, 4, 5] * 5
    assert all(len(problem.solution) == problem.level for problem in problems)
    assert {problem.level for problem in FAMILIES[name].make(size=3, levels=(26, 26))} == {26}


@pytest.mark.parametrize(("name", "low", "high"), [("chain", 4, 12), ("inverse", 3, 8)])
def test_the_defaults_are_those_that_are_documented(name, low, high):
    for split, size in (("train", 4000), ("validation", 500), ("test", 500)):
        problems = problems_of(name, split)
        assert len(problems) == size
        assert {problem.level for problem in problems} == set(range(low, high + 1))
        ids = [f"{name}/{split}/{row}" for row in range(size)]
        assert [problem.problem_id for problem in problems] == ids
        assert len({problem.question for problem in problems}) == size


@pytest.mark.parametrize("name", NAMES)
def test_seeds_choose_other_problems_and_a_smaller_set_is_the_beginning_of_a_larger(name):
    first = FAMILIES[name].make(size=50, seed=1)
    assert FAMILIES[name].make(size=50, seed=1).content_hash == first.content_hash
    other = {problem.question for problem in FAMILIES[name].make(size=50, seed=2)}
    assert not other & {problem.question for problem in first}
    assert FAMILIES[name].make(size=20, seed=1).problems == first.problems[:20]


def test_the_problems_depend_on_nothing_but_their_arguments():
    program = (
        "import random\n"
        "random.seed()\n"
        "from reason_env.problems import load_problems\n"
        "print(*(load_problems(n, size=300, seed=4).content_hash for n in ('chain', 'inverse')))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    here = " ".join(load_problems(name, size=300, seed=4).content_hash for name in NAMES)
    assert found == {f"{here}\n"}


def test_making_problems_leaves_the_global_generator_alone():
    random.seed(3)
    before = random.getstate()
    chain.make(size=5)
    inverse.make(size=5)
    assert random.getstate() == before


# Guessing


@pytest.mark.parametrize("name", NAMES)
def test_guessing_is_right_in_under_one_percent(name):
    problems = problems_of(name)
    assert len(problems) == 4000
    answers = Counter(problem.answer for problem in problems)
    assert answers.most_common(1)[0][1] / 4000 < 0.01
    rng = random.Random(0)
    hits = sum(f"{rng.randrange(1000):03}" == problem.answer for problem in problems)
    # Binomial(4000, 0.001): mean 4; 40 are 18 standard deviations off.
    assert hits / 4000 < 0.01
    unchanged = sum(written(parsed(p, name)[0]) == p.answer for p in problems)
    assert unchanged / 4000 < 0.01


@pytest.mark.parametrize("name", NAMES)
def test_every_digit_can_stand_at_every_place_of_an_answer(name):
    for place in range(3):
        assert {problem.answer[place] for problem in problems_of(name)} == set("0123456789")
    assert all(re.fullmatch(r"\d{3}", problem.answer) for problem in problems_of(name))


# Noisy demonstrations


@pytest.mark.parametrize("name", NAMES)
def test_without_error_rates_a_demonstration_is_the_reference(name):
    for problem in list(problems_of(name))[:200]:
        trace = FAMILIES[name].demonstration(problem, random.Random(0), {})
        assert (trace.steps, trace.answer) == (problem.solution, problem.answer)


@pytest.mark.parametrize(
    ("name", "rates"),
    [("chain", {"+": 0.05, "-": 0.2, "*": 0.5}), ("inverse", {"-": 0.1, "+": 0.03, "/": 0.4})],
)
def test_demonstrations_have_the_error_rate_of_each_symbol(name, rates):
    rng = random.Random(7)
    wrong: Counter[str] = Counter()
    total: Counter[str] = Counter()
    offsets: Counter[int] = Counter()
    for problem in problems_of(name):
        trace = FAMILIES[name].demonstration(problem, rng, rates)
        values, _ = parsed(problem, name)
        for step in trace.steps:
            _, before, symbol, operand, register, after = re.fullmatch(
                r"([A-Z]):(\d)([-+*/])(\d) ([xyz])=(\d)", step
            ).groups()
            assert int(before) == values[register]  # what follows an error follows from it
            values[register] = int(after)
            right = (
                int(before) * pow(int(operand), -1, 10)
                if symbol == "/"
                else UNIT_DIGIT[symbol](int(before), int(operand))
            ) % 10
            total[symbol] += 1
            wrong[symbol] += int(after) != right
            offsets[(int(after) - right) % 10] += 1
        assert trace.answer == written(values)
    for symbol, rate in rates.items():
        assert total[symbol] > 4000
        # Four standard deviations of a binomial share.
        bound = 4 * (rate * (1 - rate) / total[symbol]) ** 0.5
        assert abs(wrong[symbol] / total[symbol] - rate) < bound
    errors = sum(wrong.values())
    assert set(offsets) == set(range(10))
    for offset in range(1, 10):
        assert abs(offsets[offset] / errors - 1 / 9) < 4 * (1 / 9 * 8 / 9 / errors) ** 0.5


def test_errors_need_their_generator():
    operations = [Operation("A", "x", "+", 4)]
    with pytest.raises(AssertionError, match="error_rates and rng come together"):
        run((3, 7, 1), operations, error_rates={"+": 1.0})
    noisy = run((3, 7, 1), operations, error_rates={"+": 1.0}, rng=random.Random(0))
    assert noisy.answer != "771"
    assert noisy.answer[1:] == "71"


@pytest.mark.parametrize("operand", [1, 3, 7, 9])
def test_undoing_an_operation_takes_every_digit_back(operand):
    for symbol in "+-*":
        operation = Operation("A", "x", symbol, operand)
        assert [operation.undone.apply(operation.apply(d)) for d in range(10)] == list(range(10))
        assert operation.undone.label == "A"


# Refusals


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"split": "tset"},
            ConfigError,
            r"^split of '{name}' must be one of train, validation, test",
        ),
        (
            {"levels": (0, 3)},
            ConfigError,
            r"^levels of '{name}' must be low\.\.high within 1\.\.26",
        ),
        (
            {"levels": (3, 2)},
            ConfigError,
            r"^levels of '{name}' must be low\.\.high within 1\.\.26",
        ),
        (
            {"levels": (1, 27)},
            ConfigError,
            r"^levels of '{name}' must be low\.\.high within 1\.\.26",
        ),
        ({"size": 0}, ConfigError, r"^size of '{name}' must be at least 1, got 0$"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_impossible_arguments_are_refused(name, arguments, error, message):
    with pytest.raises(error, match=message.replace("{name}", name)):
        FAMILIES[name].make(**arguments)


def test_levels_that_hold_too_few_problems_are_refused():
    def draw(level, rng):
        digits = (rng.randrange(10), 1, 1)
        return f"{digits}", run(digits, [Operation("A", "x", "+", level)])

    everything = {"draw": draw, "levels": (1, 1), "seed": 0, "checker": first_wrong_step}
    # The ten questions of this world, by the split that each is in.
    in_train = sum(split_of(f"({digit}, 1, 1)") == "train" for digit in range(10))
    assert len(make_set("tiny", "train", size=in_train, **everything)) == in_train
    message = (
        rf"^levels \(1, 1\) of 'tiny' must hold {in_train + 1} different problems, "
        rf"found {in_train}; ask for fewer or for higher levels$"
    )
    with pytest.raises(ProblemError, match=message):
        make_set("tiny", "train", size=in_train + 1, **everything)


def test_a_set_of_one_problem_is_found_for_every_seed():
    for seed in range(300):
        assert len(chain.make("test", size=1, levels=(1, 1), seed=seed)) == 1
