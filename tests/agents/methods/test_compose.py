"""Compositions on the scripted policy: every group, merge and advantage is worked out by hand."""

import logging

import numpy as np
import pytest

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods import (
    ComposedConfig,
    ExPDPOConfig,
    GRPOConfig,
    MethodBase,
    build_method,
    method_config,
    method_name,
)
from reason_env.agents.methods.compose import Composed
from reason_env.agents.methods.expo import ExPOConfig
from reason_env.agents.methods.lte import LTEConfig
from reason_env.agents.methods.pope import POPEConfig
from reason_env.agents.methods.rrpo import RRPOConfig, paper_loss
from reason_env.agents.methods.sft import SFTConfig
from reason_env.agents.methods.srpo import SRPOConfig
from reason_env.agents.runs import config_json
from reason_env.agents.scripted import ScriptedPolicy, dry_run, scripted_log_probs
from reason_env.agents.train import TrainConfig
from reason_env.codec import ByteCodec
from reason_env.errors import CheckpointError, ConfigError, UnknownNameError
from reason_env.problem import Problem
from reason_env.verdict import Outcome, Verdict
from reason_env.verify import grade
from tests.agents.methods.toy import toy_env

CODEC = ByteCodec()
SOLVED = Problem(
    problem_id="toy/train/0", question="2*3*4=?", answer="24", solution=("2*3=6", "6*4=24")
)
BARE = Problem(problem_id="toy/train/1", question="1+1=?", answer="2")
PROMPT, OTHER = "2*3*4=?\n>", "1+1=?\n>"
RIGHT = "#### 24$"
CHAIN = "2*3=5\n#### 20$"
LOCALISE = "2*3*4=?\n1 2*3=5\n2 #### 20\nFirst wrong step?\n>"
NAMED = r"\boxed{2}$"
SHOWN = "2*3*4=?\nAnswer: 24\n>"
EXPLAINED = "6*4\n#### 24$"
AFTER = PROMPT + "2*3=5\n"
BASE = "0:toy/train/0"
MEAN = AdvantageConfig(kind="mean")

SRPO = SRPOConfig(num_base=2, num_reset=2, max_tries=4, tries_per_round=1)
RRPO = RRPOConfig(num_base=2, num_reset=2, max_tries=4, tries_per_round=1)
LTE = LTEConfig(group_size=2, advantage=MEAN, loss=LossConfig(clip_high=0.28))
EXPO = ExPOConfig(group_size=2, beta=0.5, advantage=MEAN)
POPE = POPEConfig(group_size=3, hard_samples=2, probe_samples=1, max_fraction=0.5, grid=0.5)
GRPO = GRPOConfig(group_size=2, advantage=MEAN)
# A seed whose first draw keeps the first of two steps: RRPO then begins where SRPO does.
SEED = next(n for n in range(99) if int(np.random.default_rng(n).integers(2)) == 1)


def ids(text):
    return CODEC.encode(text.removesuffix("$")) + ((CODEC.eos_id,) if text.endswith("$") else ())


def wrong(*numbers):
    return [f"#### {number}$" for number in numbers]


def composed(*configs):
    return build_method(ComposedConfig(methods=configs))


def run(method, script, *, problems=("toy/train/0",), seed=SEED, max_tokens=40):
    env = toy_env(SOLVED, BARE, max_tokens=max_tokens, reward={"undecided": "left_out"})
    policy = ScriptedPolicy(script)
    return dry_run(method, list(problems), env=env, policy=policy, seed=seed), policy


def shape(found):
    return [
        [(s.group.removeprefix(BASE), s.role, s.num_samples) for s in batch]
        for batch in found.batches
    ]


def trained(found):
    """Returns (role, text, advantage) of each sample."""
    return [
        (s.role, CODEC.decode(s.token_ids[: len(s.token_ids) - 1]), s.advantage)
        for s in found.samples
    ]


