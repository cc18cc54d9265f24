import numpy as np
import pytest

from reason_env.agents.methods import build_method
from reason_env.agents.methods.localiser import named_step
from reason_env.agents.methods.rrpo import RRPO, RRPOConfig
from reason_env.agents.methods.srpo import SRPO, SRPOConfig
from reason_env.agents.rollout import rollout_metrics
from reason_env.agents.scripted import Asked, ScriptedPolicy, dry_run, scripted_log_probs
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError
from reason_env.problem import Problem
from reason_env.state import PromptTemplate, ReasonState, localisation_guidance
from tests.agents.methods.toy import toy_env

CODEC = ByteCodec()
PROBLEM = Problem(problem_id="toy/train/0", question="2*3*4=?", answer="24")
PROMPT = "2*3*4=?\n>"
RIGHT = "#### 24$"
WRONG = "2*3=5\n5*4=20\n#### 20$"
STEPS = ("2*3=5\n", "5*4=20\n", "#### 20")
LOCALISE = "2*3*4=?\n1 2*3=5\n2 5*4=20\n3 #### 20\nFirst wrong step?\n>"
SHOWN = "2*3*4=?\nAnswer: 24\n1 2*3=5\n2 5*4=20\n3 #### 20\nFirst wrong step?\n>"
SUFFIXES = ["#### 24$", "#### 20$", "#### 20$", "#### 20$"]
BASE = "0:toy/train/0"


def ids(text):
    return CODEC.encode(text.removesuffix("$")) + ((CODEC.eos_id,) if text.endswith("$") else ())


def run(reply, prefix, *, localise=LOCALISE, checker=None, tries=None, seed=0, **config):
    """Runs one problem whose first try fails; the resets are expected after `prefix`."""
    env = toy_env(PROBLEM, max_tokens=40)
    script = {PROMPT: tries or [WRONG, *[RIGHT] * 4]}
    script[PROMPT + prefix] = [*script.get(PROMPT + prefix, []), *SUFFIXES]
    if reply is not None:
        script[localise] = [reply]
    policy = ScriptedPolicy(script)
    method = SRPO(SRPOConfig(**config), checker)
    return dry_run(method, ["toy/train/0"], env=env, policy=policy, seed=seed), policy


def test_the_policy_names_the_step_and_the_reset_keeps_those_before_it():
    found, policy = run(r"\boxed{2}$", "2*3=5\n")
    assert [[(s.group, s.role, s.num_samples) for s in batch] for batch in found.batches] == [
        [(BASE, "base", 5)],
        [(BASE + "/localise", "localise", 1)],
        [(BASE + "/reset", "reset", 4)],
    ]
    assert policy.asked[1] == Asked(
        text=LOCALISE, num_samples=1, max_new_tokens=40, temperature=0.3
    )
    assert policy.asked[2].temperature == 1.0
    assert [item.role for item in found.samples] == ["base"] * 4 + ["reset"] * 4
    last = found.samples[-1]
    assert last.context_ids == ids(PROMPT)
    assert last.token_ids == ids("2*3=5\n#### 20$")
    assert last.action_mask == (False,) * 6 + (True,) * 8
    assert last.behavior_log_probs == (0.0,) * 6 + scripted_log_probs(3, 8)


def test_a_localisation_counts_in_token_metrics_and_in_no_other():
    found, _ = run(r"\boxed{2}$", "2*3=5\n")
    metrics = rollout_metrics(found.groups)
    assert metrics["rollout/num_trajectories"] == 9
    assert metrics["rollout/sampled_tokens"] == 21 + 4 * 8 + 10 + 4 * 8 == found.num_sampled_tokens
    assert metrics["rollout/sampled_tokens/localise"] == 10
    assert metrics["rollout/num_groups"] == 2
    assert {name for name in metrics if name.endswith("/localise")} == {
        "rollout/num_trajectories/localise",
        "rollout/sampled_tokens/localise",
        "rollout/completion_tokens_mean/localise",
    }
    assert metrics["rollout/pass_rate/reset"] == 0.25
    (start,) = found.batches[1]
    assert start.is_auxiliary
    assert all(sample.role != "localise" for sample in found.samples)


def test_the_answer_is_shown_to_the_localiser_only_if_configured():
    found, policy = run(r"\boxed{1}$", "", localise=SHOWN, show_answer=True)
    assert policy.asked[1].text == SHOWN
    assert len(found.of_role("reset")) == 4
    assert all("Answer" not in asked.text for asked in (policy.asked[0], policy.asked[2]))


