"""Log-probabilities and entropies of a probe against direct forward passes of a tiny model."""

import numpy as np
import pytest
import torch

from reason_env.agents.methods import GRPOConfig
from reason_env.agents.probe.entropy import (
    EntropyRow,
    entropy_findings,
    response_entropies,
    top_decile_share,
)
from reason_env.agents.probe.explanations import (
    ExplanationRow,
    announced_answer,
    announcement,
    chain_log_probs,
    chain_of,
    explanation_findings,
    explanation_rows,
)
from reason_env.agents.probe.speed import (
    SampledBlock,
    Trained,
    speed_figures,
    timed_update,
    trial_samples,
)
from reason_env.agents.probe.subject import Subject
from reason_env.agents.rollout import Group, Start, initial_states
from reason_env.agents.train import TrainConfig, build_session
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig

CODEC = ByteCodec()


@pytest.fixture(scope="module")
def subject():
    env = EnvConfig(problems="precedence", levels=(2, 3), max_tokens=96)
    return Subject(
        session=build_session(TrainConfig(method=GRPOConfig(group_size=2), env=env)), again=2
    )


@pytest.fixture(scope="module")
def groups(subject):
    states = initial_states(subject.session.env, subject.session.problem_ids[:3], seed=0)
    starts = [
        Start(state=state, num_samples=2, learn_from=state, group=f"{at}:x", draw=at)
        for at, state in enumerate(states)
    ]
    return subject.collect(starts, 1).groups


@torch.no_grad()
def logits_of(subject, tokens):
    output = subject.session.policy.model(input_ids=torch.tensor([tokens]))
    return output.logits[0, :, : CODEC.vocab_size].log_softmax(-1)


def by_hand(subject, context, completion):
    """log pi of each completion token, by one forward pass without batching."""
    log_probs = logits_of(subject, context + completion)
    return [log_probs[len(context) - 1 + at, token].item() for at, token in enumerate(completion)]


def test_a_chain_ends_before_the_step_that_states_an_answer(groups):
    state = groups[0].trajectories[0].start.state

    def chain(text):
        return chain_of(state.extend((*CODEC.encode(text), CODEC.eos_id))).text

    assert chain("a\nb\n#### 3") == "a\nb\n"
    assert chain("a\nb 3\n") == "a\nb 3\n"
    assert chain("a\nso \\boxed{3}") == "a\n"
    assert chain("#### 3") == ""
    assert chain("a\nb") == "a\nb"


def test_the_answer_is_announced_as_the_template_s_examples_do_and_scored_alone(groups):
    state = groups[0].trajectories[0].start.state
    answer = state.problem.answer
    for template, words in (
        ("ours", "#### "),
        ("boxed", "The answer is \\boxed{"),
        ("gsm8k-fewshot", "#### "),
        ("dapo", "Answer: "),
    ):
        assert announcement(EnvConfig(template=template)) == words
        for text, joint in (("a\n", "a\n"), ("a", "a\n"), ("", "")):
            before, scored = announced_answer(state.extend(CODEC.encode(text)), words)
            assert CODEC.decode(before) == joint + words
            assert CODEC.decode(scored) == answer


def test_chains_and_answers_are_scored_under_the_prompt_without_guidance(subject, groups):
    items = [group.trajectories[0] for group in groups]
    states = [item.start.state for item in items]
    chains = [chain_of(item.final_state) for item in items]
    chains[1] = None
    chains[2] = states[2]  # empty
    likely, answered = chain_log_probs(subject, states, chains)
    prompt = subject.prompt_ids(states[0])
    expected = by_hand(subject, prompt, chains[0].response)
    assert likely[0] == pytest.approx(np.mean(expected), abs=1e-4)
    assert likely[1:] == [None, None]
    before, scored = announced_answer(chains[0], "#### ")
    assert answered[0] == pytest.approx(sum(by_hand(subject, prompt + before, scored)), abs=1e-3)
    assert answered[1] is None
    before, scored = announced_answer(states[2], "#### ")
    prompt = subject.prompt_ids(states[2])
    assert answered[2] == pytest.approx(sum(by_hand(subject, prompt + before, scored)), abs=1e-3)


