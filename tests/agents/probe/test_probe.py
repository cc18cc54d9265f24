"""The whole probe, with the shipped base model on families whose facts its card tells."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from reason_env.agents.methods import GRPOConfig, RRPOConfig, method_names
from reason_env.agents.probe import Figure, ProbeConfig, ProbeReport, probe
from reason_env.agents.probe.probe import suggested
from reason_env.agents.rollout import Group
from reason_env.agents.train import TrainConfig, build_session
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError, ModelError

FIXED = ProbeConfig(num_problems=8, again=2, shares=(0.25, 0.5))


def settings(problems="precedence", levels=(8, 10), **changes):
    env = EnvConfig(problems=problems, levels=levels, max_tokens=160)
    return TrainConfig(
        method=GRPOConfig(group_size=4), env=env, problems_per_iteration=8, seed=1, **changes
    )


@pytest.fixture(scope="module")
def session():
    return build_session(settings())


@pytest.fixture(scope="module")
def report(session):
    before = {name: value.clone() for name, value in session.policy.model.state_dict().items()}
    found = probe(session, FIXED)
    after = session.policy.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    return found


def timeless(report):
    """The report without what the clock decides."""
    data = json.loads(report.to_json())
    data.pop("minutes")
    data["sections"] = [
        {**section, "seconds": None} for section in data["sections"] if section["name"] != "speed"
    ]
    return data


def test_the_base_model_s_card_is_found_again(report):
    figures = report.figures
    # Card, precedence 8-10: the answer makes 0.75 succeed, its own wrong answers 0.27 against 0.02,
    # half the solution 0.55, and it locates the first wrong step in 0.65 against 0.08.
    assert figures["success/pass_at_1"].estimate < 0.15
    assert figures["success/unsolved"].estimate > 0.5
    assert figures["explanations/kept"].estimate > 0.4
    assert figures["guided/prompt_0.5_gain"].estimate > 0.15
    assert figures["localisation/above_chance"].estimate > 0.25
    assert figures["localisation/above_chance"].low > 0
    assert 0 < figures["localisation/clean"].estimate < 1
    measured = figures["localisation/reset_signal"].num_problems
    assert figures["localisation/first_error_success"].num_problems == measured > 0
    assert figures["explanations/leads_on"].low > 0


def test_sections_that_are_left_out_change_no_other_figure(session, report):
    few = probe(session, replace(FIXED, sections=("localisation",)))
    assert [section.name for section in few.sections] == ["speed", "success", "localisation"]
    for name in ("success/signal", "localisation/reset_signal", "localisation/above_chance"):
        assert few.figures[name] == report.figures[name]
    by_method = {own.method: own for own in few.judgements}
    assert by_method["rrpo"].status == {own.method: own for own in report.judgements}["rrpo"].status
    assert by_method["pope"].status == "not measurable"
    assert "sections leave guided out" in by_method["pope"].gates[-1].evidence


def test_every_section_has_its_cost_and_every_figure_its_problems(report):
    names = [section.name for section in report.sections]
    assert names == [
        "speed", "success", "guided", "mistakes", "explanations", "localisation", "entropy",
    ]  # fmt: skip
    assert report.sampled_tokens == sum(section.sampled_tokens for section in report.sections)
    sampled = {section.name for section in report.sections if section.sampled_tokens > 0}
    assert sampled == set(names) - {"speed", "entropy"}
    for section in report.sections:
        assert section.num_left_out == 0
        for figure in section.figures:
            assert figure.low is None or figure.low <= figure.estimate <= figure.high
            assert figure.num_problems <= 8
            assert np.isfinite(figure.estimate)


def test_every_method_is_judged_and_says_what_to_run_next(report):
    assert {judgement.method for judgement in report.judgements} | set(report.undeclared) == {
        *method_names(), "cpi",
    }  # fmt: skip
    for judgement in report.judgements:
        assert (judgement.command is None) == (
            judgement.status in ("does not hold", "not measurable")
        )
        if judgement.command is not None:
            assert judgement.command.startswith(f"reason-env train {judgement.method} --")
            assert "--problems precedence --levels 8 10" in judgement.command
            assert "--template ours" in judgement.command


def test_a_report_reads_back_and_other_text_is_refused(report):
    assert ProbeReport.from_json(report.to_json()) == report
    with pytest.raises(ConfigError, match="a probe must be JSON as to_json"):
        ProbeReport.from_json("[]")
    old = json.dumps({**json.loads(report.to_json()), "format": 0})
    with pytest.raises(ConfigError, match="another format"):
        ProbeReport.from_json(old)


@pytest.mark.slow
def test_a_probe_repeats_and_another_seed_differs(session, report):
    assert timeless(probe(session, FIXED)) == timeless(report)
    again = build_session(replace(settings(), seed=2))
    assert timeless(probe(again, FIXED))["sections"] != timeless(report)["sections"]


def test_a_longer_probe_holds_the_episodes_of_a_shorter_one(session, report):
    short = probe(session, replace(FIXED, num_problems=4))
    assert short.figures["success/pass_at_1"].num_problems == 4

    def tokens(own):
        return next(section for section in own.sections if section.name == "success")

    # The first block is the same, so the longer probe's tokens are these and more.
    assert 0 < tokens(short).sampled_tokens < tokens(report).sampled_tokens


class Watch:
    """Advances by a second each time it is read."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def test_a_probe_without_time_measures_a_first_block_and_says_what_it_left_out(session):
    config = replace(FIXED, num_problems=None, max_problems=12, minutes=0.05)
    found = probe(session, config, clock=Watch())
    by_name = {section.name: section for section in found.sections}
    assert by_name["success"].num_problems == 4
    assert by_name["success"].num_left_out == 8
    assert "8 of 12 problems were left out, for lack of time" in " ".join(found.notes)
    assert by_name["localisation"].missing == {
        "localisation": "there was no time left; give more minutes"
    }
    srpo = next(own for own in found.judgements if own.method == "srpo")
    assert "no time left" in " ".join(gate.evidence for gate in srpo.gates)


