import pytest

from benchmarks.methods.method_cost import score, table


def row(method, generated, trained, seconds):
    return {"method": method, "generated": generated, "trained": trained, "seconds": seconds}


ROWS = [
    row("grpo", 100, 80, 2.0),
    row("lte", 150, 60, 3.0),
    row("exp-dpo", 0, 20, 1.0),
    row("grpo", 200, 100, 5.0),
    row("lte", 240, 100, 9.0),
    row("exp-dpo", 0, 30, 1.0),
    row("grpo", 400, 200, 8.0),
    row("lte", 400, 300, 16.0),
    row("exp-dpo", 0, 10, 4.0),
]


def test_costs_are_medians_of_ratios_within_a_round():
    found = score(ROWS)
    # Rounds: 1.5, 1.2, 1.0; 0.75, 1.0, 1.5; 1.5, 1.8, 2.0; 20 / 20, 37.5 / 25, 40 / 20 ms a token.
    assert found["lte"] == {
        "generated": pytest.approx(1.2),
        "trained": pytest.approx(1.0),
        "seconds": pytest.approx(1.8),
        "seconds a token": pytest.approx(1.5),
    }
    assert set(found["grpo"].values()) == {1.0}


def test_a_method_that_generates_nothing_has_no_cost_of_a_token():
    assert score(ROWS)["exp-dpo"]["seconds a token"] is None
    assert table(score(ROWS)).splitlines()[-1] == "| `exp-dpo` | 0.00 | 0.25 | 0.50 | - |"
