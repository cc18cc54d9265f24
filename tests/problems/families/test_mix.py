import pytest

from reason_env.agents.pretraining.formats import FAMILIES
from reason_env.errors import ConfigError
from reason_env.problem import Problem, ProblemSet
from reason_env.problems.families.mix import Part, make_mix, read_parts


def make_family(family, split, size, levels, seed):
    return FAMILIES[family].make(split, size=size, levels=levels, seed=seed)


def mixed(text: str, split: str = "train", *, size: int | None = 12, seed: int = 0) -> ProblemSet:
    return make_mix(text, split, size=size, seed=seed, make_family=make_family)


def test_a_mixture_text_is_read_into_its_parts():
    assert read_parts("chain") == (Part("chain", None, 1),)
    assert read_parts("unlock@1-3*2+unlock@8-10*3+equation*12") == (
        Part("unlock", (1, 3), 2),
        Part("unlock", (8, 10), 3),
        Part("equation", None, 12),
    )


@pytest.mark.parametrize(
    "text",
    ["", "+", "chain+", "chain*0", "chain*00", "chain*-1", "chain@3", "chain@1-", "chain*2@1-3",
     "chain@1-2*", "chain *2", "Chain", "chain*1.5", "chain@-1-3", "chain*100000", "chain*\u0663",
     "chain@1-3,unlock", "mix:chain"],
)  # fmt: skip
def test_a_malformed_mixture_is_refused(text):
    with pytest.raises(
        ConfigError,
        match=r"^a part of a mix must be FAMILY, FAMILY@LOW-HIGH, either with \*WEIGHT of 1\.\."
        r"9999, got .* in .*; as in mix:unlock@1-3\+unlock@8-10\*3$",
    ):
        read_parts(text)


def test_parts_take_turns_by_their_weights():
    problems = mixed("unlock@1-2*1+equation@8-10*3+chain*2", size=15)
    kinds = ["u" if "^" in p.question else "c" if "y=" in p.question else "e" for p in problems]
    assert "".join(kinds) == "ueeeccueeeccuee"
    # Within a part, its levels take turns.
    assert [p.level for p, kind in zip(problems, kinds, strict=True) if kind == "u"] == [1, 2, 1]
    assert [p.level for p, kind in zip(problems, kinds, strict=True) if kind == "e"] == [
        8, 9, 10, 8, 9, 10, 8, 9,
    ]  # fmt: skip


def test_problems_of_a_mixture_have_its_ids_and_the_family_s_other_fields():
    problems = mixed("chain@4-4+inverse@3-3", "test", size=6, seed=5)
    assert problems.name == "mix:chain@4-4+inverse@3-3"
    assert [problem.problem_id for problem in problems] == [f"mix/test/{n}" for n in range(6)]
    chain = FAMILIES["chain"].make("test", size=3, levels=(4, 4), seed=5)
    inverse = FAMILIES["inverse"].make("test", size=3, levels=(3, 3), seed=1005)
    assert [p.question for p in problems][::2] == [p.question for p in chain]
    assert [p.question for p in problems][1::2] == [p.question for p in inverse]
    assert problems[0].source == "reason-env family 'chain', seed 5"


def test_equal_parts_repeat_no_problem_and_fill_the_set():
    def two(family, split, size, levels, seed):
        # Seeds 0 and 1000 begin with the same problem.
        names = ["same", *(f"{seed} {n}" for n in range(size - 1))]
        problems = [
            Problem(problem_id=f"f/{split}/{n}", question=name, answer="1")
            for n, name in enumerate(names)
        ]
        return ProblemSet("f", tuple(problems))

    problems = make_mix("f+f*2", "train", size=6, seed=0, make_family=two)
    assert [p.question for p in problems] == ["same", "1000 0", "1000 1", "0 0", "1000 2", "1000 3"]
    assert problems.checker is None


def test_overlapping_levels_of_one_small_family_still_fill_the_set():
    problems = mixed("countdown@1-1+countdown@1-2*2", size=240)
    assert len({problem.question for problem in problems}) == len(problems) == 240


@pytest.mark.parametrize("split", ["train", "hard"])
def test_the_default_size_is_that_of_a_family(split):
    problems = mixed("equation+chain@2-4", split, size=None)
    assert len(problems) == (4000 if split == "train" else 500)
    assert {p.level for p in problems if "x=" not in p.question} == (
        set(range(1, 11)) if split == "train" else {8, 9, 10}
    )


def test_the_checker_is_that_of_each_problems_family():
    problems = mixed("countdown@1-3+chain@2-2+precedence", size=9)
    assert problems.checker is not None
    for problem in problems:
        right = (*problem.solution, f"#### {problem.answer}")
        assert problems.checker(problem, right) is None
        assert problems.checker(problem, (*right[:-1], "#### 0")) == len(right)
        # Only countdown takes tries back.
        taken_back = 1 if " from " not in problem.question else None
        assert problems.checker(problem, ("no", *right)) == taken_back


def test_a_family_without_a_checker_leaves_the_mixture_without_one():
    def some(family, split, size, levels, seed):
        problems = make_family("chain", split, size, levels, seed)
        return problems if family == "a" else ProblemSet("b", problems.problems)

    assert make_mix("a", "train", size=2, seed=0, make_family=some).checker is not None
    assert make_mix("a+b", "train", size=2, seed=0, make_family=some).checker is None


def test_a_mixture_smaller_than_its_weights_is_refused():
    with pytest.raises(
        ConfigError,
        match=r"^size of mix:chain\*3\+unlock must be at least 4, the sum of its weights, got 3$",
    ):
        mixed("chain*3+unlock", size=3)
    assert len(mixed("chain*3+unlock", size=4)) == 4


def test_a_mixture_refuses_what_its_families_refuse():
    with pytest.raises(
        ConfigError, match=r"^levels of 'unlock' must be low\.\.high within 1\.\.10"
    ):
        mixed("chain+unlock@8-11")
    with pytest.raises(ConfigError, match=r"^split of 'chain' must be one of"):
        mixed("chain", "tset")
