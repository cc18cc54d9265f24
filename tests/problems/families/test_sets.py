"""Properties of every family: splits, levels, seeds, guesses, refusals, asides and the checker."""

import random
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import combinations, pairwise

import pytest

from reason_env.agents.pretraining.formats import CHECK_RATES, ERROR_RATES, FAMILIES
from reason_env.env import ReasonEnv
from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem, ProblemSet
from reason_env.problems import reference_response
from reason_env.problems.families.family import (
    DEFAULT_SIZE,
    SPLITS,
    Levels,
    Trace,
    first_wrong_step,
    make_set,
    split_of,
)

NAMES = sorted(FAMILIES)
EXACT = [name for name in NAMES if name != "countdown"]
DEFAULTS = {
    "chain": (4, 12), "inverse": (3, 8), "late": (8, 8), "sealed": (4, 4), "opposed": (1, 3),
}  # fmt: skip
HARD = {"chain": (14, 16), "inverse": (11, 12), "late": (8, 8), "sealed": (4, 4)}
EVERY = {"chain": (1, 26), "inverse": (1, 26)}


@cache
def problems_of(name: str, *, size: int = 300, **changes) -> ProblemSet:
    return FAMILIES[name].make(size=size, **changes)


@pytest.mark.parametrize("name", NAMES)
def test_splits_share_no_question_for_any_seed_and_size(name):
    questions = {
        split: {
            problem.question
            for seed, size in ((0, 60), (1, 25), (2, 7))
            for problem in FAMILIES[name].make(split, size=size, levels=(3, 5), seed=seed)
        }
        for split in SPLITS
    }
    assert len(questions) == 4
    assert all(len(found) > 80 for found in questions.values())
    for split, other in combinations(SPLITS, 2):
        assert not questions[split] & questions[other]
        assert {split_of(question) for question in questions[split]} == {split}


def test_seven_tenths_of_all_questions_are_for_training_and_a_tenth_for_each_other_split():
    counts = Counter(split_of(f"question {number}") for number in range(20_000))
    # The first byte modulo 10: 26 of 256 values for 0..5, 25 of 256 for 6..9.
    expected = {"train": 181 / 256, "hard": 25 / 256, "validation": 25 / 256, "test": 25 / 256}
    assert set(counts) == set(SPLITS) == set(expected)
    for split, share in expected.items():
        # Four standard deviations of a binomial share.
        assert abs(counts[split] / 20_000 - share) < 4 * (share * (1 - share) / 20_000) ** 0.5


