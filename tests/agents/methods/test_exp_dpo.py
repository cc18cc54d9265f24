import json
import logging

import pytest
import torch

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig, PairLearner
from reason_env.agents.methods import ExPDPOConfig
from reason_env.agents.methods.exp_dpo import ExPDPO
from reason_env.agents.runs import CheckpointConfig
from reason_env.agents.scripted import ScriptedPolicy, dry_run, scripted_log_probs
from reason_env.agents.train import TrainConfig
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem
from tests.agents.methods.toy import toy_env

CODEC = ByteCodec()
PROBLEMS = (
    Problem(
        problem_id="toy/train/0", question="2*3*4=?", answer="24", solution=("2*3=6", "6*4=24")
    ),
    Problem(problem_id="toy/train/1", question="1+1=?", answer="2"),
)
PROMPT, SHOWN = "2*3*4=?\n>", "2*3*4=?\nAnswer: 24\n>"
OTHER, OTHER_SHOWN = "1+1=?\n>", "1+1=?\nAnswer: 2\n>"
RIGHT, WRONG, EXPLAINED = "#### 24$", "#### 20$", "6*4\n#### 24$"
BETRAYED = "by the given answer\n#### 24$"


def ids(text):
    return CODEC.encode(text.removesuffix("$")) + ((CODEC.eos_id,) if text.endswith("$") else ())


def make(**changes):
    return ExPDPO(ExPDPOConfig(**({"chains": 2, "explanation_samples": 2} | changes)))


def make_env():
    return toy_env(*PROBLEMS, max_tokens=60)


def run(method, script, problems=("toy/train/0",)):
    policy = ScriptedPolicy(script)
    return dry_run(method, list(problems), env=make_env(), policy=policy), policy


def texts(found):
    return [(s.role, s.group, s.token_ids) for s in found.samples]


def test_an_explanation_is_preferred_to_the_first_wrong_chain_without_its_hint():
    script = {PROMPT: [RIGHT, WRONG], SHOWN: [BETRAYED, EXPLAINED]}
    found, policy = run(make(), script)
    assert [(a.text, a.num_samples) for a in policy.asked] == [(PROMPT, 2), (SHOWN, 2)]
    chosen, rejected = found.samples
    assert (chosen.role, rejected.role) == ("chosen", "rejected")
    assert chosen.group == rejected.group == "0:toy/train/0"
    assert chosen.context_ids == rejected.context_ids == ids(PROMPT)
    assert chosen.token_ids == ids(EXPLAINED)
    assert rejected.token_ids == ids(WRONG)
    assert chosen.behavior_log_probs == scripted_log_probs(1, 12)
    assert rejected.behavior_log_probs == scripted_log_probs(1, 8)
    assert chosen.action_mask == (True,) * 12
    assert chosen.advantage == rejected.advantage == 1.0


@pytest.mark.parametrize(
    "script",
    [
        {PROMPT: [RIGHT, RIGHT], SHOWN: [EXPLAINED, EXPLAINED]},  # nothing wrong
        {PROMPT: [WRONG, WRONG], SHOWN: [BETRAYED, "#### 23$"]},  # no good explanation
    ],
)
def test_a_problem_without_a_chosen_or_a_rejected_response_has_no_pair(script):
    assert run(make(), script)[0].samples == ()


def test_the_answer_filter_and_its_betrayal_phrases_are_settings():
    script = {PROMPT: [WRONG, WRONG], SHOWN: [BETRAYED, EXPLAINED]}
    found, _ = run(make(filter_answers=False), script)
    assert found.samples[0].token_ids == ids(BETRAYED)
    script[SHOWN] = ["6*4\n#### 20$", EXPLAINED]
    found, _ = run(make(filter_answers=False), script)
    assert found.samples[0].token_ids == ids("6*4\n#### 24$")
    assert found.samples[0].source == "reference"
    found, _ = run(make(betrayals=("6*4",)), {PROMPT: [WRONG] * 2, SHOWN: [EXPLAINED, RIGHT]})
    assert found.samples[0].token_ids == ids(RIGHT)


def test_a_truncated_chain_can_be_rejected():
    endless = "1\n" * 40
    found, _ = run(make(), {PROMPT: [endless, WRONG], SHOWN: [EXPLAINED] * 2})
    assert found.samples[1].token_ids == ids(endless)[:60]


def test_the_expert_s_chain_can_be_chosen(caplog):
    both = ("toy/train/1", "toy/train/0")
    with caplog.at_level(logging.WARNING):
        found, policy = run(make(explanations="expert"), {PROMPT: [RIGHT, WRONG]}, both)
    assert [asked.text for asked in policy.asked] == [PROMPT]
    assert [(s.role, s.source) for s in found.samples] == [
        ("chosen", "reference"),
        ("rejected", "policy"),
    ]
    assert found.samples[0].token_ids == ids("2*3=6\n6*4=24\n#### 24$")
    assert "leaves out 1 of 2 problems without a reference solution: toy/train/1" in caplog.text