def test_srpo_then_lte_resets_from_the_source_and_merges_hints_into_the_remaining_group():
    hinted = "2*3*4=?\nNot: 21, 22\n>"  # the seed's 20 is not in the group any more
    method = composed(SRPO, LTE)
    found, policy = run(
        method,
        {
            PROMPT: [CHAIN, *wrong(21, 22)],
            LOCALISE: [NAMED],
            hinted: [RIGHT, "#### 5$"],
            AFTER: [RIGHT, "#### 20$"],
        },
    )
    assert shape(found) == [
        [("", "base", 3)],
        [("/localise", "localise", 1), ("", "hinted", 2)],
        [("/reset", "reset", 2)],
    ]
    # One of 21 and 22 stays and the hinted success takes the other's place: returns 0 and 1, mean
    # 1/2, population deviation 1/2. The reset group: 1 and 0.
    (base, new), resets = found.samples[:2], found.samples[2:]
    assert [(s.role, s.advantage) for s in found.samples] == [
        ("base", -1.0),
        ("hinted", 1.0),
        ("reset", 1.0),
        ("reset", -1.0),
    ]
    assert base.token_ids in (ids("#### 21$"), ids("#### 22$"))
    assert (new.context_ids, new.token_ids) == (ids(PROMPT), ids(RIGHT))
    assert new.behavior_log_probs == scripted_log_probs(0, 8)
    assert [s.token_ids for s in resets] == [
        ids("2*3=5\n#### 24$"),
        ids("2*3=5\n#### 20$"),
    ]
    assert resets[0].action_mask == (False,) * 6 + (True,) * 8
    # 14 + 8 + 8 tries, 9 localised, 8 + 7 hinted, 8 + 8 reset.
    assert found.num_sampled_tokens == 30 + len(ids(NAMED)) + 15 + 16
    assert method.loss == paper_loss()
    assert method.role_losses == {
        "hinted": LossConfig(
            surrogate="shaped",
            ratio_denominator="behavior",
            aggregation="seq_mean_token_mean",
            importance_weight_cap=None,
        )
    }
    assert len(policy.asked) == 4


def test_lte_then_srpo_hints_on_the_whole_group_before_srpo_removes_its_source():
    hinted = "2*3*4=?\nNot: 20, 21, 22\n>"
    lte = LTEConfig(group_size=3, advantage=MEAN, loss=LossConfig(clip_high=0.28))
    method = composed(lte, SRPO)
    found, _ = run(
        method,
        {
            PROMPT: [CHAIN, *wrong(21, 22)],
            hinted: [RIGHT, *wrong(5, 6)],
            LOCALISE: [NAMED],
            AFTER: [RIGHT, "#### 20$"],
        },
    )
    # LTE asks first, and SRPO waits while the group grows.
    assert shape(found) == [
        [("", "base", 3)],
        [("", "hinted", 3)],
        [("/localise", "localise", 1)],
        [("/reset", "reset", 2)],
    ]
    # The seed goes out before the merge: 21 or 22, and 24: LTE's r - mean. SRPO's own estimator
    # (-1 and 1) is the reset group's alone.
    assert [(s.role, s.advantage) for s in found.samples] == [
        ("base", -0.5),
        ("hinted", 0.5),
        ("reset", 1.0),
        ("reset", -1.0),
    ]
    assert found.samples[0].token_ids != ids(CHAIN)
    assert method.loss == LossConfig(clip_high=0.28)
    assert method.role_losses["reset"] == paper_loss()
    assert method.role_losses["hinted"].clip_high == 0.28
    assert set(method.role_losses) == {"hinted", "reset", "top_up", "localise"}


def test_srpo_after_another_method_keeps_an_extra_source_in_the_group_and_adds_no_tries():
    extra = SRPOConfig(num_base=2, num_reset=2, source_choice="extra")
    grpo = GRPOConfig(group_size=3, advantage=MEAN)
    script = {PROMPT: [RIGHT, CHAIN, "#### 21$"], LOCALISE: [NAMED], AFTER: [RIGHT, RIGHT]}
    found, _ = run(composed(grpo, extra), script)
    assert trained(found)[:3] == [
        ("base", "#### 24", pytest.approx(2 / 3)),
        ("base", "2*3=5\n#### 20", pytest.approx(-1 / 3)),
        ("base", "#### 21", pytest.approx(-1 / 3)),
    ]
    found, policy = run(composed(grpo, SRPO), {PROMPT: [RIGHT] * 3})
    assert shape(found) == [[("", "base", 3)]]
    assert len(found.samples) == 3
    assert len(policy.asked) == 1


