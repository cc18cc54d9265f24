"""Measurements of a scripted policy, worked out by hand."""

import pytest

from reason_env.agents.methods import GRPOConfig, build_method
from reason_env.agents.probe.guided import guided_findings, guided_rows
from reason_env.agents.probe.localisation import (
    LocalisationRow,
    localisation_findings,
    localisation_rows,
)
from reason_env.agents.probe.mistakes import mistakes_findings, mistakes_rows
from reason_env.agents.probe.subject import Subject, has_failed, success_rate
from reason_env.agents.rollout import Start, initial_states
from reason_env.agents.scripted import ScriptedPolicy
from reason_env.agents.train import Session, TrainConfig
from reason_env.env import EnvConfig, reason_env_of

ROWS = (
    '{"question": "1*2*3*4=?", "answer": "24", "solution": ["1*2=2", "2*3=6", "6*4=24"]}\n'
    '{"question": "5+5=?", "answer": "10", "solution": ["5+5=10"]}\n'
)


@pytest.fixture
def make_subject(tmp_path):
    """Returns script -> a subject of two problems, whose policy is scripted."""
    (tmp_path / "two.jsonl").write_text(ROWS)

    def make(script, again=2, size=2):
        policy = ScriptedPolicy(script)
        config = TrainConfig(
            method=GRPOConfig(group_size=size),
            env=EnvConfig(problems=str(tmp_path / "two.jsonl"), template="ours"),
        )
        env = config.env.make(policy.codec)
        session = Session(
            config=config,
            policy=policy,
            env=env,
            eval_env=None,
            method=build_method(config.method),
            learner=None,
            conservative=None,
            problem_ids=[problem.problem_id for problem in reason_env_of(env).problems],
        )
        return Subject(session=session, again=again)

    return make


def groups_of(subject, size=2):
    states = initial_states(subject.session.env, subject.session.problem_ids, seed=0)
    starts = [
        Start(state=state, num_samples=size, learn_from=state, group=f"{at}:x", draw=at)
        for at, state in enumerate(states)
    ]
    return subject.collect(starts, 1).groups


def figures(found):
    return {figure.name: figure for figure in found.figures}


FIRST, SECOND = "1*2*3*4=?\n", "5+5=?\n"


def test_guidance_is_compared_with_fresh_episodes_of_the_same_problem(make_subject):
    subject = make_subject(
        {
            f"{FIRST}>": ["#### 9$", "#### 8$", "#### 24$", "#### 7$"],
            f"{SECOND}>": ["#### 10$", "#### 9$"],
            f"{FIRST}Begin:\n1*2=2\n>": ["#### 24$", "#### 24$"],
            f"{FIRST}Begin:\n1*2=2\n2*3=6\n>": ["#### 5$", "#### 5$"],
            f"{FIRST}>1*2=2\n": ["#### 24$", "#### 4$"],
            f"{FIRST}>1*2=2\n2*3=6\n": ["#### 24$", "#### 24$"],
        }
    )
    groups = groups_of(subject)
    assert [success_rate(group) for group in groups] == [0.0, 0.5]
    failed = [group for group in groups if has_failed(group)]
    shares = (0.25, 0.5, 1.0)
    (row,) = guided_rows(subject, failed, 2, shares)
    # 0.25 and 0.5 of three steps are one and two; all of them would leave nothing to do.
    assert row.rates == {
        "none": 0.5, "prompt_0.25": 1.0, "response_0.25": 0.5, "prompt_0.5": 0.0,
        "response_0.5": 1.0,
    }  # fmt: skip
    found = guided_findings([row], shares)
    by_name = figures(found)
    assert by_name["guided/prompt_0.25_gain"].estimate == 0.5
    assert by_name["guided/prompt_0.5_gain"].estimate == -0.5
    assert by_name["guided/response_0.25_gain"].estimate == 0.0
    assert by_name["guided/prompt_0.25_unlocked"].estimate == 1.0
    assert by_name["guided/prompt_0.5_unlocked"].estimate == 0.0
    assert set(found.missing) == {"guided/prompt_1", "guided/response_1"}


def test_repeated_answers_are_counted_with_and_without_the_list(make_subject):
    subject = make_subject(
        {
            # The group, then the plain retries: 9 is listed, 7 is not.
            f"{FIRST}>": ["#### 9$", "#### 8$", "#### 9$", "#### 7$", "#### 8$", "#### 24$"],
            f"{SECOND}>": ["#### 10$", "#### 9$"],
            f"{FIRST}Not: 9, 8\n>": ["#### 24$", "#### 24$", "#### 8$", "#### 6$"],
        },
        again=4,
    )
    groups = [group for group in groups_of(subject) if has_failed(group)]
    (row,) = mistakes_rows(subject, groups, 2)
    assert (row.repeated_plain, row.repeated_hinted) == (0.5, 0.25)
    assert (row.success_plain, row.success_hinted) == (0.25, 0.5)
    found = figures(mistakes_findings([row]))
    assert found["mistakes/avoided"].estimate == 0.25
    assert found["mistakes/gain"].estimate == 0.25
    assert "no failed problem has a wrong answer" in mistakes_findings([]).missing["mistakes"]


