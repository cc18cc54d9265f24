"""The table's rows against the configs they come from, and against what the methods do."""

from dataclasses import dataclass, field, replace
from typing import Literal

import pytest
from gymnasium.envs.registration import load_env_creator

from reason_env.agents.learning import AdvantageConfig, LossConfig
from reason_env.agents.methods import (
    UNSAID,
    MethodBase,
    MethodConfig,
    MethodEntry,
    Row,
    build_method,
    columns_of,
    method_config,
    method_names,
    numbers_of,
    own_numbers,
    problem_starts,
    register_method,
    registry,
    row_of,
)
from reason_env.agents.methods.lte import LTEConfig
from reason_env.agents.methods.pope import POPEConfig
from reason_env.agents.scripted import ScriptedPolicy, dry_run
from reason_env.codec import ByteCodec
from reason_env.problem import Problem
from tests.agents.methods.toy import toy_env

CODEC = ByteCodec()
PROBLEM = Problem(
    problem_id="toy/train/0",
    question="2*3*4=?",
    answer="24",
    solution=("2*3=6", "6*4=24", *"abcdef"),
)
WRONG = "2*3=5\nStep 3\n#### 20$"  # as a localiser's reply, it names step 3


RIGHT = "2*3=6\n6*4=24\n#### 24$"
OUTCOMES = {
    "prefixrl": (WRONG, WRONG, RIGHT, WRONG),
    "failure-prefix": (RIGHT, RIGHT, RIGHT, WRONG),
    "prefix-sampling": (RIGHT, *(7 * [WRONG])),
    "dapo": (RIGHT, WRONG),
    "spo-tree": (40 * "1" + "\n#### 20$",),
}
"""Method -> responses that make it do more than sample the problem; otherwise all are wrong."""


class Repeating(ScriptedPolicy):
    """Gives the same responses in every context, over and over."""

    def __init__(self, responses):
        super().__init__({})
        self.responses = 64 * responses

    def sample(self, contexts, sampling, *, seed, stop_ids=None):
        for context in contexts:
            text = CODEC.decode(context.token_ids)
            self.script[text], self._used[text] = self.responses, 0
        return super().sample(contexts, sampling, seed=seed, stop_ids=stop_ids)


def starts_of(name):
    env = toy_env(PROBLEM, max_tokens=60)
    for spec in method_config(name).wrappers:
        env = load_env_creator(spec.entry_point)(env, **spec.kwargs)
    method = build_method(method_config(name), checker=lambda problem, steps: 2)
    found = dry_run(
        method, ["toy/train/0"], env=env, policy=Repeating(OUTCOMES.get(name, (WRONG,)))
    )
    return [start for batch in found.batches for start in batch if not start.is_auxiliary]


@pytest.mark.parametrize("name", method_names())
def test_a_row_says_what_the_method_does(name):
    config, starts = method_config(name), starts_of(name)
    columns, row = columns_of(config), row_of(config)
    assert row.starts
    assert row.paper
    kinds = {piece.kind for start in starts for piece in start.state.guidance}
    declared = config.longest_guidance(PROBLEM)
    assert kinds <= {piece.kind for piece in declared}
    assert (columns.guidance == "none") == (not declared)
    is_hidden = any(start.state.guidance and not start.learn_from.guidance for start in starts)
    assert is_hidden == ("alone" in row.context)
    # Value episodes (VinePPO) are sampled after prefixes, and never trained.
    is_cut = any(start.state.response for start in starts if start.role != "value")
    assert is_cut == ("the prefix is" in row.context)


@pytest.mark.parametrize("name", method_names())
def test_the_paper_s_numbers_are_of_fields_that_exist(name):
    config = method_config(name)
    numbers = numbers_of(config, row_of(config).numbers)
    assert {number.field: number.paper for number in numbers} == dict(row_of(config).numbers)
    assert all(number.default is not UNSAID for number in numbers)


def test_a_number_differs_only_if_the_paper_gives_another():
    said = {"hard_samples": 128, "max_fraction": 0.25, "grid": UNSAID}
    found = {item.field: item for item in numbers_of(POPEConfig(), said)}
    assert [found[name].default for name in said] == [16, 0.25, 0.0625]
    assert [found[name].differs for name in said] == [True, False, False]
    assert [found[name].is_unsaid for name in said] == [False, False, True]
    with pytest.raises(AttributeError, match="soft_samples"):
        numbers_of(POPEConfig(), {"soft_samples": 1})