def test_lte_waits_until_rrpo_s_tries_are_complete(monkeypatch):
    from reason_env.env import reason_env as env_module

    def failing(response, answer, options):
        failed = Verdict(Outcome.TIMEOUT, "99", "")
        return failed if "?" in response else grade(response, answer, options)

    monkeypatch.setattr(env_module, "grade", failing)
    hinted = "2*3*4=?\nNot: 21, 22\n>"
    found, _ = run(
        composed(RRPO, LTE),
        {
            PROMPT: ["?$", CHAIN, *wrong(21, 22)],
            AFTER: [RIGHT, RIGHT],
            hinted: wrong(1, 2),
        },
    )
    # 21 alone fails after the first round, but the loop still samples.
    assert shape(found) == [
        [("", "base", 3)],
        [("", "base", 1)],
        [("/reset", "reset", 2), ("", "hinted", 2)],
    ]


def test_pope_then_rrpo_resets_the_unguided_copy_and_leaves_the_guided_one():
    method = composed(POPE, RRPO)
    guided = "2*3*4=?\nBegin:\n2*3=6\n>"
    prompts = [PROMPT, guided]
    script = {
        PROMPT: [*wrong(1, 2), CHAIN, RIGHT, "#### 21$"],  # two of the search
        guided: [RIGHT, RIGHT, *wrong(7, 8)],  # one of it
        AFTER: [RIGHT, "#### 20$"],
    }
    found, policy = run(method, script)
    assert [asked.text for asked in policy.asked] == [*prompts, *prompts, AFTER]
    assert shape(found) == [
        [("", "base", 3), ("/guided", "guided", 3)],
        [("/reset", "reset", 2)],
    ]
    # Unguided without its first failure: 1 and 0; guided: 1, 0, 0; POPE's r - mean for both. Reset:
    # RRPO's (r - mean) / deviation.
    third = pytest.approx
    assert trained(found) == [
        ("base", "#### 24", 0.5),
        ("base", "#### 21", -0.5),
        ("guided", "#### 24", third(2 / 3)),
        ("guided", "#### 7", third(-1 / 3)),
        ("guided", "#### 8", third(-1 / 3)),
        ("reset", "2*3=5\n#### 24", 1.0),
        ("reset", "2*3=5\n#### 20", -1.0),
    ]
    assert [s.context_ids for s in found.of_role("guided")] == [ids(guided)] * 3
    assert method.loss == POPE.loss
    assert method.role_losses == {"reset": paper_loss(), "top_up": paper_loss()}


def test_rrpo_then_pope_adds_as_many_guided_copies_as_pope_configures():
    method = composed(RRPO, POPE)
    guided = "2*3*4=?\nBegin:\n2*3=6\n>"
    script = {
        PROMPT: [*wrong(1, 2), CHAIN, RIGHT, "#### 21$"],
        guided: [RIGHT, RIGHT, *wrong(7, 8)],
        AFTER: [RIGHT, "#### 20$"],
    }
    found, _ = run(method, script)
    assert shape(found)[0] == [("", "base", 3), ("/guided", "guided", 3)]
    assert [(s.role, s.advantage) for s in found.samples if s.role == "base"] == [
        ("base", 1.0),
        ("base", -1.0),
    ]
    assert found.of_role("guided")[0].advantage == pytest.approx(2 / 3)
    assert method.loss == paper_loss()
    assert method.role_losses == {"guided": POPE.loss}


def test_grpo_and_expo_is_expo():
    script = {PROMPT: ["#### 20$", RIGHT], SHOWN: [EXPLAINED]}
    alone, _ = run(build_method(EXPO), script)
    both, _ = run(composed(GRPO, EXPO), script)
    assert both.batches == alone.batches
    assert both.samples == alone.samples
    assert [(s.role, s.advantage) for s in both.samples] == [
        ("base", -0.5),
        ("base", 0.5),
        ("explanation", 0.5),
    ]
    assert both.samples[2].context_ids == ids(PROMPT)
    assert composed(GRPO, EXPO).role_losses == build_method(EXPO).role_losses


def test_lte_then_expo_merges_and_explains():
    hinted = "2*3*4=?\nNot: 20, 21\n>"
    script = {PROMPT: wrong(20, 21), SHOWN: [EXPLAINED], hinted: [RIGHT, "#### 5$"]}
    method = composed(LTE, EXPO)
    found, _ = run(method, script)
    assert shape(found) == [
        [("", "base", 2), ("/explanation", "explanation", 1)],
        [("", "hinted", 2)],
    ]
    assert [(s.role, s.advantage) for s in found.samples] == [
        ("base", -0.5),
        ("hinted", 0.5),
        ("explanation", 0.5),
    ]
    assert {s.context_ids for s in found.samples} == {ids(PROMPT)}
    assert method.role_losses["explanation"].separate_normaliser
    assert not method.role_losses["hinted"].separate_normaliser