def test_online_pairs_are_sampled_again_in_every_iteration():
    method = make()
    script = {PROMPT: [WRONG, WRONG, RIGHT, "#### 21$"], SHOWN: [EXPLAINED, RIGHT, RIGHT, RIGHT]}
    policy = ScriptedPolicy(script)
    first, second = (
        dry_run(method, ["toy/train/0"], env=make_env(), policy=policy) for _ in range(2)
    )
    assert [s.token_ids for s in first.samples] == [ids(EXPLAINED), ids(WRONG)]
    assert [s.token_ids for s in second.samples] == [ids(RIGHT), ids("#### 21$")]
    assert method.state_dict() == {"known": {}}


OFFLINE = {
    PROMPT: [RIGHT, WRONG],
    SHOWN: [EXPLAINED, RIGHT],
    OTHER: ["#### 3$", "#### 4$"],
    OTHER_SHOWN: ["#### 9$", "#### 2$"],
}
BOTH = ("toy/train/0", "toy/train/1")


def test_offline_pairs_are_sampled_once_for_all_problems_and_then_reused():
    method = make(sampled="offline")
    found, policy = run(method, OFFLINE, BOTH)
    assert len(policy.asked) == 4
    assert found.batches == found.groups == ()
    assert texts(found) == [
        ("chosen", "0:toy/train/0", ids(EXPLAINED)),
        ("rejected", "0:toy/train/0", ids(WRONG)),
        ("chosen", "1:toy/train/1", ids("#### 2$")),
        ("rejected", "1:toy/train/1", ids("#### 3$")),
    ]
    again, policy = run(method, {}, ("toy/train/1", "toy/train/1"))
    assert policy.asked == []
    assert [s.group for s in again.samples] == ["0:toy/train/1"] * 2 + ["1:toy/train/1"] * 2


def test_offline_pairs_survive_json():
    method, other = make(sampled="offline"), make(sampled="offline")
    first, _ = run(method, OFFLINE, BOTH)
    other.load_state_dict(json.loads(json.dumps(method.state_dict())))
    again, _ = run(other, {}, BOTH)
    assert again.samples == first.samples


def test_offline_problems_without_a_pair_are_left_out_and_counted(caplog):
    script = OFFLINE | {OTHER: ["#### 2$", "#### 2$"]}
    with caplog.at_level(logging.WARNING):
        found, _ = run(make(sampled="offline"), script, BOTH)
    assert caplog.messages == ["ExP-DPO found no pair for 1 of 2 problems"]
    assert len(found.samples) == 2
    with pytest.raises(ProblemError, match="offline pairs must be found for a problem, got none"):
        run(make(sampled="offline"), script, ("toy/train/1",))


def test_an_answer_that_does_not_fit_into_the_prompt_is_not_shown():
    method = make()
    method.fits = lambda state: False
    found, policy = run(method, {PROMPT: [WRONG, WRONG]})
    assert [asked.text for asked in policy.asked] == [PROMPT]
    assert found.samples == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampled": "of"}, "sampled must be one of online, offline, got 'of'"),
        ({"explanations": "own"}, "explanations must be one of self, expert, got 'own'"),
        ({"chains": 0}, "chains must be at least 1, got 0"),
        ({"explanation_samples": 0}, "explanation_samples must be at least 1, got 0"),
    ],
)
def test_numbers_and_names_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        ExPDPOConfig(**changes)


@pytest.mark.parametrize("sampled", ["online", "offline"])
def test_a_run_that_was_killed_resumes_to_the_same_bits(cut_and_resumed, sampled):
    config = TrainConfig(
        method=ExPDPOConfig(sampled=sampled, chains=2, explanation_samples=2, filter_answers=False),
        env=EnvConfig(levels=(4, 6), size=3, max_tokens=96),
        eval=EvalConfig(num_problems=1, samples=1, k=1, greedy=False),
        checkpoint=CheckpointConfig(every=1),
        learner=LearnerConfig(learning_rate=2e-4),
        iterations=2,
        problems_per_iteration=2,
        episodes_per_iteration=2,
    )

    def has_the_pairs(whole, again):
        assert again.method.state_dict() == whole.method.state_dict()

    whole, again, rows = cut_and_resumed(config, has_the_pairs)
    assert isinstance(again.learner, PairLearner)
    before = again.policy.model.state_dict()
    assert rows[2]["update/num_updates_total"] >= 1
    assert (rows[2]["rollout/num_trajectories"] == 0) == (sampled == "offline")
    assert (rows[2]["rollout/sampled_tokens"] == 0) == (sampled == "offline")
    reference = whole.learner.ref_policy.model.state_dict()
    assert not all(torch.equal(value, reference[name]) for name, value in before.items())
