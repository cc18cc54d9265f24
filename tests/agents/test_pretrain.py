import random

import pytest
import torch

from reason_env.agents.demonstrations import (
    FORMATS,
    DemonstrationConfig,
    demonstrate,
)
from reason_env.agents.policy import Context, LanguageModelPolicy, SamplingConfig
from reason_env.agents.pretrain import PretrainConfig, pretrain
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError
from reason_env.guidance import localisation_guidance
from reason_env.problem import Problem
from reason_env.problems.registers import first_wrong_step, split_of
from reason_env.prompt import PromptTemplate

CODEC = ByteCodec()
PROBLEM = Problem(
    problem_id="chain/test/0",
    question="x=3 y=7 z=1\nA:x+4 B:y*3",
    answer="711",
    solution=("A:3+4 x=7", "B:7*3 y=1"),
)


def small(**changes):
    arguments = {
        "num_batches": 40, "batch_size": 16, "hidden_size": 32, "num_layers": 1,
        "warmup_batches": 5, "learning_rate": 1e-2,
    }  # fmt: skip
    return PretrainConfig(**(arguments | changes))


def test_an_explanation_of_a_given_answer_is_the_reference():
    guidance, response = FORMATS["answer"]("chain", PROBLEM, random.Random(0))
    assert guidance[0].kind == "answer"
    assert guidance[0].pieces == ("711",)
    assert response == "A:3+4 x=7\nB:7*3 y=1\n#### 711"


def test_a_partial_solution_is_continued_and_not_restated():
    for seed in range(20):
        guidance, response = FORMATS["partial_solution"]("chain", PROBLEM, random.Random(seed))
        shown = "".join(guidance[0].pieces)
        assert shown in ("A:3+4 x=7\n", "A:3+4 x=7\nB:7*3 y=1\n")
        assert (shown + response).count("#### ") == 1
        assert not response.startswith("A:")


def test_listed_mistakes_are_wrong_and_avoided():
    for seed in range(50):
        guidance, response = FORMATS["mistakes"]("chain", PROBLEM, random.Random(seed))
        answer = response.rpartition("#### ")[2]
        for piece in guidance:
            assert "711" not in piece.pieces
            assert answer not in piece.pieces


def test_a_localisation_names_the_first_wrong_step_of_the_chain_shown():
    for seed in range(20):
        guidance, response = FORMATS["localise"]("chain", PROBLEM, random.Random(seed))
        lines = guidance[0].pieces[0].splitlines()[:-1]
        steps = [line.partition(" ")[2] for line in lines]
        assert response == f"\\boxed{{{first_wrong_step(PROBLEM, steps)}}}"


def test_the_question_for_the_wrong_step_numbers_the_steps():
    text = localisation_guidance(("A:3+4 x=7\n", "#### 700")).pieces[0]
    assert text == "1 A:3+4 x=7\n2 #### 700\nFirst wrong step?"


def test_demonstrations_never_hold_a_question_of_another_split():
    rng, prompt = random.Random(1), PromptTemplate()
    for _ in range(300):
        shown = demonstrate(DemonstrationConfig(), codec=CODEC, prompt=prompt, rng=rng, max_level=3)
        question = "\n".join(CODEC.decode(shown.prompt_ids).split("\n")[:2])
        assert split_of(question) == "train"
        assert shown.response_ids[-1] == CODEC.eos_id


def test_pretraining_lowers_the_loss_and_depends_on_the_seed_alone():
    losses: dict[str, list[float]] = {}
    models = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        losses[name] = []
        models[name] = pretrain(
            small(seed=seed), on_batch=lambda done, loss, own=losses[name]: own.append(loss)
        )
    assert sum(losses["a"][-5:]) < 0.6 * sum(losses["a"][:5])
    a, b, c = (dict(models[name].named_parameters()) for name in "abc")
    assert all(torch.equal(value, b[key]) for key, value in a.items())
    assert not all(torch.equal(value, c[key]) for key, value in a.items())


def test_the_shipped_model_solves_what_its_card_says():
    policy = LanguageModelPolicy.load("base")
    context = Context(
        token_ids=CODEC.encode(f"{PROBLEM.question}\n>"), num_samples=64, max_new_tokens=64
    )
    ((*completions,),) = policy.sample([context], SamplingConfig(), seed=0)
    texts = [CODEC.decode(completion.token_ids) for completion in completions]
    # One multiplication, wrong in four of ten demonstrations: 38 of 64 are expected.
    assert 28 <= texts.count("A:3+4 x=7\nB:7*3 y=1\n#### 711") <= 50


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_batches": 0}, "num_batches must be at least 1, got 0"),
        ({"hidden_size": 30, "num_heads": 4}, "hidden_size must be a multiple of num_heads"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        small(**changes)


def test_shares_that_do_not_sum_to_one_are_refused():
    with pytest.raises(ConfigError, match="shares must sum to 1"):
        DemonstrationConfig(families={"chain": 0.6, "inverse": 0.5})
    with pytest.raises(ConfigError, match="families must be among"):
        DemonstrationConfig(families={"chian": 1.0})
