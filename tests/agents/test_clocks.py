"""No duration, limit or order depends on the time of day, which may jump."""

import ast
import json
import random
import time
from pathlib import Path

import pytest

from reason_env import cli

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "agents/runs/provenance.py": "when a run began, for people",
    "agents/runs/scalars.py": "TensorBoard's axis of time, and names of files",
    "benchmarks/boundary/numbers.py": "when a measurement began, for people",
    "benchmarks/claims/gates.py": "when a measurement began, for people",
    "benchmarks/claims/runs.py": "the same of a row, compared with the date of its design",
    "benchmarks/environments/check_peers.py": "the date of a page",
}
NAMES = {
    ("time", "time"), ("time", "time_ns"), ("time", "localtime"), ("time", "gmtime"),
    ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"),
}  # fmt: skip


def reads_of_the_clock(source):
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [name.name for name in node.names if ("time", name.name) in NAMES]
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", None)
            found += [node.attr] if (name, node.attr) in NAMES else []
    return found


def test_the_time_of_day_is_read_only_where_this_list_says():
    found = {
        str(path.relative_to(ROOT))
        for folder in ("reason_env", "agents", "wrappers", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if reads_of_the_clock(path.read_text(encoding="utf-8"))
    }
    assert found == set(ALLOWED)


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "from time import time",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import date\ndate.today()",
    ],
)
def test_the_check_finds_what_it_looks_for(source):
    assert len(reads_of_the_clock(source)) == 1
    assert not reads_of_the_clock("import time\ntime.monotonic()\ntime.perf_counter()")


def test_a_run_whose_clock_jumps_has_equal_results_and_no_negative_duration(tmp_path, monkeypatch):
    words = (
        "train", "grpo", "--size", "2", "--levels", "3", "--problems-per-iteration", "1",
        "--group-size", "2", "--max-tokens", "16", "--iterations", "2", "--eval.num-problems", "1",
        "--eval.samples", "1", "--eval.k", "1", "--eval.greedy", "False", "--max-minutes", "5",
    )  # fmt: skip
    cli.main([*words, "--out", str(tmp_path / "steady")])
    jumps = random.Random(0)
    monkeypatch.setattr(time, "time", lambda: jumps.uniform(1e9, 4e9))
    cli.main([*words, "--out", str(tmp_path / "jumping")])
    steady, jumping = (
        (tmp_path / name / "metrics.jsonl").read_bytes() for name in ("steady", "jumping")
    )
    assert steady == jumping
    lines = (tmp_path / "jumping" / "timings.jsonl").read_text().splitlines()
    seconds = [
        value
        for line in lines
        for name, value in json.loads(line).items()
        if name.startswith("time/")
    ]
    assert len(seconds) > 10
    assert all(0 <= value < 300 for value in seconds)
