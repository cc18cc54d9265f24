"""Graders with actors in this process, which fail on order; tests/interop runs Ray."""

import sys
from dataclasses import replace

import pytest

from reason_env.agents.engines import EngineConfig
from reason_env.agents.engines.ray import Graders
from reason_env.agents.engines.ray.graders import Grader
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.train import TrainConfig, build_session, iterate, prepare
from reason_env.agents.train.evaluation import evaluate_policy
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError, EngineError
from reason_env.verdict import Outcome, Verdict
from reason_env.verify import clear_cache, grade, grade_many, read_options

OPTIONS = read_options("math")
JOBS = [(f"answer {number}", "reference", OPTIONS) for number in range(7)]
# Answers that only sympy decides, equal ones among them, and one that needs no worker.
PAIRS = [
    *((rf"\boxed{{{n * n + n % 2}}}", rf"\int_0^{{{n}}} 2t\,dt") for n in (1, 2, 3, 2, 4)),
    (r"\boxed{3}", "3"),
]


class ByNumber:
    """Grades by the number in the answer, without a worker: even ones are right, 3 fails."""

    def grade(self, jobs):
        return tuple(self.verdict(int(text.split()[1]), text) for text, _, _ in jobs)

    def verdict(self, number, text):
        if number == 3:
            return Verdict(Outcome.ERROR, text, "the worker was lost")
        return Verdict((Outcome.CORRECT, Outcome.INCORRECT)[number % 2], text, f"number {number}")


class LocalGraders:
    """Graders in this process. Each round of `ask` suffers the next of the faults."""

    def __init__(self, program=ByNumber, faults=()):
        self.program, self.faults = program, list(faults)
        self.actors, self.asked, self.stops = {}, [], 0

    def start(self, places):
        fresh = [place for place in places if place not in self.actors]
        self.actors |= {place: self.program() for place in fresh}
        return {}

    def ask(self, requests):
        fault = self.faults.pop(0) if self.faults else {}
        self.asked.append({place: [job[0] for job in jobs] for place, jobs in requests.items()})
        answers, lost = {}, {}
        for place, jobs in requests.items():
            kind = fault.get(place)
            if kind == "died":
                lost[place] = "ActorDiedError: its process died"
            else:
                answers[place] = self.actors[place].grade(jobs)[: -1 if kind == "short" else None]
        return answers, lost

    def drop(self, places):
        for place in places:
            del self.actors[place]

    def stop(self):
        self.stops += 1
        self.actors.clear()


def graders(number=3, *, program=ByNumber, faults=(), **fields):
    config = EngineConfig(kind="ray", graders=number, **fields)
    return Graders(LocalGraders(program, faults), config)


EXPECTED = list(ByNumber().grade(JOBS))


@pytest.mark.parametrize("number", [1, 2, 3, 9])
def test_verdicts_keep_their_order_with_any_number_of_graders(number):
    own = graders(number)
    assert own(JOBS) == EXPECTED
    (asked,) = own.actors.asked
    assert sorted(asked) == list(range(min(number, 7)))
    assert sorted(text for share in asked.values() for text in share) == [job[0] for job in JOBS]
    sizes = [len(share) for share in asked.values()]
    assert max(sizes) - min(sizes) <= 1
    assert own([]) == []


def test_a_failed_grading_is_its_own_verdict_and_no_reason_to_grade_again():
    own = graders()
    assert own(JOBS)[3].outcome is Outcome.ERROR
    assert (len(own.actors.asked), own.num_restarts) == (1, 0)


@pytest.mark.parametrize("kind", ["died", "short"])
def test_the_share_of_a_lost_grader_is_graded_again_and_no_other(kind):
    own = graders(faults=[{1: kind, 2: kind}, {2: kind}])
    assert own(JOBS) == EXPECTED
    assert [sorted(asked) for asked in own.actors.asked] == [[0, 1, 2], [1, 2], [2]]
    assert own.num_restarts == 3
    assert own(JOBS) == EXPECTED


def test_graders_that_are_lost_too_often_end_the_run_and_give_no_verdict():
    own = graders(max_restarts=1, faults=[{0: "died"}, {0: "short"}])
    message = r"within 1 restarts, got 2 failures: actor 0: ActorDied.* \| actor 0: it returned 2 v"
    with pytest.raises(EngineError, match=message):
        own(JOBS)
    assert (own.actors.stops, own.actors.actors) == (1, {})
    own.close()
    assert own.actors.stops == 2


def test_graders_are_asked_for_what_needs_a_worker_once_and_the_cache_keeps_it():
    clear_cache()
    expected = grade_many(PAIRS)
    assert [own.outcome.value for own in expected] == [
        "incorrect", "correct", "incorrect", "correct", "correct", "correct",
    ]  # fmt: skip
    clear_cache()
    own = graders(2, program=Grader)
    assert grade_many(PAIRS, grades_jobs=own) == expected
    assert own.actors.asked == [{0: ["2", "10"], 1: ["4", "16"]}]
    assert [grade(*pair) for pair in PAIRS] == expected
    assert grade_many(PAIRS, grades_jobs=own) == expected
    assert len(own.actors.asked) == 1


def test_a_verdict_of_a_failure_is_not_kept():
    clear_cache()
    jobs = []

    def failing(found):
        jobs.extend(found)
        return [Verdict(Outcome.ERROR, job[0], "lost") for job in found]

    for _ in range(2):
        (verdict,) = grade_many(PAIRS[:1], grades_jobs=failing)
        assert verdict.outcome is Outcome.ERROR
    assert len(jobs) == 2
    assert grade(*PAIRS[0]).outcome is Outcome.INCORRECT


def test_a_run_and_its_evaluation_ask_the_graders(monkeypatch):
    config = TrainConfig(
        method=GRPOConfig(group_size=2),
        env=EnvConfig(size=4, levels=(4, 4), max_tokens=32),
        eval=EvalConfig(num_problems=2, samples=1, k=1),
        problems_per_iteration=2,
    )
    session = build_session(config)
    assert session.graders is None
    asked = []

    def noted(pairs, options, *, grades_jobs=None):
        asked.append((len(pairs), grades_jobs))
        return grade_many(pairs, options)

    # The room's door gives the function of the same name.
    module = sys.modules["reason_env.agents.rollout.collect"]
    monkeypatch.setattr(module, "grade_many", noted)
    own = session.graders = graders()
    prepare(session)
    iterate(session)
    evaluate_policy(session)
    assert [found is own for _, found in asked] == [True, True, True]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"graders": 2}, "graders must be 0 with engine 'torch', got 2; use --engine ray"),
        ({"kind": "ray", "graders": -1}, "graders must be at least 0, got -1"),
    ],
)
def test_a_wrong_number_of_graders_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        EngineConfig(**fields)
    assert replace(EngineConfig(kind="ray"), graders=1).graders == 1