def test_estimator_and_update_follow_the_config():
    config = LTEConfig(
        gamma=0.3,
        advantage=AdvantageConfig(kind="rloo"),
        loss=LossConfig(clip_low=0.1, clip_high=0.25, aggregation="seq_mean_token_sum"),
    )
    columns = columns_of(config)
    assert columns.estimator == "r - mean of the others"
    assert columns.update == (
        "clipped ratio [0.9, 1.25], token sums over the budget; "
        "hinted: -A x / (x + 0.3), token sums over the budget"
    )
    assert columns_of(replace(config, extra="unhinted")).guidance == "none"


@pytest.mark.parametrize(
    ("advantage", "formula"),
    [
        (AdvantageConfig(), "(r - mean) / (std + eps)"),
        (AdvantageConfig(eps=0.0), "(r - mean) / std"),
        (AdvantageConfig(std="population"), "(r - mean) / (population std + eps)"),
        (AdvantageConfig(kind="mean"), "r - mean"),
        (AdvantageConfig(kind="maxrl"), "(r - mean) / (mean + eps)"),
        (AdvantageConfig(kind="maxrl", eps=0.0), "(r - mean) / mean"),
        (AdvantageConfig(kind="pass_at_k", k=3), "gain of the best of 3 by r"),
        (AdvantageConfig(kind="none"), "r"),
    ],
)
def test_the_formula_of_an_advantage(advantage, formula):
    assert advantage.formula == formula


UNCOMPARED = ("exp-dpo", "opsd", "sdpo", "spo", "spo-tree", "treerl", "vineppo")


@pytest.mark.parametrize("name", [name for name in method_names() if name not in UNCOMPARED])
def test_every_method_with_groups_takes_every_estimator(name):
    config = replace(method_config(name), advantage=AdvantageConfig(kind="maxrl", eps=1e-6))
    assert columns_of(config).estimator.startswith("(r - mean) / (mean + eps)")
    assert build_method(config).part.advantage.kind == "maxrl"


def test_own_numbers_hold_nested_fields_only_where_a_method_sets_them():
    assert own_numbers(method_config("pope")) == {
        "group_size": 8,
        "hard_samples": 16,
        "probe_samples": 16,
        "search": "auto",
        "max_fraction": 0.25,
        "grid": 0.0625,
        "conditioning": "prompt",
        "copies": "both",
        "easy": "drop",
        "instruction": "",
        "cache_dir": None,
        "advantage.kind": "mean",
        "loss.clip_low": 1.0,
        "loss.clip_high": 4.0,
        "loss.aggregation": "seq_mean_token_sum",
    }


def test_a_combination_has_the_first_method_s_estimator_and_each_one_s_update():
    columns = columns_of(method_config("srpo+lte"))
    assert columns.method == "srpo+lte"
    assert columns.estimator == "(r - mean) / population std"
    assert columns.guidance == "own wrong answers, an instruction"
    assert columns.update == (
        "-A log pi, mean of sequence means; hinted: -A x / (x + 0.1), mean of sequence means"
    )
    assert columns.starts == f"{row_of(method_config('srpo')).starts} + " + (
        row_of(method_config("lte")).starts
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietConfig(MethodConfig):
    kind: Literal["quiet"] = "quiet"
    group_size: int = 4
    advantage: AdvantageConfig = field(default_factory=lambda: AdvantageConfig(kind="mean"))
    loss: LossConfig = field(default_factory=lambda: LossConfig(clip_high=0.28))


class Quiet(MethodBase):
    roles = frozenset({"b", "a"})

    def plan(self, states, rng):
        return problem_starts(states, self.config.group_size)


def test_a_method_that_says_nothing_is_described_by_its_config(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))
    register_method(MethodEntry(config=QuietConfig, build=Quiet))
    columns = columns_of(method_config("quiet"))
    assert columns.starts == "not described (roles a, b)"
    assert (columns.guidance, columns.context, columns.teacher) == ("none", "the same", "none")
    assert columns.estimator == "r - mean"
    assert columns.update == "clipped ratio [0.8, 1.28], mean over tokens"
    assert row_of(method_config("quiet")) == Row()
