"""Runs that are killed at random moments end as those that nobody killed."""

import numpy as np
import pytest

from benchmarks.faults import kills
from benchmarks.faults.kills import CASES, Kills, UnequalError, killed, main
from reason_env.agents.methods import method_names


def test_every_method_has_a_case():
    assert set(method_names()) <= set(CASES)
    assert {"cpi", "lora", "stack", "compare", "srpo+lte"} <= set(CASES)


def test_a_run_that_ends_otherwise_or_fails_is_found(tmp_path, monkeypatch):
    seen = []

    def contents(out, recorded):
        seen.append(out.name)
        return {"metrics.jsonl": out.name.encode()}

    with monkeypatch.context() as patch:
        patch.setattr(kills, "contents", contents)
        with pytest.raises(UnequalError, match=r"grpo: metrics.jsonl differ; both runs are in '"):
            killed("grpo", tmp_path, 1, np.random.default_rng(0))
    assert seen == ["whole", "run0"]
    monkeypatch.setitem(CASES, "bad", ("train", "grpo", "--levels", "x"))
    with pytest.raises(UnequalError, match=r"(?s)must end with status 0, got 2: .*error: --levels"):
        killed("bad", tmp_path, 1, np.random.default_rng(0))


# In quarters, which two processes share.
@pytest.mark.slow
@pytest.mark.parametrize("quarter", range(4))
def test_sixty_killed_runs_end_as_whole_ones(quarter):
    figures = main(Kills(kills=15, cases=tuple(CASES)[quarter::4]))
    hits = [value for own in figures.values() for key, value in own.items() if " " in key]
    assert sum(hits) == 15
