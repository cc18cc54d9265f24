"""Drawing an iteration's problems while the method measures them and leaves some out."""

import logging

import pytest

from reason_env.agents.methods import GRPOConfig
from reason_env.agents.methods.grpo import GRPO
from reason_env.agents.train import TrainConfig, build_session, collecting
from reason_env.agents.train.collecting import collect_iteration, draw_problems
from reason_env.env import EnvConfig


class Choosy(GRPO):
    """Keeps some problems; measures each with one episode when it is first drawn."""

    def __init__(self, kept):
        super().__init__(GRPOConfig(group_size=2))
        self.kept = kept
        self.known = set()
        self.rounds = []

    def measure(self, states, collect):
        names = [state.problem.problem_id for state in states]
        new = [state for state in states if state.problem.problem_id not in self.known]
        if new:
            collect([start for start in self.plan(new, None) if start.num_samples == 2])
        self.known.update(names)
        self.rounds.append(names)
        return [
            state for state in states if int(state.problem.problem_id.split("/")[-1]) in self.kept
        ]


def session_of(kept, **changes):
    arguments = {"problems_per_iteration": 4, "iterations": 9} | changes
    session = build_session(
        TrainConfig(env=EnvConfig(levels=(3, 4), size=12, max_tokens=32), **arguments)
    )
    session.method = Choosy(kept)
    session.iteration = 1
    return session


def numbers(states):
    return [int(state.problem.problem_id.split("/")[-1]) for state in states]


def test_a_method_that_keeps_all_draws_the_same_problems_as_one_that_measures_nothing():
    session = session_of(range(12))
    found = draw_problems(session)
    expected = session.config.chosen(session.problem_ids, 1)
    assert [state.problem.problem_id for state in found.states] == expected
    assert (session.num_drawn, found.num_left_out) == (4, 0)
    assert found.measured_tokens > 0


def test_further_problems_are_drawn_in_place_of_those_left_out():
    session = session_of(())
    order = [int(name.split("/")[-1]) for name in session.config.drawn(session.problem_ids, 0, 12)]
    kept = {order[0], order[3], order[4], order[6], order[9]}
    session.method = Choosy(kept)
    found = draw_problems(session)
    # Four, then two in the place of the second and third, then one for the sixth.
    assert [len(names) for names in session.method.rounds] == [4, 2, 1]
    assert numbers(found.states) == [order[at] for at in (0, 3, 4, 6)]
    assert (session.num_drawn, found.num_left_out) == (7, 3)
    # The next iteration goes on where this one ended, and measures only what is new.
    session.iteration = 2
    first_round = len(session.method.rounds)
    draw_problems(session)
    assert session.method.rounds[first_round] == session.config.drawn(session.problem_ids, 7, 4)


def test_measuring_ends_after_some_rounds_and_the_iteration_is_smaller(caplog):
    session = session_of(())
    order = [int(name.split("/")[-1]) for name in session.config.drawn(session.problem_ids, 0, 12)]
    session.method = Choosy({order[0], order[1], order[2]})
    with caplog.at_level(logging.WARNING):
        found = draw_problems(session)
    assert [len(names) for names in session.method.rounds] == [4, 1, 1, 1]
    assert numbers(found.states) == order[:3]
    assert caplog.messages == [
        "iteration 1 trains on 3 problems instead of 4: the method leaves out 4 of the 7 that were "
        "drawn"
    ]


def test_known_problems_are_passed_over_without_a_limit_but_an_epoch():
    session = session_of({5})
    session.method.known = set(session.problem_ids)
    found = draw_problems(session)
    assert numbers(found.states) == [5]
    assert session.num_drawn == 12
    assert found.measured_tokens == 0
    assert found.num_left_out == 11


def test_an_iteration_without_any_problem_collects_nothing():
    session = session_of(())
    found = collect_iteration(session)
    assert found.problems.states == ()
    assert found.batch.groups == ()


def test_no_more_problems_are_measured_once_the_budget_is_spent():
    session = session_of((), max_generated_tokens=20)
    found = draw_problems(session)
    assert len(session.method.rounds) == 1
    assert found.measured_tokens >= 20


def test_the_samples_of_a_measurement_depend_on_its_starts_alone(monkeypatch):
    seeds = []
    original = collecting.collect

    def recorded(starts, *, seed, **options):
        seeds.append(seed)
        return original(starts, seed=seed, **options)

    monkeypatch.setattr(collecting, "collect", recorded)
    session, other = session_of(range(12)), session_of(range(12))
    draw_problems(session)
    other.iteration = 7
    draw_problems(other)
    assert seeds[0] == seeds[1]
    draw_problems(other)
    draw_problems(session_of(range(12), seed=1))
    assert len(set(seeds)) == 3


@pytest.mark.parametrize("iteration", [1, 2, 5])
def test_draws_go_through_epochs_as_iterations_do(iteration):
    config = TrainConfig(problems_per_iteration=4)
    ids = [f"p/{n}" for n in range(6)]
    assert config.drawn(ids, 4 * (iteration - 1), 4) == config.chosen(ids, iteration)
    one_by_one = [config.drawn(ids, at, 1)[0] for at in range(12)]
    assert config.drawn(ids, 0, 12) == one_by_one
    assert sorted(one_by_one[:6]) == sorted(one_by_one[6:]) == ids
