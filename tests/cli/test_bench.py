import json

import pytest

FLAGS = (
    "--problems precedence --levels 1 2 --max-tokens 8 --group-size 2 --problems-per-iteration 2 "
    "--seconds 0.01"
).split()


def test_a_bench_prints_every_figure_and_writes_them(command, tmp_path):
    path = tmp_path / "bench.json"
    status, printed, _ = command("bench", *FLAGS, "--json", str(path))
    assert status == 0
    report = json.loads(path.read_text())
    assert report["num_rows"] == 4
    assert report["max_tokens"] == 8
    assert report["num_turns"] == 3
    for speed in report["speeds"]:
        assert 0 <= speed["low"] <= speed["median"] <= speed["high"]
        assert speed["unit"] in printed
    names = {speed["name"] for speed in report["speeds"]}
    assert {"limit/sampling", "limit/learning", "sampling", "learning", "iteration"} <= names
    assert all(text in " ".join(printed.split()) for text in report["advice"])
    assert f"figures: {path}" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--seconds", "0"), "seconds must be above 0, got 0.0"),
        (("--threads", "0"), "threads must be at least 1, got 0"),
        (("--problems", "chian"), "did you mean 'chain'"),
        (("--second", "3"), "--seconds"),
    ],
)
def test_a_mistake_is_one_line(command, words, message):
    status, _, error = command("bench", *words)
    assert status == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1
