"""The twin of a chain problem: hand-computed for a scripted policy, and the real base model."""

import math

import numpy as np
import pytest

from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.worlds import twin as twin_module
from reason_env.agents.tabular.worlds.twin import OTHER, chain_twin, method_rows
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError
from reason_env.problem import Problem
from reason_env.problems.families import chain

CODEC = ByteCodec()
PROBLEM = Problem(
    problem_id="toy/test/0",
    question="x=1 y=2 z=3\nA:x+4 B:y*3",
    answer="563",
    solution=("A:1+4 x=5", "B:2*3 y=6"),
)


def written(contexts, completions):
    """Right digit 0.6, the next one 0.3, the one after 0.04, no other; any answer 0.9."""
    scores = []
    for completion in completions:
        text = CODEC.decode([one for one in completion if one != CODEC.eos_id])
        if text.startswith("####"):
            assert completion[-1] == CODEC.eos_id
            scores.append(math.log(0.9))
            continue
        expression, assigned = text.strip().split(" ")
        left, right = int(expression[2]), int(expression[4])
        value = (left + right if expression[3] == "+" else left * right) % 10
        error = (int(assigned[-1]) - value) % 10
        scores.append(math.log({0: 0.6, 1: 0.3, 2: 0.04}.get(error, 1e-300)))
    return scores


def test_the_twin_s_values_are_those_worked_out_by_hand():
    twin = chain_twin(PROBLEM, written, codec=CODEC)
    # 1 + 10 + 100 texts, the lost state and the end
    assert len(twin.texts) == 113
    assert twin.texts[:2] == ("", "A:1+4 x=0\n")
    # Both registers right, then the answer: 0.6 * 0.6 * 0.9
    assert twin.performance == pytest.approx(0.324)
    # Each step is lost with 0.06, an answer with 0.1: 1 - 0.94 * 0.94 * 0.9
    assert twin.lost == pytest.approx(1 - 0.94**2 * 0.9)
    one = finite.evaluate(twin.mdp, twin.policy_SA)
    assert one.value_HS[0, 0] == pytest.approx(0.324)
    # Writing the right first digit is worth 0.6 * 0.9, any other nothing.
    assert one.action_value_HSA[0, 0, 5] == pytest.approx(0.54)
    assert one.action_value_HSA[0, 0, [4, 6, OTHER]] == pytest.approx([0, 0, 0])
    # Improvable by 0.5: step 1 after a right digit (1 - 0.54 in 0.9), not the answer.
    assert finite.improvable_coverage(one, 0.35) == pytest.approx(0.6 / 3)
    assert finite.evaluate(twin.mdp, twin.reference_SA).performance == 1.0


def test_two_errors_that_cancel_pay_but_are_not_clean():
    again = Problem(
        problem_id="toy/test/1",
        question="x=1 y=2 z=3\nA:x+4 B:x-2",
        answer="323",
        solution=("A:1+4 x=5", "B:5-2 x=3"),
    )

    def score(contexts, completions):
        texts = [CODEC.decode([one for one in ids if one != CODEC.eos_id]) for ids in completions]
        known = {"A:1+4 x=5\n": 0.6, "A:1+4 x=6\n": 0.3, "B:5-2 x=3\n": 0.5, "B:6-2 x=3\n": 0.2}
        return [math.log(0.9 if "#" in text else known.get(text, 1e-300)) for text in texts]

    # 0.6 * 0.5 on the right way and 0.3 * 0.2 by two errors, each then 0.9
    twin = chain_twin(again, score, codec=CODEC)
    assert twin.performance == pytest.approx(0.36 * 0.9)
    clean = np.array([text for text, kept in zip(twin.texts, twin.is_clean_S, strict=True) if kept])
    assert clean.tolist() == ["", "A:1+4 x=5\n", "A:1+4 x=5\nB:5-2 x=3\n"]


def test_unlikely_wrong_branches_are_lost_and_counted_but_the_right_one_is_kept():
    twin = chain_twin(PROBLEM, written, codec=CODEC, min_probability=0.7)
    # Only the right digits, which are less likely than that, are left.
    assert len(twin.texts) == 5
    assert twin.performance == pytest.approx(0.324)
    assert twin.lost == pytest.approx(1 - 0.324)
    some = chain_twin(PROBLEM, written, codec=CODEC, min_probability=0.1)
    assert len(some.texts) == 1 + 2 + 4 + 2
    assert some.lost == pytest.approx(1 - 0.9**2 * 0.9)


def test_signal_and_steps_of_each_method_s_restarts_are_worked_out_by_hand():
    twin = chain_twin(PROBLEM, written, codec=CODEC, min_probability=0.1)
    rows = {row["method"]: row for row in method_rows(twin, threshold=0.35)}
    # Steps from the start: 1 + 0.9 + 0.81. max_a A: 0.54 - 0.324 first, then 0.9 - 0.54 after the
    # right digit, then 0.1 when both are right.
    signal = (0.216 + 0.6 * 0.36 + 0.36 * 0.1) / 2.71
    assert rows["GRPO"]["signal"] == pytest.approx(signal)
    assert rows["GRPO"]["steps"] == pytest.approx(2.71)
    assert rows["GRPO"]["clean"] == 1
    # Only step 2 after a right digit is improvable by 0.35; then 0.9 of it goes on to an answer.
    assert rows["SRPO, exact"]["signal"] == pytest.approx((0.36 + 0.6 * 0.1) / 1.9)
    assert rows["SRPO, exact"]["steps"] == pytest.approx(1.9)
    # The reference is at each step a third of the time: 1 step of each, and what follows.
    assert rows["POPE"]["steps"] == pytest.approx((2.71 + 1.9 + 1) / 3)
    assert all(row["gain"] > 0 for row in rows.values())


def test_the_base_model_s_sampled_success_lies_in_its_twin_s_bounds():
    from reason_env.agents.engines import Context, SamplingConfig
    from reason_env.agents.policy import LanguageModelPolicy
    from reason_env.state import PromptTemplate, ReasonState

    policy = LanguageModelPolicy.load("base")
    problem = chain.make("test", size=2, levels=(2, 2))[1]

    def score(contexts, completions):
        return [sum(one) for one in policy.score(contexts, completions, SamplingConfig())]

    twin = chain_twin(problem, score, codec=policy.codec)
    assert 0.2 < twin.performance < 0.95
    # One chain in ten rambles: the twin, which knows digits alone, counts its asides as lost.
    assert 0.05 < twin.lost < 0.15
    prompt_ids = PromptTemplate().token_ids(ReasonState(problem=problem, codec=policy.codec))
    context = Context(token_ids=prompt_ids, num_samples=1000, max_new_tokens=80)
    (completions,) = policy.sample([context], SamplingConfig(), seed=0)
    texts = [
        policy.codec.decode([i for i in one.token_ids if i != policy.codec.eos_id])
        for one in completions
    ]
    rate = np.mean([text.endswith(f"#### {problem.answer}") for text in texts])
    # Four standard errors of a proportion
    width = 4 * math.sqrt(0.25 / 1000)
    assert twin.performance - width <= rate <= twin.performance + twin.lost + width


def test_a_twin_that_would_be_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(twin_module, "MAX_STATES", 100)
    with pytest.raises(ConfigError, match="must have at most 100 states, got 111 after 2 of 2"):
        chain_twin(PROBLEM, written, codec=CODEC)
    with pytest.raises(ConfigError, match=r"min_probability must be in 0\.\.1, got 1\.5"):
        chain_twin(PROBLEM, written, codec=CODEC, min_probability=1.5)