def test_question_temperature_and_length_of_the_reply_are_settings():
    localise = LOCALISE.replace("First wrong step?", "Where?")
    _, policy = run(
        r"\boxed{3}$",
        "2*3=5\n5*4=20\n",
        localise=localise,
        question="Where?",
        localiser_temperature=0.0,
        max_localiser_tokens=9,
    )
    assert policy.asked[1] == Asked(text=localise, num_samples=1, max_new_tokens=9, temperature=0.0)


@pytest.mark.parametrize(
    ("reply", "num_steps", "step"),
    [
        (r"\boxed{2}", 5, 2),
        (r"\boxed{1} no: \boxed{4}", 5, 4),
        (r"\boxed{2} and \boxed{3}", 5, 3),
        (r"Step 2 is fine. \boxed{ 3 }", 5, 3),
        (r"\boxed{+3}", 5, 3),
        # Only the last box and the last "Step N" count, and only a step of the chain.
        (r"\boxed{9}", 5, 1),
        (r"Step 3. \boxed{9}", 5, 3),
        (r"\boxed{2} ... \boxed{none}", 5, 1),
        (r"\boxed{2} ... \boxed{9}", 5, 1),
        (r"\boxed{2} ... \boxed{9}, so Step 4", 5, 4),
        (r"Step 3 ..., Step 12", 5, 1),
        (r"Step 12 ..., Step 3", 5, 3),
        (r"\boxed{5}", 5, 5),
        (r"\boxed{6}", 5, 1),
        # 0 is "no error": it decides, and the reset is to the beginning.
        (r"\boxed{0}", 5, 1),
        (r"Step 3. \boxed{0}", 5, 1),
        (r"\boxed{-2}", 5, 1),
        (r"Step 3. \boxed{-2}", 5, 3),
        # A box with other text is read as "Step N".
        (r"\boxed{Step 3}", 5, 3),
        (r"\boxed{\text{Step 3}}", 5, 3),
        (r"\boxed{{3}}", 5, 1),
        (r"\boxed{x}, that is step 2", 5, 2),
        (r"Step 2, \boxed{4", 5, 2),
        (r"\boxed", 5, 1),
        ("Step 4 follows from step 2", 5, 2),
        ("Step\n 3", 5, 3),
        ("STEP 3", 5, 1),
        ("Step3", 5, 1),
        ("Step 3 copies the answer line\n#### 700", 5, 3),
        ("#### 4", 5, 1),
        ("nothing", 5, 1),
        ("", 5, 1),
        (r"\boxed{" + "9" * 5000 + "}", 5, 1),
        ("step " + "9" * 5000, 5, 1),
        (r"\boxed{" * 5000, 5, 1),
        ("step \u0664", 5, 4),
    ],
)
def test_the_named_step_is_read_from_a_reply_as_the_release_does(reply, num_steps, step):
    assert named_step(reply, num_steps) == step


@pytest.mark.parametrize(
    ("reply", "prefix"),
    [
        (r"\boxed{9}$", ""),
        (r"Step 2 or \boxed{9}$", "2*3=5\n"),
        ("I cannot tell.$", ""),
        (r"\boxed{0}$", ""),
        ("I think it is step 2$", "2*3=5\n"),
    ],
)
def test_a_reply_without_a_step_of_the_chain_means_the_first(reply, prefix):
    found, _ = run(reply, prefix)
    assert {item.state.text for item in found.batches[2]} == {prefix}
    assert found.of_role("reset")[0].action_mask == (False,) * len(prefix) + (True,) * 8


def test_a_truncated_reply_is_read_up_to_its_end():
    found, _ = run("step 2 " * 10, "2*3=5\n", max_localiser_tokens=6)
    assert found.batches[2][0].state.text == "2*3=5\n"


@pytest.mark.parametrize(
    ("offset", "prefix"), [(1, "2*3=5\n5*4=20\n"), (5, "2*3=5\n5*4=20\n"), (-1, ""), (-5, "")]
)
def test_an_offset_keeps_more_or_fewer_steps_within_the_chain(offset, prefix):
    found, _ = run(r"\boxed{2}$", prefix, offset=offset)
    assert found.batches[2][0].state.text == prefix