def test_problems_without_solutions_leave_out_what_needs_them(tmp_path):
    rows = [{"question": f"{a}+{a + 1}=?", "answer": str(2 * a + 1)} for a in range(9)]
    path = tmp_path / "plain.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = settings(problems=str(path), levels=None)
    found = probe(build_session(config), FIXED)
    by_name = {own.method: own for own in found.judgements}
    assert by_name["pope"].status in ("not measurable", "does not hold")
    assert by_name["sft"].status in ("not measurable", "does not hold")
    assert "no reference solutions" in by_name["sft"].gates[0].evidence
    assert by_name["sft"].gates[0].status == "not measurable"
    likelier = by_name["expo"].gates[1]
    assert likelier.status == "not measurable"
    assert "no step checker" in found.missing["localisation/accuracy"]
    assert "explanations/leads_on" in found.figures


def test_another_method_s_session_is_refused():
    session = build_session(replace(settings(), method=RRPOConfig()))
    with pytest.raises(ConfigError, match="a probe must have a session of grpo, got one of 'rrpo'"):
        probe(session, FIXED)


def test_problems_of_which_none_fits_are_refused(session, monkeypatch):
    monkeypatch.setattr(session.method, "fits", lambda state: False)
    with pytest.raises(
        ModelError, match="some problem must fit the prompt and the model, got none"
    ):
        probe(session, FIXED)


def test_the_suggested_budget_follows_the_responses_and_the_group_size_the_signal(build, session):
    run = session.config
    state = build["problem_state"](0)
    short = build["trajectory"](state, "x" * 79)  # and an end token: 80
    cut = build["trajectory"](state, "x" * 79, outcome="no_answer", answer=None)
    cut = replace(cut, outcome="truncated")

    def signal(**own):
        return {
            name: Figure(name=name, label=name, estimate=value)
            for key, value in own.items()
            if (name := f"success/{key}")
        }

    few = [Group(key="a", trajectories=(short,) * 10 + (cut,))]
    changed, size = suggested(run, few, signal(signal=0.5))
    assert (changed.env.max_tokens, size) == (128, 4)  # 80 * 5 / 4 = 100, in multiples of 32
    many = [Group(key="a", trajectories=(short,) * 4 + (cut,))]
    changed, size = suggested(run, many, signal(signal=0.1))
    assert (changed.env.max_tokens, size) == (320, 8)
    big = replace(run, method=GRPOConfig(group_size=32))
    found = signal(signal=0.9, signal_at_8=0.2, signal_at_16=0.35)
    assert suggested(big, few, found)[1] == 16