def test_srpo_lte_and_expo_together_reset_hint_and_explain():
    hinted = "2*3*4=?\nNot: 21, 22\n>"
    found, _ = run(
        composed(SRPO, LTE, EXPO),
        {
            PROMPT: [CHAIN, *wrong(21, 22)],
            SHOWN: [EXPLAINED],
            LOCALISE: [NAMED],
            hinted: [RIGHT, RIGHT],  # all right: one failure is kept
            AFTER: ["#### 20$", RIGHT],
        },
    )
    assert shape(found) == [
        [("", "base", 3), ("/explanation", "explanation", 1)],
        [("/localise", "localise", 1), ("", "hinted", 2)],
        [("/reset", "reset", 2)],
    ]
    assert [(s.role, s.advantage) for s in found.samples] == [
        ("base", -1.0),
        ("hinted", 1.0),
        ("reset", -1.0),
        ("reset", 1.0),
        ("explanation", 0.5),
    ]


def test_expo_then_srpo_takes_the_source_from_expo_s_group_and_adds_resets():
    script = {PROMPT: [CHAIN, RIGHT], SHOWN: [EXPLAINED], LOCALISE: [NAMED], AFTER: [RIGHT, RIGHT]}
    expo = ExPOConfig(group_size=2, beta=0.5, advantage=MEAN)
    found, _ = run(composed(expo, SRPO), script)
    # Without its seed one episode is left: nothing to be compared with.
    assert [(s.role, s.advantage) for s in found.samples] == [
        ("reset", 0.0),
        ("reset", 0.0),
        ("explanation", 0.5),
    ]


def test_sft_adds_the_reference_of_each_problem_after_another_method():
    found, policy = run(composed(GRPO, SFTConfig(weight=0.25)), {PROMPT: ["#### 20$", RIGHT]})
    assert [(s.role, s.source, s.advantage) for s in found.samples] == [
        ("base", "policy", -0.5),
        ("base", "policy", 0.5),
        ("reference", "reference", 0.25),
    ]
    assert found.samples[2].token_ids == ids("2*3=6\n6*4=24\n#### 24$")
    assert len(policy.asked) == 1


SCRIPTS = {
    GRPO: {PROMPT: [RIGHT, "#### 20$"]},
    # Enough for a reset to either step.
    RRPO: {PROMPT: [CHAIN, RIGHT, "#### 21$", RIGHT, "#### 20$"], AFTER: [RIGHT, "#### 20$"]},
    SRPO: {PROMPT: [CHAIN, RIGHT, "#### 21$"], LOCALISE: [NAMED], AFTER: [RIGHT, "#### 20$"]},
    POPE: {
        PROMPT: [*wrong(1, 2, 3), RIGHT, RIGHT],
        "2*3*4=?\nBegin:\n2*3=6\n>": [RIGHT, RIGHT, "#### 7$", RIGHT],
    },
    LTE: {PROMPT: wrong(20, 21), "2*3*4=?\nNot: 20, 21\n>": [RIGHT, "#### 5$"]},
    EXPO: {PROMPT: [RIGHT, "#### 20$"], SHOWN: [EXPLAINED]},
    SFTConfig(group_size=2): {PROMPT: [RIGHT, "#### 20$"]},
}


@pytest.mark.parametrize("config", list(SCRIPTS), ids=lambda config: config.kind)
@pytest.mark.parametrize("seed", [SEED, 5])
def test_a_composition_of_one_method_equals_the_method(config, seed):
    alone, one = build_method(config), Composed({config.kind: build_method(config)})
    first, _ = run(alone, SCRIPTS[config], seed=seed)
    second, _ = run(one, SCRIPTS[config], seed=seed)
    assert len(first.samples) > 1
    assert second == first
    assert (one.loss, one.advantage) == (alone.loss, alone.advantage)
    assert one.role_losses == alone.role_losses
    assert type(composed(config)) is type(alone)


def test_no_failure_in_all_tries_tops_up_the_group_and_gives_no_hint():
    found, _ = run(composed(SRPO, LTE), {PROMPT: [RIGHT] * 6})
    # Tries: 3, then 1 (at most 4); two are base; 2 + 2 - 2 are added.
    assert shape(found) == [[("", "base", 3)], [("", "base", 1)], [("", "top_up", 2)]]
    assert [(s.role, s.advantage) for s in found.samples] == [
        ("base", 0.0),
        ("base", 0.0),
        ("top_up", 0.0),
        ("top_up", 0.0),
    ]


