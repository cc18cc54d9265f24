"""SAGE: stronger hints while the whole group fails; trained under the hinted prompt."""

import json
from dataclasses import replace

import pytest

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import AdvantageConfig, LearnerConfig
from reason_env.agents.methods import ComposedConfig, LTEConfig, SAGEConfig, build_method
from reason_env.agents.methods.sage import read_hints
from reason_env.agents.runs import CheckpointConfig
from reason_env.agents.scripted import ScriptedPolicy, dry_run
from reason_env.agents.train import TrainConfig
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem
from tests.agents.methods.toy import toy_env

CODEC = ByteCodec()
SOLUTION = ("2*3=6", "6*4=24", "24*5=120", "120*6=720")
PROBLEMS = (
    Problem(problem_id="toy/train/0", question="6!=?", answer="720", solution=SOLUTION),
    Problem(problem_id="toy/train/1", question="3!=?", answer="6"),
)
PROMPT = "6!=?\n>"
TIERS = [f"6!=?\nBegin:\n{''.join(step + chr(10) for step in SOLUTION[:n])}>" for n in (1, 2, 3)]
RIGHT, WRONG, LONG = "#### 720$", "#### 9$", "#### 1000$"
CONFIG = SAGEConfig(group_size=2, advantage=AdvantageConfig(kind="mean"))


def run(config, script, names=("toy/train/0",), **built):
    env = toy_env(*PROBLEMS, max_tokens=80)
    method = build_method(config, **built)
    policy = ScriptedPolicy(script)
    found = dry_run(method, list(names), env=env, policy=policy)
    return method, found, [(one.text, one.num_samples) for one in policy.asked]


def trained(found):
    return [(s.role, CODEC.decode(s.context_ids), s.advantage) for s in found.samples]


def test_levels_rise_until_one_episode_succeeds_and_the_last_one_is_trained():
    script = {PROMPT: [WRONG, LONG], TIERS[0]: [WRONG, WRONG], TIERS[1]: [WRONG, RIGHT]}
    _, found, asked = run(CONFIG, script)
    assert asked == [(PROMPT, 2), (TIERS[0], 2), (TIERS[1], 2)]
    # In place of the problem's group, under the hinted prompt; not the levels before.
    assert trained(found) == [("hinted", TIERS[1], -0.5), ("hinted", TIERS[1], 0.5)]
    assert {sample.group for sample in found.samples} == {"0:toy/train/0"}
    assert found.num_sampled_tokens == 7 + 10 + 2 * 7 + 7 + 9


def test_a_solved_group_gets_no_hint():
    _, found, asked = run(CONFIG, {PROMPT: [WRONG, RIGHT]})
    assert asked == [(PROMPT, 2)]
    assert trained(found) == [("base", PROMPT, -0.5), ("base", PROMPT, 0.5)]


def test_after_the_last_level_the_search_ends_without_signal():
    script = {PROMPT: [WRONG] * 2} | {tier: [WRONG, LONG] for tier in TIERS}
    _, found, asked = run(CONFIG, script)
    assert [text for text, _ in asked] == [PROMPT, *TIERS]
    assert trained(found) == [("hinted", TIERS[2], 0.0)] * 2


def test_equal_tiers_are_one_level_and_an_empty_one_is_none():
    config = replace(CONFIG, shares=(0.0, 0.1, 0.45, 0.5))
    _, _, asked = run(config, {PROMPT: [WRONG] * 2, TIERS[1]: [WRONG] * 2})
    assert [text for text, _ in asked] == [PROMPT, TIERS[1]]


def test_a_hint_that_does_not_fit_is_no_level():
    def fits(state):
        return sum(len(piece.pieces) for piece in state.guidance) < 3

    script = {PROMPT: [WRONG] * 2, TIERS[0]: [WRONG] * 2, TIERS[1]: [WRONG] * 2}
    _, found, asked = run(CONFIG, script, fits=fits)
    assert [text for text, _ in asked] == [PROMPT, *TIERS[:2]]
    _, found, asked = run(CONFIG, {PROMPT: [WRONG] * 2}, fits=lambda state: not state.guidance)
    assert [text for text, _ in asked] == [PROMPT]
    assert [role for role, *_ in trained(found)] == ["base", "base"]


SELF = replace(CONFIG, hints="self", request="Hints?", max_hint_tokens=70)
REQUEST = f"6!=?\nBegin:\n{''.join(step + chr(10) for step in SOLUTION)}Hints?\n>"
REPLY = json.dumps({"level_1": "Multiply.", "level_2": "", "level_3": "Up to 6."})