def test_explanations_are_scored_beside_the_problem_s_own_chain_and_reference(subject, groups):
    rows = explanation_rows(subject, groups, 3)
    assert [row.problem_id for row in rows] == [
        group.trajectories[0].start.state.problem.problem_id for group in groups
    ]
    states = [group.trajectories[0].start.state for group in groups]
    own = [chain_of(group.trajectories[0].final_state) for group in groups]
    found = [(row.ordinary, row.answer_after_ordinary) for row in rows]
    assert found == list(zip(*chain_log_probs(subject, states, own), strict=True))
    text = "".join(f"{step}\n" for step in states[0].problem.solution)
    prompt = subject.prompt_ids(states[0])
    expected = by_hand(subject, prompt, CODEC.encode(text))
    assert rows[0].reference == pytest.approx(np.mean(expected), abs=1e-4)
    assert [row.has_wrong_chain for row in rows] == [
        not all(item.is_success for item in group.trajectories) for group in groups
    ]


def explained(number, **changes):
    values = {
        "problem_id": str(number), "is_kept": True, "has_wrong_chain": True, "explanation": -0.5,
        "ordinary": -1.0, "reference": -2.0, "answer_after_explanation": -1.0,
        "answer_after_ordinary": -4.0, "answer_after_reference": -0.5,
    }  # fmt: skip
    return ExplanationRow(**{**values, **changes})


def test_both_properties_are_paired_differences():
    rows = [
        explained(0),
        explained(1, explanation=-1.0, is_kept=False, answer_after_explanation=-2.0),
        explained(2, explanation=None, has_wrong_chain=False),
    ]
    found = {figure.name: figure for figure in explanation_findings(rows).figures}
    assert found["explanations/likelier"].estimate == (1.5 + 1.0) / 2
    assert found["explanations/likelier"].num_problems == 2
    assert found["explanations/leads_on"].estimate == pytest.approx((3 + 2 + 3) / 3)
    assert found["explanations/kept"].estimate == pytest.approx(2 / 3)
    assert found["explanations/pairs"].estimate == pytest.approx(1 / 3)
    assert found["explanations/answer_after_reference"].estimate == -0.5


def test_a_property_that_cannot_be_measured_says_why():
    bare = [explained(0, reference=None, answer_after_reference=None)]
    assert "no reference solutions" in explanation_findings(bare).missing["explanations/likelier"]
    empty = [explained(0, explanation=None)]
    assert "first step" in explanation_findings(empty).missing["explanations/likelier"]


def test_entropies_are_those_of_the_distributions_that_response_tokens_are_drawn_from(
    subject, groups
):
    items = [item for group in groups for item in group.trajectories]
    for item, entropies in zip(items, response_entropies(subject.session.policy, items),
                               strict=True):  # fmt: skip
        log_probs = logits_of(subject, item.prompt_ids + item.final_state.response)
        expected = -(log_probs.exp() * log_probs).sum(-1)
        begin = len(item.prompt_ids)
        drawn = expected[begin - 1 : begin - 1 + len(item.final_state.response)]
        assert entropies == pytest.approx(drawn.tolist(), abs=1e-4)


def entropy_row(number, entropies, bounds, wrong=None, *, is_success=False):
    return EntropyRow(
        problem_id=str(number), entropies=tuple(entropies), bounds=bounds, is_success=is_success,
        wrong=wrong,
    )  # fmt: skip