def test_naming_the_first_step_wrong_resets_to_the_beginning_in_a_separate_group():
    script = {PROMPT: [CHAIN, RIGHT, "#### 21$", RIGHT, "#### 20$"], LOCALISE: [r"\boxed{1}$"]}
    found, _ = run(composed(SRPO, LTE), script)
    assert shape(found)[2] == [("/reset", "reset", 2)]
    assert all(s.action_mask == (True,) * 8 for s in found.of_role("reset"))
    assert [s.advantage for s in found.of_role("reset")] == [1.0, -1.0]


def test_a_group_with_only_truncated_episodes_is_reset_and_hinted_to_be_concise():
    endless = "1\n2\n3\n" * 6
    chain = "2*3*4=?\n" + "".join(f"{n + 1} {n % 3 + 1}\n" for n in range(10))
    localise = chain + "First wrong step?\n>"
    script = {
        PROMPT: [endless] * 3 + [RIGHT, endless],
        localise: [r"\boxed{1}$"],
        "2*3*4=?\nBe concise.\n>": [RIGHT, endless],
    }
    found, _ = run(composed(SRPO, LTE), script, max_tokens=20)
    assert shape(found)[1] == [("/localise", "localise", 1), ("", "hinted", 2)]
    assert [(s.role, s.advantage) for s in found.samples] == [
        ("base", -1.0),
        ("hinted", 1.0),
        ("reset", 1.0),
        ("reset", -1.0),
    ]


@pytest.mark.parametrize(
    ("config", "roles"),
    [
        (GRPO, ["base"] * 2),
        (POPE, ["base"] * 3 + ["guided"] * 3),
        (EXPO, ["base"] * 2),
        (SFTConfig(group_size=2), ["base"] * 2 + ["reference"]),
        (ComposedConfig(methods=(POPE, EXPO)), ["base"] * 3 + ["guided"] * 3),
        (ExPDPOConfig(chains=2, explanation_samples=1), []),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_episodes_that_are_all_truncated_have_no_advantage(config, roles):
    endless = ["1\n2\n3\n" * 6] * 6
    script = {PROMPT: endless, SHOWN: endless, "2*3*4=?\nBegin:\n2*3=6\n>": endless}
    found, _ = run(build_method(config), script, max_tokens=20)
    assert [s.role for s in found.samples] == roles
    assert {s.advantage for s in found.samples if s.role != "reference"} <= {0.0}
    assert all(item.outcome == "truncated" for g in found.groups for item in g.trajectories)


def test_an_explanation_that_fails_the_filter_adds_nothing_to_the_others():
    script = {PROMPT: ["#### 20$", RIGHT], SHOWN: ["the given answer\n#### 24$"]}
    found, _ = run(composed(GRPO, EXPO), script)
    assert [(s.role, s.advantage) for s in found.samples] == [("base", -0.5), ("base", 0.5)]


def test_a_search_without_a_helpful_prefix_still_gives_a_guided_copy_and_resets():
    guided = "2*3*4=?\nBegin:\n2*3=6\n>"
    script = {
        PROMPT: [*wrong(1, 2), CHAIN, RIGHT, RIGHT],
        guided: wrong(1, 2, 3, 4),
        AFTER: [RIGHT, "#### 20$"],
    }
    found, _ = run(composed(POPE, RRPO), script)
    assert [(s.role, s.advantage) for s in found.samples] == [
        ("base", 0.0),
        ("base", 0.0),
        *[("guided", 0.0)] * 3,
        ("reset", 1.0),
        ("reset", -1.0),
    ]


def test_a_problem_without_a_reference_solution_is_left_out_of_the_whole_composition(caplog):
    script = {
        PROMPT: [*wrong(1, 2), RIGHT, RIGHT, RIGHT],
        "2*3*4=?\nBegin:\n2*3=6\n>": [RIGHT] * 4,
    }
    both = ("toy/train/1", "toy/train/0")
    for order in ((POPE, RRPO), (POPE, SFTConfig())):
        with caplog.at_level(logging.WARNING):
            found, policy = run(composed(*order), script, problems=both)
        assert "leaves out 1 of 2 problems without a reference solution" in caplog.text
        assert not any(asked.text.startswith(OTHER) for asked in policy.asked)
        assert {s.group.partition("/")[0] for s in found.samples} == {"0:toy"}


def test_the_state_of_a_composition_holds_each_method_s_state_by_name():
    method = composed(POPE, ExPOConfig(group_size=2, refresh="once"))
    script = {
        PROMPT: [*wrong(1, 2), RIGHT, RIGHT, RIGHT],
        "2*3*4=?\nBegin:\n2*3=6\n>": [RIGHT] * 4,
        SHOWN: [EXPLAINED],
    }
    run(method, script)
    state = method.state_dict()
    assert state["pope"] == {"prefixes": {"toy/train/0": 1}, "search": "before"}
    assert list(state["expo"]["known"]) == ["toy/train/0"]
    again = composed(POPE, ExPOConfig(group_size=2, refresh="once"))
    again.load_state_dict(state)
    assert again.state_dict() == state
    with pytest.raises(CheckpointError, match=r"must be of expo\+srpo, got pope\+expo"):
        composed(EXPO, SRPO).load_state_dict(state)


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        ((RRPO, SRPO), r"rrpo and srpo must not be combined, got rrpo\+srpo; both own the episodes "
                       "of reset, top_up"),
        ((LTE, GRPO), r"grpo must come first, got lte\+grpo; after lte it adds nothing"),
        (
            (POPEConfig(copies="guided_only"), RRPO),
            r"pope must sample the problems themselves to be combined, got pope\+rrpo; without "
            "such episodes there is no group to share: use copies 'both'",
        ),
        (
            (RRPOConfig(num_base=0), LTE),
            "rrpo must sample the problems themselves.* use a num_base of 2 or more",
        ),
        ((RRPO, POPEConfig(copies="guided_only")), "pope must sample the problems themselves"),
        ((GRPO, ExPDPOConfig()), r"exp-dpo must be used alone, got grpo\+exp-dpo; it learns from "
                                 "pairs"),
        ((GRPO, EXPO, GRPO), r"must name each method once, got grpo\+expo\+grpo; take one grpo"),
        ((), "a composition must name at least one method, got none"),
    ],
)  # fmt: skip
def test_combinations_without_a_meaning_are_refused_with_the_reason(configs, message):
    with pytest.raises(ConfigError, match=message):
        ComposedConfig(methods=configs)


