import json
from dataclasses import replace

import gymnasium as gym
import pytest

from reason_env.agents.compare import (
    CompareConfig,
    arm,
    arms_of,
    arms_of_file,
    shared_settings,
    slug,
)
from reason_env.agents.cpi import CPIConfig
from reason_env.agents.methods import GRPOConfig, method_config
from reason_env.agents.methods.lte import LTEConfig
from reason_env.agents.methods.pope import POPEConfig
from reason_env.agents.runs import config_json, differences, leaves
from reason_env.agents.train import TrainConfig
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError, UnknownNameError
from reason_env.wrappers import RecordEpisodes

SHARED = shared_settings()


def config(**changes):
    return CompareConfig(
        **({"arms": arms_of(["grpo", "lte"], SHARED), "sources": ("chain", "inverse")} | changes)
    )


def test_an_arm_is_a_method_with_options_of_the_method_or_of_the_run():
    own = arm("pope:copies=guided_only,hard_samples=4,learner.learning_rate=1e-4", SHARED)
    assert own.method == POPEConfig(copies="guided_only", hard_samples=4)
    assert own.learner.learning_rate == 1e-4
    assert own.eval == SHARED.eval


def test_cpi_is_an_arm_whose_updates_are_tested():
    plain = arm("cpi", TrainConfig())
    assert plain == replace(arm("grpo", TrainConfig()), cpi=CPIConfig())
    restarted = arm("cpi:restart=srpo,cpi.num_restarts=8,learner.learning_rate=1e-4", TrainConfig())
    assert restarted.method == method_config("srpo")
    assert restarted.cpi == CPIConfig(num_restarts=8)
    assert restarted.learner.learning_rate == 1e-4
    with pytest.raises(UnknownNameError, match="'srop'"):
        arm("cpi:restart=srop", TrainConfig())


def test_a_value_may_be_a_json_list_with_commas():
    own = arm("grpo:learner.betas=[0.8,0.95],group_size=3", SHARED)
    assert own.learner.betas == (0.8, 0.95)
    assert own.method == GRPOConfig(group_size=3)


def test_an_arm_accepts_true_and_none_as_values_and_dashes_in_keys():
    own = arm("grpo:zero-advantages=True,env.size=None", SHARED)
    assert own.zero_advantages is True
    assert own.env.size is None


def test_a_key_that_method_and_run_share_sets_the_method():
    own = arm("grpo:loss.clip_high=0.28", SHARED)
    assert own.method.loss.clip_high == 0.28


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("grpo:loss.policy_term=gspo", "loss.policy_term"),
        ("grpo:loss.policy-term=gspo", "loss.policy_term"),
        ("srpo+lte:srpo.loss.policy_term=gspo", "srpo.loss.policy_term"),
    ],
)
def test_the_old_name_of_a_renamed_field_sets_it_with_a_warning(text, key, caplog):
    own = arm(text, SHARED).method
    loss = own.methods[0].loss if text.startswith("srpo+lte") else own.loss
    assert loss.surrogate == "gspo"
    assert [item.getMessage() for item in caplog.records] == [
        f"in arm {text!r}, {key} is now named surrogate"
    ]


def test_old_names_inside_a_value_and_in_a_file_of_arms_are_read(tmp_path):
    assert arm('grpo:cpi={"alpha":0.25}', SHARED).cpi == CPIConfig(step_size=0.25)
    path = tmp_path / "arms.json"
    method = {"kind": "grpo", "loss": {"policy_term": "gspo", "clip_low": 0.1}}
    path.write_text(json.dumps({"a": {"method": method, "cpi": {"alpha": 0.25}}}))
    own = arms_of_file(path, SHARED)["a"]
    assert (own.method.loss.surrogate, own.method.loss.clip_low) == ("gspo", 0.1)
    assert own.cpi == CPIConfig(step_size=0.25)


def test_shared_flags_of_the_method_reach_every_arm_that_has_them():
    shared = TrainConfig(method=GRPOConfig(group_size=5))
    assert arm("lte", shared).method == LTEConfig(group_size=5)
    with pytest.raises(
        UnknownNameError,
        match=r"the flag --group-size must be a setting of every arm, got arm 'rrpo' without it; .*"
        r"METHOD:group_size=5",
    ):
        arm("rrpo", shared)


def test_a_file_of_arms_changes_only_the_settings_that_it_names(tmp_path):
    path = tmp_path / "arms.json"
    rows = {
        "wide": {"method": {"kind": "grpo", "loss": {"clip_high": 0.3}}},
        "slow": {"method": {"kind": "lte"}, "learner": {"learning_rate": 1e-5}},
    }
    path.write_text(json.dumps(rows), encoding="utf-8")
    found = arms_of_file(path, SHARED)
    assert list(found) == ["wide", "slow"]
    assert found["wide"].method.loss.clip_high == 0.3
    assert found["wide"].method.loss.clip_low == GRPOConfig().loss.clip_low
    assert found["slow"].learner.learning_rate == 1e-5
    assert found["slow"].method == LTEConfig()


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("grppo", UnknownNameError, "no method 'grppo'; did you mean 'grpo'"),
        ("grpo:groupsize=4", UnknownNameError, "no setting 'groupsize'.*did you mean 'group_size'"),
        ("grpo:group_size", ConfigError, "an arm must be METHOD:KEY=VALUE,..., got"),
        ("grpo:group_size=many", ConfigError, "group_size must be of type int, got 'many'"),
        ("grpo:group_size=1", ConfigError, "group_size must be at least 2"),
        ("srpo+lti", UnknownNameError, "no method 'lti'; did you mean 'lte'"),
        (
            "srpo+lte:srpo.nun_base=2",
            UnknownNameError,
            "no setting 'srpo.nun_base' in arm 'srpo.lte:.*'; did you mean 'srpo.num_base'",
        ),
        ("srpo+lte:gama=2", UnknownNameError, "no setting 'gama' in arm .*did you mean 'lte.gamma"),
    ],
)
def test_a_malformed_arm_is_refused(text, error, message):
    with pytest.raises(error, match=message):
        arm(text, SHARED)