@pytest.mark.parametrize(
    ("wrong", "prefix"),
    [(1, ""), (2, "2*3=5\n"), (3, "2*3=5\n5*4=20\n"), (None, "2*3=5\n5*4=20\n")],
)
def test_the_step_checker_can_localise_instead_of_the_policy(wrong, prefix):
    seen = []

    def checker(problem, steps):
        seen.append((problem, tuple(steps)))
        return wrong

    found, policy = run(None, prefix, checker=checker, localiser="checker")
    assert len(found.batches) == 2
    assert [asked.text for asked in policy.asked] == [PROMPT, PROMPT + prefix]
    assert seen == [(PROBLEM, STEPS)]


def test_the_offset_also_moves_the_checker_s_step():
    found, _ = run(None, "2*3=5\n", checker=lambda p, s: 3, localiser="checker", offset=-1)
    assert found.batches[1][0].state.text == "2*3=5\n"


def test_the_random_localiser_draws_rrpo_s_step_without_sampling():
    seed = next(n for n in range(99) if int(np.random.default_rng(n).integers(3)) == 1)
    found, policy = run(None, "2*3=5\n", localiser="random", offset=1, seed=seed)
    assert len(found.batches) == 2
    assert found.batches[1][0].state.text == "2*3=5\n"
    assert len(policy.asked) == 2


def test_a_share_of_the_resets_is_at_the_checker_s_step_and_the_others_at_a_random_one():
    def checker(problem, steps):
        return 3

    found, _ = run(None, "2*3=5\n5*4=20\n", checker=checker, localiser="checker")

    def kept(share, rng):
        method = SRPO(SRPOConfig(localiser="checker", checker_share=share), checker)
        ((source, _),) = method.resets(found.groups)
        return [method.kept_steps(source, {}, rng) for _ in range(300)]

    rng = np.random.default_rng(5)
    before = rng.bit_generator.state
    assert set(kept(1.0, rng)) == {2}
    # Nothing is drawn for the default, so seeds mean what they meant.
    assert rng.bit_generator.state == before
    shares = {share: np.mean([own == 2 for own in kept(share, rng)]) for share in (0.0, 0.25)}
    # A random step keeps 0, 1 or 2 steps: a third of them keep 2. 300 draws: sd 0.029.
    assert shares[0.0] == pytest.approx(1 / 3, abs=0.09)
    assert shares[0.25] == pytest.approx(0.25 + 0.75 / 3, abs=0.09)


def test_without_a_failure_nothing_is_localised():
    found, policy = run(None, "", tries=[RIGHT] * 12)
    assert [batch[0].role for batch in found.batches] == ["base", "base", "base", "top_up"]
    assert {asked.text for asked in policy.asked} == {PROMPT}


def test_source_choice_decides_which_failure_is_localised():
    tries = ["#### 11$", *[RIGHT] * 3, WRONG]
    localise = "2*3*4=?\n1 #### 11\nFirst wrong step?\n>"
    found, _ = run(r"\boxed{1}$", "", tries=tries, localise=localise)
    assert len(found.of_role("reset")) == 4
    found, _ = run(r"\boxed{2}$", "2*3=5\n", tries=tries, source_choice="extra")
    assert len(found.of_role("reset")) == 4


def test_an_empty_chain_is_not_localised():
    localise = "2*3*4=?\n1 #### 11\nFirst wrong step?\n>"
    tries = ["$", "#### 11$", *[RIGHT] * 3]
    found, policy = run(r"\boxed{1}$", "", tries=tries, localise=localise)
    assert policy.asked[1].text == localise
    assert [item.token_ids for item in found.of_role("base")] == [ids("$"), *[ids(RIGHT)] * 3]


def test_steps_are_numbered_from_one_and_stripped():
    guidance = localisation_guidance(("  a \n", "b"), "Q?")
    assert guidance.kind == "instruction"
    assert guidance.pieces == ("1 a\n2 b\nQ?",)


def test_the_localiser_s_prompt_is_the_one_that_pretraining_teaches():
    state = ReasonState(problem=PROBLEM, codec=CODEC)
    taught = state.with_guidance(localisation_guidance(STEPS))  # as `demonstrations` calls it
    asked = state.with_guidance(localisation_guidance(STEPS, "First wrong step?"))
    assert SRPOConfig().question is None
    assert PromptTemplate().text(taught) == PromptTemplate().text(asked)