def test_a_long_wrong_answer_is_recognised_in_the_shortened_form_of_the_list(make_subject):
    long = "1" * 70
    subject = make_subject(
        {
            f"{FIRST}>": [f"#### {long}$", "#### 8$", f"#### {long}$", "#### 24$"],
            f"{SECOND}>": ["#### 10$", "#### 9$"],
            f"{FIRST}Not: {'1' * 58} [...], 8\n>": ["#### 7$", "#### 7$"],
        }
    )
    groups = [group for group in groups_of(subject) if has_failed(group)]
    (row,) = mistakes_rows(subject, groups, 2)
    assert (row.repeated_plain, row.repeated_hinted) == (0.5, 0.0)


def test_failed_groups_without_a_wrong_answer_have_nothing_to_list(make_subject):
    subject = make_subject({f"{FIRST}>": ["so$", "so$"], f"{SECOND}>": ["#### 10$", "#### 9$"]})
    groups = [group for group in groups_of(subject) if has_failed(group)]
    assert len(groups) == 1
    assert mistakes_rows(subject, groups, 2) == []


def test_suffixes_from_the_named_cut_are_compared_with_those_from_a_uniform_cut(make_subject):
    chain = "1*2=2\n2*3=7\n#### 28$"
    asked = f"{FIRST}1 1*2=2\n2 2*3=7\n3 #### 28\nFirst wrong step?\n>"
    kept = f"{FIRST}>1*2=2\n"
    suffixes = ["2*3=6\n#### 24$"] * 3 + ["#### 9$"] * 5
    subject = make_subject(
        {
            f"{FIRST}>": [chain, *["#### 9$"] * 5],
            f"{SECOND}>": ["#### 10$", "#### 10$"],
            asked: [r"\boxed{2}$"],
            kept: suffixes,
            f"{kept}2*3=7\n": ["#### 28$", "#### 24$", "#### 2$", "#### 24$"],
        }
    )
    groups = groups_of(subject)[:1]
    (row,) = localisation_rows(subject, groups, 5)
    assert (row.num_steps, row.named, row.is_in_range, row.wrong) == (3, 2, True, None)
    assert row.named_success == 0.75
    # There is no checker; the other response of the problem failed, too.
    assert (row.exact_success, row.start_success) == (None, 0.0)
    # The uniform cut keeps 0, 1 or 2 steps; each has its script.
    contexts = [item.text for item in subject.session.policy.asked]
    last = {f"{FIRST}>": 0.0, kept: 0.0, f"{kept}2*3=7\n": 0.5}
    assert row.uniform_success == last[contexts[-1]]
    assert row.uniform_has_signal == (row.uniform_success == 0.5)
    found = localisation_findings([row])
    assert figures(found)["localisation/gain"].estimate == 0.75 - row.uniform_success
    assert "no step checker" in found.missing["localisation/accuracy"]


def test_a_reply_out_of_range_resets_to_the_beginning_and_is_counted(make_subject):
    asked = f"{FIRST}1 1*2=2\n2 #### 2\nFirst wrong step?\n>"
    subject = make_subject(
        {
            f"{FIRST}>": ["1*2=2\n#### 2$", *["#### 24$"] * 9],
            f"{SECOND}>": ["#### 10$", "#### 10$"],
            f"{FIRST}>1*2=2\n": ["#### 24$"] * 4,
            asked: [r"\boxed{9}$"],
        }
    )
    (row,) = localisation_rows(subject, groups_of(subject)[:1], 1)
    assert (row.named, row.is_in_range) == (1, False)
    assert figures(localisation_findings([row]))["localisation/in_range"].estimate == 0.0


def test_resets_at_the_first_error_are_compared_with_a_uniform_cut_and_the_start():
    def row(**changes):
        return LocalisationRow(
            **{
                "problem_id": "x", "num_steps": 4, "named": 2, "is_in_range": True, "wrong": 2,
                "named_success": 0.5, "uniform_success": 0.25, "uniform_has_signal": True,
                "exact_success": 0.75, "start_success": 0.5,
            } | changes
        )  # fmt: skip

    rows = [row(), row(wrong=3, exact_success=0.5, start_success=0.0), row(wrong=None)]
    found = figures(localisation_findings(rows))
    # Uniform cuts at steps 1..4 keep no error up to the wrong one: 2/4 and 3/4.
    assert found["localisation/clean"].estimate == 0.625
    assert found["localisation/first_error_success"].estimate == pytest.approx(2 / 3)
    assert found["localisation/first_error_gain"].estimate == pytest.approx(5 / 12)
    assert found["localisation/over_start"].estimate == pytest.approx((0.25 + 0.5 + 0.25) / 3)
    without = figures(localisation_findings([row(wrong=None, exact_success=None)]))
    assert not {"localisation/clean", "localisation/over_start"} & set(without)
