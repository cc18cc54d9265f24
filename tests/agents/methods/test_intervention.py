"""InT: which step is replaced, which tokens are trained, under which prompt, by hand."""

import math
from dataclasses import replace

import pytest

from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.methods import GRPOConfig, InTConfig, build_method
from reason_env.agents.methods.registry import ComposedConfig
from reason_env.agents.scripted import Asked, ScriptedPolicy, dry_run, scripted_log_probs
from reason_env.agents.train import TrainConfig, build_session, iterate
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem
from tests.agents.methods.toy import toy_env

CODEC = ByteCodec()
PROBLEM = Problem(
    problem_id="toy/train/0", question="2*3*4=?", answer="24", solution=("2*3=6", "6*4=24")
)
PROMPT = "2*3*4=?\n>"
SOLUTION = "2*3=6\n6*4=24\n#### 24\n"
SHOWN = f"2*3*4=?\nBegin:\n{SOLUTION}>"
RIGHT = "#### 24$"
CHAIN = "2*3=6\n6*4=20\n#### 20$"  # wrong in its second step of three
ASK = f"2*3*4=?\nBegin:\n{SOLUTION}1 2*3=6\n2 6*4=20\n3 #### 20\nFirst wrong step?\n>"
CONTINUED = "4*6=24\n#### 24$"
SCRIPT = {
    PROMPT: [RIGHT, CHAIN],
    ASK: [r"\boxed{2}$"],
    SHOWN + "2*3=6\n": [CONTINUED],
}
CONFIG = InTConfig(group_size=2, weight=0.25)
BASE = "0:toy/train/0"


def env_of(problem=PROBLEM):
    return toy_env(problem, max_tokens=40)


def run(config, script=SCRIPT, checker=None, **options):
    policy = ScriptedPolicy(script)
    method = build_method(config, checker, **options)
    return method, dry_run(method, ["toy/train/0"], env=env_of(), policy=policy), policy


def ids(text):
    return CODEC.encode(text.removesuffix("$")) + ((CODEC.eos_id,) if text.endswith("$") else ())


def test_the_prefix_and_one_step_are_trained_without_the_solution_in_the_prompt():
    method, found, policy = run(CONFIG)
    first, second = found.of_role("base")
    # One of two is right: mean 1/2, std sqrt(1/2).
    expected = 0.5 / (math.sqrt(0.5) + 1e-4)
    assert (first.advantage, second.advantage) == pytest.approx((expected, -expected))
    (sample,) = found.of_role("intervention")
    assert sample.context_ids == ids(PROMPT)
    assert sample.token_ids == ids("2*3=6\n4*6=24\n")
    assert sample.action_mask == (True,) * 13
    assert sample.advantage == 0.25
    # The prefix is of the second episode (number 1), the step of the only continuation.
    assert sample.behavior_log_probs == (*scripted_log_probs(1, 6), *scripted_log_probs(0, 7))
    assert [[start.role for start in batch] for batch in found.batches] == [
        ["base"],
        ["review"],
        ["intervention"],
    ]
    assert policy.asked[1] == Asked(text=ASK, num_samples=1, max_new_tokens=40, temperature=0.3)
    (start,) = found.batches[2]
    assert (start.num_samples, start.learn_from.guidance) == (1, ())
    loss = method.role_losses["intervention"]
    assert (loss.surrogate, loss.separate_normaliser, loss.temperature) == ("reinforce", True, 1.0)


def test_the_prefix_may_be_masked_and_the_problems_left_untrained():
    _, found, _ = run(replace(CONFIG, train_prefix=False, train_problems=False))
    (sample,) = found.samples
    assert sample.action_mask == (False,) * 6 + (True,) * 7
    assert sample.behavior_log_probs == (0.0,) * 6 + scripted_log_probs(0, 7)


def test_an_intervention_that_a_wrong_answer_follows_is_trained_only_if_all_are():
    script = SCRIPT | {SHOWN + "2*3=6\n": ["6*4=26\n#### 26$"]}
    _, found, _ = run(CONFIG, script)
    assert found.of_role("intervention") == ()
    _, found, _ = run(replace(CONFIG, keep="all"), script)
    assert found.of_role("intervention")[0].token_ids == ids("2*3=6\n6*4=26\n")


def test_the_last_step_is_trained_with_its_end_token():
    script = SCRIPT | {ASK: [r"\boxed{3}$"], SHOWN + "2*3=6\n6*4=20\n": ["#### 24$"]}
    _, found, _ = run(CONFIG, script)
    (sample,) = found.of_role("intervention")
    assert sample.token_ids == ids("2*3=6\n6*4=20\n#### 24$")