def test_srpo_and_rrpo_share_their_defaults():
    srpo, rrpo = SRPOConfig(), RRPOConfig()
    for name in ("num_base", "num_reset", "max_tries", "source_choice", "advantage", "loss"):
        assert getattr(srpo, name) == getattr(rrpo, name)
    assert isinstance(build_method(srpo), SRPO)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"localiser_temperature": -0.1}, "localiser_temperature must be at least 0, got -0.1"),
        ({"checker_share": 1.5, "localiser": "checker"}, "checker_share must lie in 0..1, got 1.5"),
        (
            {"checker_share": 0.5},
            "checker_share must be 1 without the localiser 'checker', got 0.5",
        ),
        ({"max_localiser_tokens": 0}, "max_localiser_tokens must be at least 1, got 0"),
        ({"num_base": 1}, "num_base must be at least 2, got 1"),
        (
            {"localiser": "chekcer"},
            "localiser must be one of self, checker, random, got 'chekcer'; did you mean 'checker'",
        ),
    ],
)
def test_numbers_and_names_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        SRPOConfig(**changes)


def test_the_checker_localiser_is_refused_for_problems_without_a_step_checker():
    with pytest.raises(ConfigError, match="must have problems with a step checker, got none"):
        build_method(SRPOConfig(localiser="checker"))
    assert build_method(SRPOConfig(localiser="checker"), lambda problem, steps: None)


def measured(reply, prefix, wrong, **config):
    found, _ = run(reply, prefix, checker=lambda problem, steps: wrong, **config)
    return SRPO(SRPOConfig(**config), lambda problem, steps: wrong).metrics(found.groups)


@pytest.mark.parametrize(
    ("wrong", "accuracy", "offset", "is_clean"),
    [(2, 1.0, 0.0, True), (1, 0.0, 1.0, False), (3, 0.0, -1.0, True)],
)
def test_localisation_and_prefixes_are_measured_against_the_step_checker(
    wrong, accuracy, offset, is_clean
):
    # Step 2 of three is named: step 1 is kept, which is clean if the error comes after it. One of
    # four suffixes is right.
    clean, unclean = (0.25, None) if is_clean else (None, 0.25)
    assert measured(r"\boxed{2}$", "2*3=5\n", wrong) == {
        "rollout/clean_prefix_fraction": float(is_clean),
        "rollout/pass_rate_clean_prefix": clean,
        "rollout/pass_rate_unclean_prefix": unclean,
        "rollout/localisation_accuracy": accuracy,
        "rollout/localisation_chance": pytest.approx(1 / 3),
        "rollout/localisation_offset_mean": offset,
    }


def test_a_chain_without_a_wrong_step_has_clean_prefixes_and_no_localisation_accuracy():
    metrics = measured(r"\boxed{3}$", "2*3=5\n5*4=20\n", None)
    assert metrics["rollout/clean_prefix_fraction"] == 1.0
    assert metrics["rollout/localisation_accuracy"] is None


def test_the_offset_moves_the_prefix_and_not_the_measured_step():
    metrics = measured(r"\boxed{2}$", "2*3=5\n5*4=20\n", 2, offset=1)
    assert metrics["rollout/localisation_accuracy"] == 1.0
    assert metrics["rollout/clean_prefix_fraction"] == 0.0


def test_localisation_metrics_need_a_checker_and_a_reply():
    found, _ = run(r"\boxed{2}$", "2*3=5\n")
    assert SRPO(SRPOConfig()).metrics(found.groups) == {}
    chance = SRPO(SRPOConfig(localiser="random"), lambda problem, steps: 2)
    assert set(chance.metrics(found.groups)) >= {"rollout/clean_prefix_fraction"}
    assert RRPO(RRPOConfig()).metrics(found.groups) == {}
    prefixes = RRPO(RRPOConfig(), lambda problem, steps: 1).metrics(found.groups)
    assert prefixes["rollout/pass_rate_unclean_prefix"] == 0.25
    assert set(prefixes) == {
        "rollout/clean_prefix_fraction",
        "rollout/pass_rate_clean_prefix",
        "rollout/pass_rate_unclean_prefix",
    }


@pytest.mark.parametrize(
    ("reply", "prefix"),
    [
        # An answer ends an episode of the environment, but not what is read of the reply.
        ("3 #### 20\n\\boxed{2}$", "2*3=5\n"),
        ("maybe \\boxed{1}\nno: \\boxed{3}$", "2*3=5\n5*4=20\n"),
        ("Step 3 says\n#### 20\nbut \\boxed{1}$", ""),
    ],
)
def test_a_reply_that_quotes_an_answer_is_read_to_its_end(reply, prefix):
    found, _ = run(reply, prefix)
    (start,) = found.batches[2]
    assert start.state.text == prefix
    (group,) = [group for group in found.groups if group.key == BASE + "/localise"]
    assert group.trajectories[0].reply == reply.removesuffix("$")
    assert group.trajectories[0].num_sampled_tokens == len(reply)