def test_malformed_files_of_arms_are_refused(tmp_path):
    path = tmp_path / "arms.json"
    with pytest.raises(ConfigError, match="--arms must name a file"):
        arms_of_file(path, SHARED)
    for text, message in [
        ("{", "a file of arms must be JSON"),
        ("[]", "a file of arms must be a JSON object of objects"),
        ('{"a": {"method": {}}}', "arm 'a' must name its method"),
        ('{"a": {"method": {"kind": "grpo"}, "sede": 1}}', "unknown key 'config.sede'"),
    ]:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            arms_of_file(path, SHARED)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_seeds": 0}, "num_seeds must be at least 1"),
        ({"budget": 0}, "budget must be at least 1"),
        ({"first_seed": -1}, "first_seed must be at least 0"),
        ({"budget": 255}, "budget must hold an iteration, got 255 tokens, and 'grpo' .* 256 resp"),
        ({"level": 0.0}, "level must be above 0 and at most 1"),
        ({"level": 1.5}, "level must be above 0 and at most 1"),
        ({"arms": {}}, "at least one arm"),
        ({"sources": ()}, "at least one problem source"),
        ({"sources": ("chain", "chain")}, "must have a different directory name"),
        ({"sources": ("a/b", "a_b")}, "must have a different directory name, got 'a/b' and 'a_b'"),
        ({"arms": {"short": TrainConfig(iterations=3)}}, "must end by the comparison's budget"),
    ],
)
def test_a_comparison_that_cannot_be_fair_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        config(**changes)


def test_the_budget_must_allow_one_token_for_each_response_of_an_iteration():
    assert config(budget=256).budget == 256  # 32 problems, 8 responses each
    resets = arms_of(["rrpo:num_base=3,problems_per_iteration=5"], SHARED)
    assert config(arms=resets, budget=15).budget == 15
    with pytest.raises(ConfigError, match="samples at least 15 responses"):
        config(arms=resets, budget=14)


def test_an_arm_named_twice_is_refused():
    with pytest.raises(ConfigError, match="an arm must be given once, got 'grpo' twice"):
        arms_of(["grpo", "grpo"], SHARED)


def test_a_run_config_has_the_given_source_seed_and_budget():
    own = config(first_seed=3, num_seeds=2, budget=777)
    assert list(own.seeds) == [3, 4]
    run = own.run_config("inverse", "lte", 4)
    assert (run.env.problems, run.seed, run.max_generated_tokens) == ("inverse", 4, 777)
    assert run.method == LTEConfig()
    assert own.baseline == "grpo"


def test_a_run_config_keeps_the_source_of_an_arm_s_stack():
    spec = '{"id": "MathReason-v0", "kwargs": {"problems": "chain"}}'
    import gymnasium as gym

    import reason_env  # noqa: F401

    spec = gym.make("MathReason-v0", problems="chain", split="train").spec.to_json()
    stacked = TrainConfig(env=EnvConfig(stack=spec), iterations=SHARED.iterations)
    own = config(arms={"grpo": stacked}, sources=("chain",))
    assert own.run_config("chain", "grpo", 1).env == stacked.env


def test_a_comparison_survives_json_and_its_hash_follows_every_setting():
    own = config(level=0.25)
    assert config_json.load(CompareConfig, config_json.dump(own)) == own
    assert own.content_hash == config(level=0.25).content_hash
    assert own.content_hash != config(level=0.5).content_hash
    assert list(config_json.load(CompareConfig, config_json.dump(own)).arms) == ["grpo", "lte"]


def test_a_slug_is_a_safe_directory_name():
    assert slug("../x y") == "x_y"
    assert slug("///") == "_"


def test_differences_hold_only_settings_with_unequal_values():
    arms = {"a": GRPOConfig(), "b": GRPOConfig(group_size=4), "c": LTEConfig()}
    found = differences(arms)
    assert found["group_size"] == {"a": 8, "b": 4, "c": 8}
    assert found["gamma"] == {"c": LTEConfig().gamma}
    assert "loss.clip_low" not in found
    assert leaves({"a": {}, "b": {"c": [1]}}) == {"a": {}, "b.c": [1]}


def test_a_stack_that_records_into_one_file_is_refused(tmp_path):
    env = gym.make("MathReason-v0", problems="chain", levels=(3, 3))
    stack = RecordEpisodes(env, tmp_path / "all.jsonl").spec.to_json()
    shared = replace(shared_settings(), env=EnvConfig(stack=stack))
    with pytest.raises(
        ConfigError,
        match=r"must not record into a file, got RecordEpisodes to '.*all.jsonl' in 'grpo': all ru",
    ):
        CompareConfig(arms=arms_of(["grpo"], shared), sources=("chain",))
    plain = replace(shared, env=EnvConfig(stack=env.spec.to_json()))
    assert CompareConfig(arms=arms_of(["grpo"], plain), sources=("chain",)).num_seeds == 5