def test_entropy_is_averaged_by_place_and_problem():
    rows = [
        # Two responses of one problem count as one.
        entropy_row(0, [1.0, 0.0, 0.5, 0.5], (0, 2, 4), wrong=1),
        entropy_row(0, [0.0, 0.0, 0.0, 0.0], (0, 2, 4), wrong=2),
        entropy_row(1, [2.0, 1.0, 0.0, 1.0, 1.0, 1.0], (0, 2, 4, 6), wrong=2),
    ]
    found = {figure.name: figure for figure in entropy_findings(rows).figures}
    assert found["entropy/mean"].estimate == ((0.5 + 0.0) / 2 + 1.0) / 2
    # First tokens: (1 + 0.5) / 2 and 0, then (2 + 0 + 1) / 3.
    assert found["entropy/first_token"].estimate == pytest.approx((0.375 + 1.0) / 2)
    assert found["entropy/others_token"].estimate == pytest.approx((0.125 + 1.0) / 2)
    assert found["errors/step_1"].estimate == (0.5 + 0) / 2
    assert found["errors/step_2"].estimate == (0.5 + 1) / 2
    # Places: 0 of 1 and 1 of 1, then 1 of 2.
    assert found["errors/place"].estimate == (0.5 + 0.5) / 2
    assert "entropy/step_1" not in found
    many = [entropy_row(at, [at, 1.0], (0, 1, 2), is_success=True) for at in range(5)]
    result = entropy_findings(many)
    found = {figure.name: figure.estimate for figure in result.figures}
    assert (found["entropy/step_1"], found["entropy/step_2"]) == (2.0, 1.0)
    assert "no step checker" in result.missing["errors"]


def test_the_top_decile_of_few_tokens_is_one_token():
    assert top_decile_share([3.0, 1.0, 0.0]) == 0.75
    assert top_decile_share([1.0] * 20) == pytest.approx(0.1)


def test_an_update_is_timed_and_leaves_weights_optimizer_and_version_as_they_were(subject, groups):
    session = subject.session
    before = {name: value.clone() for name, value in session.policy.model.state_dict().items()}
    samples = trial_samples(groups, 10)
    assert len(samples) == 2  # the first whole group is more than ten tokens
    assert {abs(sample.advantage) for sample in samples} == {1.0}
    found = timed_update(session, samples)
    after = session.policy.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert session.learner.optimizer.state_dict()["state"] == {}
    assert (session.learner.num_updates, session.policy.policy_version) == (0, 0)
    assert found.num_rows == 2
    assert found.num_tokens == sum(len(s.context_ids) + len(s.token_ids) for s in samples)
    assert found.seconds > 0
    parameters = sum(value.numel() for value in session.policy.model.parameters())
    assert found.spare_bytes == 4 * parameters
    assert found.peak_bytes > 4 * found.spare_bytes


def test_an_iteration_is_estimated_from_its_parts(build):
    state = build["problem_state"](0)

    def group(outcomes):
        items = [
            build["trajectory"](state, "x" * 8, outcome=outcome, index=at)
            for at, outcome in enumerate(outcomes)
        ]
        return Group(key="a", trajectories=tuple(items))

    groups = [group(["correct", "incorrect"]), group(["incorrect"] * 2)]
    tokens = groups[0].trajectories[0].num_sampled_tokens
    assert tokens == 10
    blocks = [
        SampledBlock(num_rows=2, sampled_tokens=20, sampling_s=1.0, other_s=9.0),
        SampledBlock(num_rows=4, sampled_tokens=40, sampling_s=0.5, other_s=0.25),
    ]
    trained = Trained(
        num_rows=5, num_tokens=100, seconds=2.0, peak_bytes=3_000_000_000,
        spare_bytes=1_000_000_000,
    )  # fmt: skip
    found = {
        figure.name: figure.estimate
        for figure in speed_figures(
            blocks, trained, groups, group_size=2, problems_per_iteration=10,
            updates_per_iteration=3,
        )
    }  # fmt: skip
    assert found["speed/sampled"] == 80.0
    assert found["speed/trained"] == 50.0
    assert found["speed/memory"] == 3.0
    assert found["speed/iteration_tokens"] == 200.0
    # 20 rows: 200 tokens at 80/s, 20 x 0.25 / 4 s of grading, and half of 20 x 0.4 s of training.
    assert found["speed/iteration"] == pytest.approx(2.5 + 1.25 + 4.0)
    assert found["speed/iteration_full"] == pytest.approx(2.5 + 1.25 + 8.0)
    assert found["speed/updates_per_hour"] == pytest.approx(3 * 3600 / 7.75)
    assert found["speed/updates_per_million"] == pytest.approx(3 * 5000)
    alone = speed_figures(blocks, None, groups, group_size=2, problems_per_iteration=10)
    assert [figure.name for figure in alone] == ["speed/sampled", "speed/iteration_tokens"]
