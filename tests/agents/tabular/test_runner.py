"""Ablations run as values: equal rows from any number of workers, CSV and figure on disk."""

import csv

import numpy as np
import pytest

from reason_env.agents.tabular.ablations import (
    SETTINGS,
    exploration,
    resets,
    run_setting,
    scherrer,
    setting,
    write_run,
)
from reason_env.agents.tabular.ablations.rows import write_csv
from reason_env.agents.tabular.sampled.slopes import fitted_slope
from reason_env.errors import ConfigError, UnknownNameError

SMALL = [name for name in SETTINGS if "_100" not in name and "_200" not in name]
"""The others are the same function with more states, and slow."""


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(resets, "CRITICAL_RATES", (0.02, 0.04))
    monkeypatch.setattr(exploration, "CHAIN_LENGTHS", (4, 6))
    monkeypatch.setattr(scherrer, "NUM_ITERATIONS", 10)
    monkeypatch.setattr(scherrer, "NUM_RUNS", {50: 2})
    monkeypatch.setattr(scherrer, "NUM_ACTIONS", (2,))


@pytest.mark.parametrize("name", SMALL)
def test_every_setting_runs_repeats_and_writes_its_table_and_figure(name, tmp_path, monkeypatch):
    monkeypatch.setattr(resets, "NUM_DRAWN", 5_000)
    seen = []
    rows = run_setting(name, num_seeds=1, on_seed=lambda *event: seen.append(event))
    assert seen == [(name, 1, 1)]
    assert rows == setting(name).run(0)
    table, picture = write_run(name, rows, tmp_path / "new")
    with table.open() as file:
        back = list(csv.DictReader(file))
    assert [list(row.values()) for row in back] == [
        [str(value) for value in row.values()] for row in rows
    ]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_two_workers_give_the_rows_of_one_in_the_same_order():
    one = run_setting("localisation", num_seeds=3)
    assert run_setting("localisation", num_seeds=3, num_workers=2) == one
    assert [row["seed"] for row in one] == sorted(row["seed"] for row in one)
    assert {row["seed"] for row in one} == {0, 1, 2}


def test_the_exact_sample_count_agrees_with_sampled_resets():
    rows = [row for row in resets.coverage(1) if row["samples"] < 30_000]
    ratio = np.array([row["sampled"] / row["samples"] for row in rows])
    # 200,000 resets measure a mean of three errors in 30,000 to 13 %, so its square to 26 %.
    assert len(ratio) >= 8
    assert (np.abs(ratio - 1) < 0.8).all()
    assert np.median(ratio) == pytest.approx(1, abs=0.1)


def test_a_fitted_slope_is_a_power_and_its_interval_is_over_seeds():
    x = np.array([1.0, 2, 4, 1, 2, 4])
    y = np.array([3.0, 1.5, 0.75, 5, 5, 5])
    seeds = [0, 0, 0, 1, 1, 1]
    got = fitted_slope(x, y, seeds)
    assert (got.estimate, got.low, got.high) == pytest.approx((-0.5, -1, 0))


def test_unknown_names_and_bad_counts_and_values_are_refused():
    with pytest.raises(UnknownNameError, match=r"no tabular setting 'chian'.*mean 'chain'"):
        run_setting("chian")
    with pytest.raises(ConfigError, match="num_seeds must be at least 1, got 0"):
        run_setting("chain", num_seeds=0)
    with pytest.raises(ConfigError, match="num_workers must be at least 1, got 0"):
        run_setting("chain", num_workers=0)
    with pytest.raises(ConfigError, match="rows must be at least 1, got none"):
        write_csv([], None)
    with pytest.raises(ConfigError, match=r"values must be above 0 on log axes, got 0\.0"):
        fitted_slope([1, 2], [1, 0], [0, 0])
    rng = np.random.default_rng(0)
    mdp = scherrer.garnet(num_states=10, num_actions=2, branching=2, rng=rng)
    with pytest.raises(UnknownNameError, match=r"no arm 'PSPD'.*mean 'PSDP'"):
        scherrer.arm_iterates("PSPD", mdp, [0])
    with pytest.raises(UnknownNameError, match=r"no reading 'valeu'.*mean 'value'"):
        scherrer.arm_iterates("PSDP", mdp, [0], reading="valeu")
