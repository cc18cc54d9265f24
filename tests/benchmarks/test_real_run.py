import pytest

from benchmarks.methods.real_run import chosen_level, evaluations, interval
from reason_env.agents.probe import Figure, ProbeReport, Section


def report(**found):
    figures = [
        Figure(
            name=f"success/{level}/pass_at_8", label=level, estimate=estimate, num_problems=count
        )
        for level, (estimate, count) in found.items()
    ]
    section = Section(
        name="success",
        title="success",
        figures=tuple(figures),
        num_problems=9,
        num_eligible=9,
        sampled_tokens=1,
        seconds=1.0,
    )
    return ProbeReport(
        model="m",
        problems="p",
        num_problems=9,
        group_size=8,
        problems_per_iteration=2,
        seed=0,
        minutes=1.0,
        sampled_tokens=1,
        notes=(),
        judgements=(),
        undeclared=(),
        sections=(section,),
        settings={},
    )


@pytest.mark.parametrize(
    ("found", "level"),
    [
        ({"level_1": (0.4, 20), "level_2": (0.2, 20), "level_3": (0.19, 20)}, 2),
        ({"level_1": (0.4, 20), "level_2": (0.02, 20), "level_3": (0.3, 8)}, 3),
        ({"level_1": (0.4, 8), "level_3": (0.9, 7)}, 1),
        ({"level_1": (0.05, 20)}, None),
        ({}, None),
    ],
)
def test_the_hardest_level_with_enough_signal_is_chosen(found, level):
    assert chosen_level(report(**found), (1, 4)) == level


def test_the_first_and_the_last_evaluation_are_compared():
    rows = [
        {
            "iteration": 0,
            "eval/pass_at_1": 0.25,
            "eval/pass_at_1_low": 0.125,
            "eval/pass_at_1_high": 0.5,
        },
        {"iteration": 1, "rollout/pass_rate": 0.5},
        {"iteration": 2, "eval/pass_at_1": None},
        {"iteration": 3, "eval/pass_at_1": 0.75},
    ]
    before, after = evaluations(rows)
    assert (before["iteration"], after["iteration"]) == (0, 3)
    assert interval(before) == "0.250 [0.125, 0.500]"
