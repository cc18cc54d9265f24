import json

import pytest

from reason_env import cli
from reason_env.agents.probe import ProbeReport, page

FLAGS = (
    "--problems precedence --levels 1 2 --max-tokens 96 --group-size 2 --num-problems 2 "
    "--shares 0.5"
).split()


def run(capsys, *words):
    status = 0
    try:
        cli.main(list(words))
    except SystemExit as stop:
        status = stop.code or 0
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_probe_writes_a_page_and_its_figures_and_prints_what_to_run_next(capsys, tmp_path):
    status, printed, _ = run(capsys, "probe", *FLAGS, "--out", str(tmp_path / "p"))
    assert status == 0
    report = ProbeReport.from_json((tmp_path / "p" / "probe.json").read_text())
    assert report.settings["env"]["levels"] == [1, 2]
    assert (tmp_path / "p" / "probe.html").read_text() == page(report)
    for section in report.sections:
        assert section.title in printed
    for judgement in report.judgements:
        if judgement.command is not None:
            assert judgement.command in printed
    assert "template: ours" in printed
    assert f"page: {tmp_path / 'p' / 'probe.html'}" in printed


def test_a_probe_without_a_directory_is_named_by_model_and_problems(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "probe", *FLAGS)[0] == 0
    data = json.loads((tmp_path / "runs" / "probe-base-precedence" / "probe.json").read_text())
    assert data["format"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--minutes", "0"), "minutes must be above 0 and finite, got 0.0"),
        (("--again", "1"), "again must be at least 2, got 1"),
        (("--group-size", "1"), "group_size must be at least 2, got 1"),
        (("--problems", "chian"), "did you mean 'chain'"),
        (("--minuts", "3"), "--minutes"),
    ],
)
def test_a_mistake_is_one_line(capsys, words, message):
    status, _, error = run(capsys, "probe", *words)
    assert status == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1