def test_the_first_failed_chains_are_corrected_as_many_as_asked_for():
    other = "#### 9$"  # one step: nothing to ask about
    script = SCRIPT | {PROMPT: ["#### 8$", other, CHAIN, RIGHT], SHOWN: [CONTINUED]}
    _, found, policy = run(replace(CONFIG, group_size=4), script)
    assert [asked.text for asked in policy.asked] == [PROMPT, SHOWN]
    (sample,) = found.of_role("intervention")
    assert sample.token_ids == ids("4*6=24\n")
    _, found, policy = run(
        replace(CONFIG, group_size=4, interventions=3), script | {SHOWN: [CONTINUED, "24\n$"]}
    )
    assert [asked.text for asked in policy.asked] == [
        PROMPT,
        SHOWN,
        SHOWN,
        ASK,
        SHOWN + "2*3=6\n",
    ]
    assert len(found.of_role("intervention")) == 2
    _, found, policy = run(CONFIG, {PROMPT: [RIGHT, RIGHT]})
    assert (len(found.batches), len(found.samples)) == (1, 2)


@pytest.mark.parametrize(("wrong", "prefix"), [(1, ""), (2, "2*3=6\n"), (None, "2*3=6\n6*4=20\n")])
def test_the_step_checker_can_name_the_step(wrong, prefix):
    script = {PROMPT: SCRIPT[PROMPT], SHOWN + prefix: [CONTINUED]}
    _, found, policy = run(
        replace(CONFIG, localiser="checker"), script, lambda problem, steps: wrong
    )
    assert [asked.text for asked in policy.asked] == [PROMPT, SHOWN + prefix]
    assert found.of_role("intervention")[0].token_ids == ids(prefix + "4*6=24\n")
    with pytest.raises(ConfigError, match="localiser 'checker' must have problems with a step che"):
        build_method(InTConfig(localiser="checker"))


def test_the_named_steps_are_measured_against_the_step_checker():
    method, found, _ = run(CONFIG, checker=lambda problem, steps: 1)
    assert method.metrics(found.groups) == {
        "rollout/localisation_accuracy": 0.0,
        "rollout/localisation_chance": pytest.approx(1 / 3),
        "rollout/localisation_offset_mean": 1.0,
    }


def test_a_chain_too_long_to_review_is_corrected_from_its_beginning():
    script = {PROMPT: SCRIPT[PROMPT], SHOWN: [CONTINUED]}
    _, found, policy = run(CONFIG, script, fits=lambda state: len(state.guidance) < 2)
    assert [asked.text for asked in policy.asked] == [PROMPT, SHOWN]
    assert found.of_role("intervention")[0].token_ids == ids("4*6=24\n")


def test_problems_without_a_solution_that_fits_are_left_out():
    with pytest.raises(ProblemError, match="InT must have problems with a reference solution that"):
        run(CONFIG, fits=lambda state: not state.guidance)
    bare = replace(PROBLEM, solution=())
    with pytest.raises(
        ProblemError, match="InT must have problems with a reference solution, got none in 1"
    ):
        dry_run(build_method(CONFIG), ["toy/train/0"], env=env_of(bare), policy=None)


def test_it_adds_its_term_after_another_method_with_own_words_for_the_solution():
    own = replace(CONFIG, wording="Seen: {solution}", question="Where?")
    script = {
        PROMPT: SCRIPT[PROMPT],
        f"2*3*4=?\nSeen: {SOLUTION}1 2*3=6\n2 6*4=20\n3 #### 20\nWhere?\n>": [r"\boxed{2}$"],
        f"2*3*4=?\nSeen: {SOLUTION}>2*3=6\n": [CONTINUED],
    }
    config = ComposedConfig(methods=(GRPOConfig(group_size=2), own))
    method, found, _ = run(config, script)
    assert [sample.role for sample in found.samples] == ["base", "base", "intervention"]
    assert set(method.role_losses) == {"intervention"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group_size": 1}, "group_size must be at least 2, got 1"),
        ({"interventions": 0}, "interventions must be at least 1, got 0"),
        ({"weight": 0.0}, "weight must be above 0 and finite, got 0.0"),
        ({"keep": "success"}, "keep must be one of successes, all, got 'success'; did you mean"),
        ({"localiser": "random"}, "localiser must be one of self, checker, got 'random'"),
        ({"wording": "Look"}, r"wording must hold \{solution\}, got 'Look'"),
        ({"likelihood_temperature": 0.0}, "likelihood_temperature must be above 0 and finite"),
    ],
)
def test_numbers_and_names_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        InTConfig(**changes)


def test_the_tokens_of_a_run_add_up_and_it_learns():
    session = build_session(
        TrainConfig(
            method=InTConfig(group_size=2, keep="all"),
            env=EnvConfig(levels=(3, 5), max_tokens=48, size=4),
            eval=EvalConfig(num_problems=1, samples=1, k=1),
            problems_per_iteration=3,
            iterations=1,
        )
    )
    found = iterate(session)
    roles = ("base", "review", "intervention")
    parts = [found.metrics[f"rollout/sampled_tokens/{role}"] for role in roles]
    assert found.metrics["rollout/sampled_tokens"] == session.sampled_tokens_total == sum(parts)
    assert found.metrics["update/num_updates_total"] == 1
    assert found.metrics["update/ratio_mean/intervention"] > 0