def test_the_split_of_a_question_never_changes():
    # First byte of the text's sha256, modulo 10: 9, 8, 7, and 0 to 6.
    first_bytes = {"40 from 7 5 5": 119, "?": 138, "f": 37, "hello": 44}
    assert [byte % 10 for byte in first_bytes.values()] == [9, 8, 7, 4]
    assert [split_of(question) for question in first_bytes] == [
        "test",
        "validation",
        "hard",
        "train",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_levels_take_turns(name):
    problems = FAMILIES[name].make("validation", size=12, levels=(2, 5))
    assert [problem.level for problem in problems] == [2, 3, 4, 5] * 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", SPLITS)
def test_the_default_levels_are_those_that_are_documented(name, split):
    low, high = HARD.get(name, (8, 10)) if split == "hard" else DEFAULTS.get(name, (1, 10))
    problems = FAMILIES[name].make(split, size=high - low + 2)
    assert [problem.level for problem in problems] == [*range(low, high + 1), low]
    ids = [f"{name}/{split}/{row}" for row in range(len(problems))]
    assert [problem.problem_id for problem in problems] == ids


@pytest.mark.parametrize("name", ["chain", "equation"])
def test_the_default_sizes_are_those_that_are_documented(name):
    assert DEFAULT_SIZE == {"train": 4000, "validation": 500, "test": 500, "hard": 500}
    for split, size in DEFAULT_SIZE.items():
        problems = FAMILIES[name].make(split)
        assert len(problems) == size
        assert len({problem.question for problem in problems}) == size


@pytest.mark.parametrize("name", NAMES)
def test_seeds_choose_other_problems_and_a_smaller_set_is_the_beginning_of_a_larger(name):
    levels = (4, 8)
    first = FAMILIES[name].make(size=30, seed=1, levels=levels)
    assert FAMILIES[name].make(size=30, seed=1, levels=levels).content_hash == first.content_hash
    other = {problem.question for problem in FAMILIES[name].make(size=30, seed=2, levels=levels)}
    assert not other & {problem.question for problem in first}
    assert FAMILIES[name].make(size=12, seed=1, levels=levels).problems == first.problems[:12]


def test_the_problems_depend_on_nothing_but_their_arguments():
    program = (
        "import random\n"
        "random.seed()\n"
        "from importlib import import_module\n"
        f"for name in {NAMES}:\n"
        "    family = import_module(f'reason_env.problems.families.{name}')\n"
        "    problems = family.make('hard', size=40, levels=(1, 10), seed=4)\n"
        "    rates = {'right': 0.5, 'first': 1.0, 'give up': 0.3, 'insight': 0.5, 'sum': 0.2}\n"
        "    shown = [family.demonstration(p, random.Random(1), rates).answer for p in problems]\n"
        "    print(name, problems.content_hash, *shown)\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "4711")
    }
    assert len(found) == 1
    (text,) = found
    for line in text.splitlines():
        name, content_hash, *_ = line.split(" ")
        here = FAMILIES[name].make("hard", size=40, levels=(1, 10), seed=4)
        assert here.content_hash == content_hash
    assert text.count("\n") == len(NAMES) == 9


def test_making_and_demonstrating_do_not_touch_the_global_generator():
    random.seed(3)
    before = random.getstate()
    for name, family in FAMILIES.items():
        problem = family.make(size=3)[2]
        family.demonstration(problem, random.Random(0), ERROR_RATES[name])
    assert random.getstate() == before


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("levels", [(1, 3), (8, 10)])
def test_the_most_common_answer_is_right_in_under_one_percent(name, levels):
    problems = problems_of(name, size=900, levels=levels)
    answers = Counter(problem.answer for problem in problems)
    assert answers.most_common(1)[0][1] / 900 < 0.01 if name != "countdown" else True
    best = max(answers, key=answers.__getitem__)
    assert sum(FAMILIES[name].is_right(problem, best) for problem in problems) / 900 < 0.01


@pytest.mark.parametrize(
    "name", ["chain", "inverse", "unlock", "precedence", "late", "sealed", "opposed"]
)
@pytest.mark.parametrize("levels", [(1, 3), (8, 10)])
def test_three_random_digits_are_right_in_under_one_percent(name, levels):
    problems = problems_of(name, size=900, levels=levels)
    rng = random.Random(0)
    hits = sum(f"{rng.randrange(1000):03}" == problem.answer for problem in problems)
    # Binomial(900, 0.001): mean 0.9; 9 are 8 standard deviations off.
    assert hits < 9
    for place in range(3):
        assert {problem.answer[place] for problem in problems} == set("0123456789")
    assert all(re.fullmatch(r"\d{3}", problem.answer) for problem in problems)


def test_a_fraction_guessed_blindly_is_right_in_under_one_percent_but_not_with_the_denominator():
    problems = problems_of("equation", size=900, levels=(8, 10))
    answers = [problem.answer for problem in problems]
    rng = random.Random(0)
    blind = sum(rng.choice(answers) == answer for answer in answers for _ in range(10))
    assert blind / 9000 < 0.01
    by_factor: dict[str, list[str]] = {}
    for problem in problems:
        by_factor.setdefault(problem.question[0], []).append(problem.answer)
    informed = sum(
        rng.choice(by_factor[problem.question[0]]) == problem.answer
        for problem in problems
        for _ in range(10)
    )
    # The denominator is the factor of x, and 26 to 68 numerators go with it.
    assert 0.01 < informed / 9000 < 0.04


@pytest.mark.parametrize("name", ["chain", "unlock", "inverse"])
def test_the_initial_register_values_are_right_in_under_two_percent(name):
    problems = problems_of(name)
    stated = ["".join(re.findall(r"[xyz]=(\d)", problem.question)) for problem in problems]
    same = sum(s == p.answer for s, p in zip(stated, problems, strict=True))
    assert same / len(problems) < 0.02


@pytest.mark.parametrize("name", NAMES)
def test_without_error_rates_a_demonstration_is_the_reference(name):
    for problem in problems_of(name)[:100]:
        trace = FAMILIES[name].demonstration(problem, random.Random(0), {})
        assert (trace.steps, trace.answer) == (problem.solution, problem.answer)


@pytest.mark.parametrize("name", NAMES)
def test_a_right_answer_is_right_and_another_problems_is_not(name):
    problems = problems_of(name)
    for problem, other in pairwise(problems):
        assert FAMILIES[name].is_right(problem, problem.answer)
        if other.answer != problem.answer and name != "countdown":
            assert not FAMILIES[name].is_right(problem, other.answer)


def broken(step: str) -> str:
    """The step with its last digit raised by one."""
    place = max(index for index, char in enumerate(step) if char.isdigit())
    return f"{step[:place]}{(int(step[place]) + 1) % 10}{step[place + 1 :]}"


@pytest.mark.parametrize("name", NAMES)
def test_the_checker_finds_exactly_the_first_wrong_step_at_every_position(name):
    problems = problems_of(name)
    for problem in problems[:40]:
        right = [*problem.solution, f"#### {problem.answer}"]
        assert problems.checker(problem, right) is None
        assert problems.checker(problem, [f"{step}\n" for step in right]) is None
        for index in range(len(right)):
            assert problems.checker(problem, right[:index]) is None
            wrong = [*right[:index], broken(right[index]), *right[index + 1 :]]
            assert problems.checker(problem, wrong) == index + 1
            both = [*wrong[: index + 1], *map(broken, right[index + 1 :])]
            assert problems.checker(problem, both) == index + 1
            assert problems.checker(problem, [*right[:index], "?"]) == index + 1


@pytest.mark.parametrize("name", NAMES)
def test_the_checker_ignores_asides_but_counts_them_as_steps(name):
    family, rng = FAMILIES[name], random.Random(0)
    found = Counter()
    for problem in problems_of(name)[:150]:
        trace = family.demonstration(problem, rng, CHECK_RATES[name])
        steps = (*trace.steps, f"#### {trace.answer}")
        wrong = family.first_wrong_step(problem, steps)
        rambling, places = [], {None: None}
        for index, step in enumerate(steps, start=1):
            rambling += ["~" * rng.randint(1, 2) + step] * rng.randint(0, 2) + [step]
            places[index] = len(rambling)
        assert family.first_wrong_step(problem, [*rambling, "~"]) == places[wrong]
        found[wrong is None] += 1
    assert min(found.values()) > 3


def test_the_exact_checker_counts_what_is_left_out_swapped_or_too_much():
    problem = problems_of("chain")[0]
    right = [f"{step}\n" for step in problem.solution] + [f"#### {problem.answer}\n"]
    assert first_wrong_step(problem, right) is None
    assert first_wrong_step(problem, [*right, "more"]) == len(right) + 1
    assert first_wrong_step(problem, [right[1], right[0], *right[2:]]) == 1
    assert first_wrong_step(problem, right[1:]) == 1
    assert first_wrong_step(problem, [right[0], right[-1]]) == 2
    assert first_wrong_step(problem, []) is None
    assert first_wrong_step(problem, [" ~ hm", right[0], "~", "\n"]) == 4


@pytest.mark.parametrize("granularity", ["token", "step", "response"])
@pytest.mark.parametrize("name", NAMES)
def test_reference_solutions_are_rewarded_at_every_granularity_and_wrong_answers_are_not(
    name, granularity
):
    problems = ProblemSet(name, problems_of(name).problems[:10])
    env = ReasonEnv(problems, granularity=granularity, format="tokens", max_tokens=400)
    for problem in problems:
        response = reference_response(problem)
        first, _, answer = response.rpartition("#### ")
        for text, reward in ((response, 1.0), (f"{first}#### {broken(answer)}", 0.0)):
            env.reset(options={"problem": problem.problem_id})
            ids = (*env.codec.encode(text), env.codec.eos_id)
            actions = {"token": ids, "response": [ids]}.get(granularity) or [
                env.codec.encode(line) for line in f"{text}\n".splitlines(keepends=True)
            ]
            turns = [env.step(action) for action in actions]
            assert [turn[1] for turn in turns] == [0.0] * (len(turns) - 1) + [reward]
            assert turns[-1][2:4] == (True, False)


def test_the_checker_finds_nothing_wrong_in_the_states_of_a_right_episode():
    problem = Problem(problem_id="t/0", question="?", answer="534", solution=("A:1-8 y=3",))
    env = ReasonEnv(ProblemSet("t", (problem,), first_wrong_step), stop_at_answer=False)
    env.reset(seed=0)
    env.step("A:1-8 y=3\n#### 534\n")
    env.step("")
    assert env.state.verdict.is_correct
    assert first_wrong_step(problem, env.state.steps) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"split": "tset"},
            r"^split of '{n}' must be one of train, validation, test, hard, got 'tset'",
        ),
        (
            {"levels": (0, 3)},
            r"^levels of '{n}' must be low\.\.high within 1\.\.{h}, got \(0, 3\)$",
        ),
        (
            {"levels": (3, 2)},
            r"^levels of '{n}' must be low\.\.high within 1\.\.{h}, got \(3, 2\)$",
        ),
        (
            {"levels": (1, 27)},
            r"^levels of '{n}' must be low\.\.high within 1\.\.{h}, got \(1, 27\)$",
        ),
        ({"size": 0}, r"^size of '{n}' must be at least 1, got 0$"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_impossible_arguments_are_refused(name, arguments, message):
    highest = EVERY.get(name, (1, 10))[1]
    with pytest.raises(
        ConfigError, match=message.replace("{n}", name).replace("{h}", str(highest))
    ):
        FAMILIES[name].make(**arguments)
    assert len(FAMILIES[name].make(size=1, levels=(highest, highest))) == 1


def test_levels_that_hold_too_few_problems_are_refused():
    def draw(level, rng):
        return f"{rng.randrange(10)} and {level}", Trace((), "1")

    everything = {
        "draw": draw,
        "levels": (1, 1),
        "known": Levels(every=(1, 1), default=(1, 1), hard=(1, 1)),
        "seed": 0,
        "checker": first_wrong_step,
    }
    # The ten questions of this world, by the split that each is in.
    in_train = sum(split_of(f"{digit} and 1") == "train" for digit in range(10))
    assert len(make_set("tiny", "train", size=in_train, **everything)) == in_train
    message = (
        rf"^levels \(1, 1\) of 'tiny' must hold {in_train + 1} different problems, "
        rf"found {in_train}; ask for fewer or for higher levels$"
    )
    with pytest.raises(ProblemError, match=message):
        make_set("tiny", "train", size=in_train + 1, **everything)


@pytest.mark.parametrize("name", ["chain", "equation"])
def test_a_set_of_one_problem_is_found_for_every_seed(name):
    for seed in range(60):
        assert len(FAMILIES[name].make("test", size=1, levels=(1, 1), seed=seed)) == 1