def test_names_with_a_plus_are_a_composition_and_survive_json():
    config = method_config("pope+rrpo+expo")
    assert [own.kind for own in config.methods] == ["pope", "rrpo", "expo"]
    assert method_name(config) == "pope+rrpo+expo"
    assert method_name(method_config("lte")) == "lte"
    whole = TrainConfig(method=ComposedConfig(methods=(SRPO, LTE)))
    assert config_json.load(TrainConfig, config_json.dump(whole)) == whole
    with pytest.raises(UnknownNameError, match="no method 'ltee'; did you mean 'lte'"):
        method_config("srpo+ltee")
    with pytest.raises(UnknownNameError, match="no method ''"):
        method_config("srpo+")


def test_the_prompt_length_check_and_the_step_checker_reach_every_method():
    def never(state):
        return False

    method = build_method(ComposedConfig(methods=(SRPO, LTE)), lambda problem, steps: 1, never)
    assert isinstance(method, Composed)
    assert [part.fits for part in method.methods] == [never, never]
    assert method.methods[0].checker is not None
    assert [part.is_first for part in method.methods] == [True, False]


def test_a_method_that_does_not_implement_plan_raises():
    with pytest.raises(NotImplementedError, match="MethodBase must plan"):
        MethodBase(GRPO).plan([], np.random.default_rng(0))


def test_the_command_line_takes_names_with_a_plus_and_flags_by_method(tmp_path):
    from reason_env.cli.train import run as run_train

    words = (
        "--lte.gamma 0.2 --lte.group-size 2 --srpo.num-base 2 --srpo.num-reset 2 --size 4 "
        "--levels 6 8 --max-tokens 48 --iterations 1 --problems-per-iteration 2 "
        f"--eval.num-problems 1 --eval.samples 1 --eval.k 1 --out {tmp_path / 'run'}"
    )
    run_train(["srpo+lte", *words.split()])
    config = config_json.load(TrainConfig, (tmp_path / "run" / "config.json").read_text())
    assert method_name(config.method) == "srpo+lte"
    assert (config.method.methods[0].num_base, config.method.methods[1].gamma) == (2, 0.2)
    assert (tmp_path / "run" / "metrics.jsonl").read_text().count("\n") == 2