def test_the_policy_writes_hints_once_shown_the_solution_and_the_request():
    hinted = [f"6!=?\nHint: {text}\n>" for text in ("Multiply.", "Up to 6.")]
    script = {
        PROMPT: [WRONG, WRONG],
        REQUEST: [REPLY + "$"],
        hinted[0]: [LONG, WRONG],
        hinted[1]: [RIGHT, WRONG],
    }
    method, found, asked = run(SELF, script)
    assert asked == [(PROMPT, 2), (REQUEST, 1), (hinted[0], 2), (hinted[1], 2)]
    assert trained(found) == [("hinted", hinted[1], 0.5), ("hinted", hinted[1], -0.5)]
    assert method.metrics(found.groups) == {"rollout/unreadable_hints": 0}


def test_an_unreadable_reply_leaves_the_problem_without_a_hint_and_is_counted():
    method, found, asked = run(SELF, {PROMPT: [WRONG, LONG], REQUEST: ["Multiply.$"]})
    assert [text for text, _ in asked] == [PROMPT, REQUEST]
    assert trained(found) == [("base", PROMPT, 0.0)] * 2
    assert method.metrics(found.groups) == {"rollout/unreadable_hints": 1}
    method, found, asked = run(
        SELF, {PROMPT: [WRONG, LONG]}, fits=lambda state: len(state.guidance) < 2
    )
    assert [text for text, _ in asked] == [PROMPT]
    assert method.metrics(found.groups) == {"rollout/unreadable_hints": 0}


@pytest.mark.parametrize(
    ("reply", "hints"),
    [
        ('{"level_1": "a", "level_2": "b", "level_3": "c"}', ("a", "b", "c")),
        ('```json\n{"level_2": " b\\n", "level_1": "a"}\n```', ("a", "b")),
        ('{"level_1": 3, "level_2": null, "level_3": ["c"]}', ()),
        ('{"level_4": "d"}', ()),
        ('["level_1"]', ()),
        ('{"level_1": "a"', ()),
        ("}{", ()),
        ("", ()),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, ()),
    ],
)
def test_a_reply_of_any_form_is_read(reply, hints):
    assert read_hints(reply) == hints


def test_problems_without_a_solution_are_left_out():
    with pytest.raises(ProblemError, match="SAGE must have problems with a reference solution"):
        run(CONFIG, {}, names=["toy/train/1"])
    _, found, _ = run(CONFIG, {PROMPT: [WRONG, RIGHT]}, names=["toy/train/1", "toy/train/0"])
    assert len(found.samples) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hints": "teacher"}, "hints must be one of tiers, self, got 'teacher'"),
        ({"shares": ()}, "shares must be in ascending order, got"),
        ({"shares": (0.5, 0.25)}, "shares must be in ascending order, got"),
        ({"shares": (0.5, 1.5)}, r"shares must lie in 0..1, got 1.5"),
        ({"max_hint_tokens": 0}, "max_hint_tokens must be at least 1, got 0"),
        ({"group_size": 1}, "group_size must be at least 2, got 1"),
    ],
)
def test_numbers_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        SAGEConfig(**changes)


def test_sage_and_lte_both_own_hinted_episodes():
    with pytest.raises(ConfigError, match="both own the episodes of hinted"):
        ComposedConfig(methods=(LTEConfig(), SAGEConfig()))


@pytest.mark.parametrize("hints", ["tiers", "self"])
def test_a_run_resumes_to_the_same_bits_and_its_tokens_add_up(cut_and_resumed, hints):
    config = TrainConfig(
        method=SAGEConfig(group_size=3, hints=hints, max_hint_tokens=40),
        env=EnvConfig(levels=(6, 8), size=6),
        eval=EvalConfig(num_problems=2, samples=1, k=1, greedy=False),
        learner=LearnerConfig(learning_rate=2e-4),
        checkpoint=CheckpointConfig(every=1),
        iterations=3,
        problems_per_iteration=6,
    )
    _, _, rows = cut_and_resumed(config)
    tokens = [row["rollout/sampled_tokens"] for row in rows[1:]]
    assert [row["rollout/sampled_tokens_total"] for row in rows[1:]] == [
        sum(tokens[: n + 1]) for n in range(3)
    ]
    role = "hinted" if hints == "tiers" else "hint"
    assert sum(row.get(f"rollout/sampled_tokens/{role}", 0) for row in rows) > 0
