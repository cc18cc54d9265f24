"""Load in small: the claims of `benchmarks/faults/load.py` at a size for every test run."""

import json
import subprocess
import sys
import threading

import numpy as np
import pytest

from benchmarks.faults import load
from benchmarks.faults.load import KINDS, Load, LoadError, main, pairs
from reason_env.verdict import Outcome
from reason_env.verify import grade


def test_a_live_environment_takes_less_than_20_kb_beside_its_response():
    # In a process of its own: memory that earlier tests freed would hide what is taken here.
    words = [sys.executable, "-m", "benchmarks.faults.load", "environments", "--count", "300"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.removeprefix("environments "))
    assert 1 < found["kb_each"] < 20
    assert found["problems"] > 100


def test_an_environment_that_holds_too_much_is_found(monkeypatch):
    resident = iter((7_000, 7_000 + 20 * 20_001))
    monkeypatch.setattr(load, "_resident_bytes", lambda: next(resident))
    with pytest.raises(LoadError, match=r"an environment takes 20,001 bytes, more than 20,000"):
        main(Load(part="environments", count=20))


def test_pairs_depend_on_their_number_alone_and_each_kind_has_its_verdicts():
    assert list(pairs(5, 20))[10:] == list(pairs(15, 10))
    assert r"\int" in next(pairs(2000, 1))[1]
    for number, kind in enumerate(KINDS):
        outcomes = [grade(*kind(17, 23, 41, off)).outcome for off in (0, 1)]
        if number == 10:
            assert outcomes == [Outcome.NO_ANSWER, Outcome.NO_ANSWER]
        else:
            assert outcomes == [Outcome.CORRECT, Outcome.INCORRECT], number


def test_verdicts_of_a_busy_machine_are_those_of_a_quiet_one_and_a_difference_is_found(monkeypatch):
    found = main(Load(part="grading", count=400, first=1, burners=1))
    assert found["correct"] + found["incorrect"] + found["no_answer"] == 400
    assert found["correct"] > 100
    assert found["incorrect"] > 100
    several = load.grade_many

    def other(drawn):
        return [*several(drawn)[1:], several(drawn)[0]]

    monkeypatch.setattr(load, "grade_many", other)
    with pytest.raises(LoadError, match=r"of 40 verdicts differ; the first of pair \('"):
        main(Load(part="grading", count=40, first=1, burners=0))


def test_a_soak_finds_what_is_left_behind(monkeypatch):
    monkeypatch.setattr(load, "MOST_GROWTH_BYTES", 64 * 2**20)
    found = main(Load(part="soak", count=300))
    assert found["threads"][0] == found["threads"][2]
    kept = []

    def thread(number):
        if number == 30:
            kept.append(threading.Event())
            threading.Thread(target=kept[0].wait, daemon=True).start()
        return True

    with pytest.raises(LoadError, match=r"0 lost; grown: \['threads'\]"):
        load._watched(40, thread, wrong="lost")
    kept[0].set()
    with pytest.raises(LoadError, match=r"1 lost; grown: \[\]"):
        load._watched(40, lambda number: number != 3, wrong="lost")
    monkeypatch.setattr(load, "MOST_GROWTH_BYTES", 2**20)
    grown = iter(range(0, 2**24, 2**20))
    monkeypatch.setattr(load, "_resident_bytes", lambda: next(grown))
    with pytest.raises(LoadError, match=r"0 lost; grown: \[\], 2,097,152 bytes"):
        load._watched(40, lambda number: True, wrong="lost")


def test_memory_that_is_held_is_resident():
    before = load._resident_bytes()
    # An allocator asks the system for a block of this size, whatever was freed before.
    held = np.ones(2**24)
    assert load._resident_bytes() - before > 0.9 * held.nbytes


@pytest.mark.slow
def test_training_leaves_no_thread_file_or_process():
    found = main(Load(part="training", count=10))
    assert found["threads"] == [2, 2, 2]
