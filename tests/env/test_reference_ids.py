"""The reference solution as a response: in the template's form, ended as the prompt's kind ends."""

import pytest

from reason_env.codec import ByteCodec, HuggingFaceCodec
from reason_env.env import ReasonEnv
from reason_env.problem import Problem, ProblemSet
from reason_env.problems import reference_response
from reason_env.state import PRESETS
from reason_env.verdict import Outcome
from tests.state.test_chat import codec_of

SOLVED = Problem(
    problem_id="toy/train/0", question="2*3*4=?", answer="24", solution=("2*3=6", "6*4=24")
)
BARE = Problem(problem_id="toy/train/1", question="1+1=?", answer="2")
BOXED = Problem(
    problem_id="toy/train/2", question="2+2=?", answer="4", solution=("Add.", r"So \boxed{4}.")
)
LINED = Problem(
    problem_id="toy/train/3", question="2+2=?", answer="4", solution=("2+2=4", "#### 4")
)


def env_of(template, codec=None):
    return ReasonEnv(
        problems=ProblemSet("toy", (SOLVED, BARE, BOXED, LINED)),
        codec=codec or ByteCodec(),
        template=PRESETS[template].with_changes(num_examples=0),
        format="tokens",
        granularity="response",
    )


@pytest.mark.parametrize("problem", [SOLVED, BARE, BOXED, LINED], ids=lambda p: p.problem_id)
@pytest.mark.parametrize("template", list(PRESETS))
def test_a_reference_response_earns_the_reward_of_its_template(template, problem):
    codec = codec_of("chatml") if PRESETS[template].prompt.kind == "chat" else None
    env = env_of(template, codec)
    env.reset(options={"problem": problem.problem_id})
    _, reward, terminated, truncated, info = env.step(env.reference_ids(problem))
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["outcome"] == Outcome.CORRECT.value


@pytest.mark.parametrize(
    ("template", "problem", "text"),
    [
        ("ours", SOLVED, "2*3=6\n6*4=24\n#### 24"),
        ("gsm8k-fewshot", SOLVED, " 2*3=6\n6*4=24\n#### 24"),
        ("gsm8k-fewshot", BARE, "#### 2"),
        ("gsm8k-fewshot", LINED, " 2+2=4\n#### 4"),
        ("boxed-plain", BOXED, " Add.\nSo \\boxed{4}."),
        ("r1", SOLVED, " 2*3=6\n6*4=24 </think> <answer> 24 </answer>"),
        ("r1", LINED, " 2+2=4 </think> <answer> 4 </answer>"),
    ],
)
def test_the_answer_stands_once_and_where_the_template_asks_for_it(template, problem, text):
    env = env_of(template)
    *ids, end = env.reference_ids(problem)
    assert env.codec.decode(ids) == text
    assert end == env.codec.eos_id


@pytest.mark.parametrize(
    ("family", "end"),
    [("chatml", "<|im_end|>"), ("llama3", "<|eot|>"), ("gemma", "<end_turn>"), ("mistral", "</s>")],
)
def test_in_a_chat_the_turns_end_closes_a_reference(family, end):
    tokenizer = codec_of(family).tokenizer
    codec = HuggingFaceCodec(tokenizer, end_ids=(tokenizer.convert_tokens_to_ids(end),))
    env = env_of("boxed", codec)
    *ids, last = env.reference_ids(SOLVED)
    assert codec.tokenizer.convert_ids_to_tokens(last) == end
    assert codec.decode(ids) == "2*3=6\n6*4=24\nThe answer is \\boxed{24}."


def test_an_end_that_the_model_does_not_declare_is_not_used():
    codec = codec_of("gemma")
    last = env_of("boxed", codec).reference_ids(SOLVED)[-1]
    assert codec.tokenizer.convert_ids_to_tokens(last) == "<eos>"


def test_a_layout_may_leave_the_solution_out():
    assert reference_response(SOLVED, layout="It is {answer}.\n\n") == "It is 24."
