import json
import os
import re
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest

from reason_env.check import check_reasoning_env
from reason_env.env import ReasonEnv
from reason_env.errors import ConfigError, ProblemError, UnknownNameError
from reason_env.problem import Problem, ProblemSet, ScoredProblem, ScoredReference
from reason_env.problems import load_problems, reference_response
from reason_env.problems.reasoning_gym import REFUSED, load_reasoning_gym
from reason_env.state import ReasonState
from reason_env.verdict import Outcome
from reason_env.verify import FIXED, grade, grade_many
from reason_env.verify.scorers.reasoning_gym_scorer import COMPUTES, EVALUATES

peer = pytest.importorskip("reasoning_gym", reason="pip install 'reason-env[reasoning-gym]'")

PEER = Path(__file__).with_name("reasoning_gym_peer.py")
FEW = (
    "countdown", "game_of_life", "mini_sudoku", "n_queens", "number_sorting", "prime_factorization",
    "puzzle24", "spiral_matrix", "string_insertion", "word_ladder",
)  # fmt: skip
OFFERED = sorted(set(peer.factory.DATASETS) - set(REFUSED))


def asked(sets, *, size, wrong):
    """Return [set, answer, entry, given answer, the peer's score] rows."""
    done = subprocess.run(
        [sys.executable, str(PEER)],
        input=json.dumps({"sets": sets, "size": size, "wrong": wrong}),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | FIXED | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def references():
    return {
        name: (answer, ScoredReference(scorer="reasoning_gym", entry=entry))
        for name, answer, entry, said, _ in asked(list(FEW), size=1, wrong=[])
        if said == answer
    }


def boxed(answer):
    return "\\boxed{" + answer + "}"


def outcome_and_score(verdict):
    return verdict.outcome.value, verdict.score


def expected(score):
    if isinstance(score, list):
        return ("incorrect", None) if score == ["ValueError"] else ("error", None)
    return "correct" if score == 1.0 else "incorrect", score


def differing(rows):
    verdicts = grade_many(
        [(boxed(row[3]), ScoredReference(scorer="reasoning_gym", entry=row[2])) for row in rows]
    )
    return [
        (row[0], row[3], row[4], verdict)
        for row, verdict in zip(rows, verdicts, strict=True)
        if verdict.extracted == row[3] and outcome_and_score(verdict) != expected(row[4])
    ]


def test_a_verdict_is_the_peer_s_score_in_sets_of_every_kind():
    rows = asked(list(FEW), size=1, wrong=["xyz", "[1, 2]", "2*3", "None"])
    assert {row[0] for row in rows} == set(FEW)
    assert sum(row[4] == 1.0 for row in rows) >= len(FEW)
    assert differing(rows) == []


@pytest.mark.slow
def test_a_verdict_is_the_peer_s_score_in_every_set_that_is_offered():
    rows = asked(OFFERED, size=1, wrong=["xyz", "None", "0", "[]", "2*x + 1"])
    assert {row[0] for row in rows} == set(OFFERED)
    right = [row for row in rows if row[3] == row[1]]
    assert {row[0] for row in right if row[4] == 1.0} == set(OFFERED)
    assert differing(rows) == []


def test_partial_scores_stay_in_the_verdict_and_only_one_is_correct(references):
    answer, entry = references["spiral_matrix"]
    full = grade(boxed(answer), entry)
    assert (full.outcome, full.score) == (Outcome.CORRECT, 1.0)
    assert full.reason == "reasoning-gym scores 1"
    # A Python list of the right numbers is worth a tenth to this scorer.
    part = grade(boxed(str([int(item) for item in answer.split()])), entry)
    assert (part.outcome, part.score, part.is_correct) == (Outcome.INCORRECT, 0.1, False)
    assert part.reason == "reasoning-gym scores 0.1"
    state = ReasonState(
        problem=ScoredProblem(problem_id="a/b/0", question="?", answer="1", scored_by=entry),
        codec=ReasonEnv().codec,
        verdict=part,
    )
    assert ReasonState.from_json(state.to_json()) == state
    assert ReasonState.from_json(state.to_json()).verdict.score == 0.1


def test_a_right_answer_other_than_the_reference_is_correct(references):
    answer, entry = references["countdown"]
    turned = f"({answer}) + 0*0"
    assert outcome_and_score(grade(boxed(f"({answer})"), entry)) == ("correct", 1.0)
    assert outcome_and_score(grade(boxed(turned), entry)) == ("incorrect", 0.05)


ATTACKS = (
    "__import__('os').system('touch {path}')",
    "[__import__('pathlib').Path('{path}').touch()]",
    "().__class__.__base__.__subclasses__()",
    "(lambda: open('{path}', 'w'))()",
    "S('open(chr(47))')",
)


@pytest.mark.parametrize(
    "name", ["string_insertion", "spiral_matrix", "n_queens", "countdown", "puzzle24"]
)
def test_no_answer_is_executed(name, references, tmp_path):
    path = tmp_path / "owned"
    entry = references[name][1]
    verdicts = grade_many([(boxed(attack.format(path=path)), entry) for attack in ATTACKS])
    assert {verdict.outcome for verdict in verdicts} == {Outcome.INCORRECT}
    assert all((verdict.score or 0.0) <= 0.05 for verdict in verdicts)
    assert not path.exists()


def test_reasoning_gym_s_own_scorer_executes_the_attack(tmp_path):
    path = tmp_path / "owned"
    program = (
        "import reasoning_gym, sys\n"
        "data = reasoning_gym.create_dataset('string_insertion', seed=1, size=1)\n"
        "data.score_answer(sys.argv[1], data[0])\n"
    )
    attack = ATTACKS[0].format(path=path)
    subprocess.run([sys.executable, "-c", program, attack], check=True, capture_output=True)
    assert path.exists()


def test_an_answer_that_computes_for_ever_is_a_timeout_or_error_and_not_incorrect(references):
    entry = references["countdown"][1]
    verdict = grade(boxed("9**9**9**9"), entry)
    assert verdict.outcome in (Outcome.TIMEOUT, Outcome.ERROR)
    assert verdict.score is None
    assert grade(boxed(references["countdown"][0]), entry).is_correct


def test_an_answer_the_scorer_cannot_read_is_incorrect_and_a_failing_scorer_is_an_error(
    references,
):
    unread = grade("#### xyz", references["prime_factorization"][1])
    assert outcome_and_score(unread) == ("incorrect", None)
    assert unread.reason == "reasoning-gym cannot read it (ValueError)"
    failed = grade(boxed("{}"), references["game_of_life"][1])
    assert outcome_and_score(failed) == ("error", None)
    assert failed.reason == "the worker raised KeyError"


def test_a_response_without_an_answer_never_reaches_the_scorer(references):
    assert grade("xyz", references["countdown"][1]).outcome is Outcome.NO_ANSWER


def test_an_entry_that_the_installed_version_does_not_reproduce_is_a_grading_error(references):
    answer, entry = references["mini_sudoku"]
    data = json.loads(entry.entry)
    other = ScoredReference(
        scorer="reasoning_gym", entry=json.dumps(data | {"index": data["index"] + 1})
    )
    assert grade(boxed(answer), entry).is_correct
    assert grade(boxed(answer), other).outcome is Outcome.ERROR


def test_every_peer_module_that_evaluates_text_is_listed():
    root = Path(peer.__file__).parent
    found = {
        ".".join(["reasoning_gym", *path.relative_to(root).with_suffix("").parts])
        for path in root.rglob("*.py")
        if re.search(r"\b(?:eval|exec|sympify)\(", path.read_text(encoding="utf-8"))
    }
    own_text_while_drawing = {
        "reasoning_gym.arithmetic.basic_arithmetic",
        "reasoning_gym.arithmetic.gsm_symbolic.generators_00_49",
        "reasoning_gym.arithmetic.gsm_symbolic.generators_50_99",
        "reasoning_gym.code.codeio",
    }
    assert found == {*EVALUATES, COMPUTES} | own_text_while_drawing


def test_problems_do_not_depend_on_the_hash_seed_and_splits_are_disjoint(monkeypatch):
    seen = []
    for hash_seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
        load_reasoning_gym.__globals__["_problem_set"].cache_clear()
        seen.append(load_problems("reasoning_gym:ransom_note", size=12))
    assert seen[0].content_hash == seen[1].content_hash
    test = load_problems("reasoning_gym:ransom_note", size=12, split="test")
    questions = [problem.question for problem in (*seen[0], *test)]
    assert len(set(questions)) == 24
    assert [problem.problem_id for problem in test[:2]] == [
        "reasoning_gym:ransom_note/test/0",
        "reasoning_gym:ransom_note/test/1",
    ]
    assert {problem.level for problem in test} == {0}
    assert "reasoning_gym" not in sys.modules or sys.modules["reasoning_gym"] is peer


def test_levels_take_turns_options_apply_and_equal_sets_are_cached(monkeypatch):
    made = load_reasoning_gym("gcd", size=4, levels=(1, 2), seed=3)
    assert [problem.level for problem in made] == [1, 2, 1, 2]
    small = load_reasoning_gym(
        "gcd", size=3, options={"max_value": 9, "min_numbers": 4, "max_numbers": 4}
    )
    for problem in small:
        numbers = re.findall(r"\d+", problem.question)
        assert len(numbers) == 4
        assert max(map(int, numbers)) <= 9
    # No second process: an equal set comes from the cache.
    monkeypatch.setattr(subprocess, "run", None)
    assert load_reasoning_gym("gcd", size=4, levels=(1, 2), seed=3) is made


@pytest.mark.parametrize("granularity", ["step", "token", "response"])
def test_references_earn_the_reward_in_the_environment_including_grids(granularity, references):
    problems = ProblemSet(
        "rg",
        tuple(
            ScoredProblem(problem_id=f"rg/test/{name}", question="?", answer=answer, scored_by=by)
            for name, (answer, by) in references.items()
        ),
    )
    form = "tokens" if granularity == "token" else "text"
    env = ReasonEnv(problems, granularity=granularity, format=form, max_tokens=2000)
    for problem in problems:
        env.reset(options={"problem": problem.problem_id})
        text = reference_response(problem)
        actions = [*env.codec.encode(text), env.codec.eos_id] if form == "tokens" else [text, ""]
        for action in actions[: 1 if granularity == "response" else None]:
            _, reward, terminated, truncated, info = env.step(action)
            if terminated:
                break
        assert (reward, terminated, truncated) == (1.0, True, False), problem.problem_id
        assert info["success"]
        assert env.state.verdict.score == 1.0
    env.reset(options={"problem": "rg/test/mini_sudoku"})
    assert "\n" in reference_response(problems.by_id("rg/test/mini_sudoku"))


@pytest.mark.slow
def test_a_set_passes_the_quality_suite_by_its_name():
    env = gym.make("MathReason-v0", problems="reasoning_gym:ransom_note", size=12)
    report = check_reasoning_env(env, num_problems=4)
    assert [row for row in report.rows if row[1] != "ok"] == []


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_set_that_cannot_be_verified_is_refused_by_name(name):
    with pytest.raises(ProblemError, match=f"got '{name}': {re.escape(REFUSED[name])}; choose"):
        load_problems(f"reasoning_gym:{name}")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"split": "tst"}, ConfigError, "split of reasoning_gym:gcd must be one of train, valid"),
        ({"size": 60_000}, ConfigError, r"size of reasoning_gym:gcd must be 1\.\.50000, got 60000"),
        ({"seed": -1}, ConfigError, r"seed of reasoning_gym:gcd must be 0\.\.1023, got -1"),
        ({"options": {"a": {1}}}, ConfigError, r"options must be JSON-able, got \{'a': \{1\}\}"),
        ({"levels": (1, 99)}, ConfigError, r"levels of reasoning_gym:gcd must be within 1\.\.\d+"),
        ({"options": {"colour": 1}}, ConfigError, r"must suit its generator, .* 'colour'"),
        ({"size": 40, "options": {"min_value": 8, "max_value": 9, "max_numbers": 2}},
         ProblemError, r"must hold 40 different questions in split 'train', found \d;"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        load_reasoning_gym("gcd", **({"size": 2} | settings))


def test_a_set_that_does_not_exist_is_refused_with_the_near_match():
    with pytest.raises(UnknownNameError, match="no reasoning_gym set 'gdc'; did you mean 'gcd'"):
        load_problems("reasoning_gym:gdc")
    with pytest.raises(ConfigError, match="columns must be None"):
        load_problems("reasoning_gym:gcd", columns={"question": "q"})
    with pytest.raises(ConfigError, match="write reasoning_gym:NAME"):
        load_problems("reasoning_gym")


def test_without_reasoning_gym_the_message_says_what_to_install(monkeypatch, tmp_path):
    (tmp_path / "reasoning_gym.py").write_text(
        "raise ModuleNotFoundError('no', name='reasoning_gym')"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=r"pip install 'reason-env\[reasoning-gym\]'"):
        load_reasoning_gym("gcd", size=7, seed=11)


def test_a_scored_problem_round_trips_through_json():
    by = ScoredReference(scorer="reasoning_gym", entry='{"index":0}')
    problem = ScoredProblem(
        problem_id="rg/train/0", question="?", answer="1", solution=("a",), level=2, scored_by=by
    )
    back = Problem.from_dict(json.loads(json.dumps(problem.to_dict())))
    assert back == problem
    assert back.reference == by
    plain = {key: value for key, value in problem.to_dict().items() if key != "scored_by"}
    assert Problem.from_dict(plain).reference == "1"
    assert Problem.from_dict(plain) != problem
    other = ScoredProblem(
        **plain | {"solution": ("a",)},
        scored_by=ScoredReference(scorer="reasoning_gym", entry='{"index":1}'),
    )
    assert ProblemSet("a", (problem,)).content_hash != ProblemSet("a", (other,)).content_hash


@pytest.mark.parametrize(
    "scored_by", [None, {}, {"scorer": "reasoning_gym"}, {"scorer": "reasoning_gym", "entry": 1}]
)
def test_a_malformed_scorer_is_refused(scored_by):
    data = {"problem_id": "a", "question": "?", "answer": "1", "scored_by": scored_by}
    with pytest.raises(ProblemError, match="a problem must be a dict as to_dict"):
        Problem.from_dict(data)


def test_an_unknown_scorer_is_refused():
    with pytest.raises(
        ProblemError, match="scorer must be one of reasoning_gym, countdown, got 'mine'"
    ):
        ScoredReference(scorer="mine", entry="{}")
