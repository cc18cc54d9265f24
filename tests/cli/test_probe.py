import json

import pytest

from reason_env.agents.probe import ProbeReport, page

FLAGS = (
    "--problems precedence --levels 1 2 --max-tokens 96 --group-size 2 --num-problems 2 "
    "--shares 0.5"
).split()


def test_a_probe_writes_a_page_and_its_figures_and_prints_what_to_run_next(command, tmp_path):
    status, printed, _ = command("probe", *FLAGS, "--out", str(tmp_path / "p"))
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


def test_a_probe_without_a_directory_is_named_by_model_and_problems(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command("probe", *FLAGS)[0] == 0
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
def test_a_mistake_is_one_line(command, words, message):
    status, _, error = command("probe", *words)
    assert status == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1
