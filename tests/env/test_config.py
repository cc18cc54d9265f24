"""EnvConfig and gym.make: templates chosen, completed, recorded and read back."""

import json

import gymnasium as gym
import pytest

from reason_env.agents.runs import config_json
from reason_env.codec import ByteCodec, HuggingFaceCodec
from reason_env.env import EnvConfig, ReasonEnv
from reason_env.errors import ConfigError, UnknownNameError
from reason_env.state import PRESETS, Guidance, PromptTemplate, read_template
from reason_env.verify import PRESETS as GRADINGS
from tests.state.test_prompt import chat_codec

CODEC = ByteCodec()
FEW = {"template": "gsm8k-fewshot", "num_examples": 2, "max_prompt_tokens": 4000}


def write_problems(directory, train: int = 9, test: int = 3) -> str:
    for split, count, first in (("train", train, 0), ("test", test, 100)):
        rows = [
            {"question": f"{n}+1=?", "answer": str(n + 1), "solution": [f"{n} and 1 is {n + 1}"]}
            for n in range(first, first + count)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (directory / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return f"file:{directory}"


def prompt_texts(env) -> list[str]:
    inner = env.unwrapped
    return [inner.prompt.text(inner.initial_state(problem)) for problem in inner.problems]


def test_auto_is_resolved_by_the_codec_to_a_name_and_its_grading():
    for codec, name, grading in (
        (CODEC, "ours", "strict"),
        (chat_codec(), "boxed", "math"),
        (chat_codec(None), "boxed-plain", "math"),
    ):
        config = EnvConfig(size=3).resolved(codec)
        assert (config.template, config.grading) == (name, grading)
        env = EnvConfig(size=3, max_prompt_tokens=4000).make(codec).unwrapped
        assert env.prompt == PRESETS[name].prompt
        assert env.grade_options == GRADINGS[grading]()
        assert env.rules.stops == PRESETS[name].stops
        assert config.resolved(codec) == config


def test_a_grading_of_ones_own_stays():
    assert EnvConfig(size=3, grading="text").resolved(chat_codec()).grading == "text"


def test_the_line_for_the_console_names_the_template_and_what_chose_it():
    line = EnvConfig().template_line
    assert line(CODEC) == "template: ours (the built-in codec; --template names another)"
    assert line(chat_codec()).startswith("template: boxed (the tokenizer has a chat template;")
    assert line(chat_codec(None)).startswith("template: boxed-plain (the tokenizer has no chat")
    assert EnvConfig(template="dapo").template_line(CODEC) == "template: dapo"


def test_overrides_are_resolved_into_the_template_s_text():
    guidance = {"mistakes": "Never {pieces}."}
    config = EnvConfig(template="boxed", system="Be brief.", guidance=guidance, size=3)
    resolved = config.resolved(chat_codec())
    assert (resolved.system, resolved.guidance) == ("", {})
    prompt = read_template(resolved.template).prompt
    assert prompt.system == "Be brief."
    # A wording's end is the template's: a blank line in prose.
    assert prompt.guidance["mistakes"] == "Never {pieces}.\n\n"
    assert resolved.make(chat_codec()).unwrapped.prompt == prompt
    assert config.make(chat_codec()).unwrapped.prompt == prompt
    assert config_json.load(EnvConfig, config_json.dump(resolved)) == resolved


def test_examples_come_from_the_training_split_alone(tmp_path):
    config = EnvConfig(problems=write_problems(tmp_path), **FEW).resolved(CODEC)
    train, test = config.make(CODEC), config.make_bare(CODEC, split="test")
    for env, first in ((train, 0), (test, 100)):
        for number, text in enumerate(prompt_texts(env), start=first):
            assert text.count("####") == 2
            assert text.count(f"Question: {number}+1=?") == 1
            assert "Question: 10" not in text.removesuffix(f"Question: {number}+1=?\nAnswer:")
    assert train.unwrapped.prompt == test.unwrapped.prompt
    evaluated = EnvConfig(problems=config.problems, split="test", **FEW).make(CODEC)
    assert prompt_texts(evaluated) == prompt_texts(test)


def test_the_examples_do_not_depend_on_what_is_evaluated(tmp_path):
    config = EnvConfig(problems=write_problems(tmp_path), size=5, **FEW)
    few = config.make_bare(CODEC, split="test", size=None).unwrapped
    assert few.prompt == config.make(CODEC).unwrapped.prompt
    assert len(few.problems) == 3
    one = EnvConfig(problems=config.problems, split="test", size=1, **FEW).make(CODEC).unwrapped
    assert one.prompt == few.prompt
    assert len(one.problems) == 1


def test_a_single_file_gives_examples_of_other_problems(tmp_path):
    write_problems(tmp_path)
    config = EnvConfig(problems=str(tmp_path / "test.jsonl"), **FEW)
    texts = prompt_texts(config.make(CODEC))
    assert [text.count("Question:") for text in texts] == [3, 3, 3]
    assert [text.count(f"Question: {100 + at}+1") for at, text in enumerate(texts)] == [1, 1, 1]


def test_the_spec_of_a_few_shot_environment_holds_its_examples(tmp_path):
    source = write_problems(tmp_path)
    arguments = {"problems": source, "template": {"base": "gsm8k-fewshot", "num_examples": 2}}
    env = gym.make("MathReason-v0", max_prompt_tokens=4000, **arguments)
    texts = prompt_texts(env)
    # Other training problems would give other examples.
    text = env.spec.to_json().replace(source, f"file:{tmp_path / 'more'}")
    (tmp_path / "more").mkdir()
    write_problems(tmp_path / "more", train=20)
    again = gym.make(gym.envs.registration.EnvSpec.from_json(text))
    assert prompt_texts(again)[:9] == texts
    assert prompt_texts(gym.make(again.spec)) == prompt_texts(again)


def test_gym_make_chooses_the_template_and_a_spec_of_version_0_1_does_not(tmp_path):
    chat_codec().tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    common = {"problems": "chain", "size": 3, "codec": str(tmp_path), "max_prompt_tokens": 4000}
    env = gym.make("MathReason-v0", **common)
    assert env.unwrapped.template.name == "boxed"
    assert env.spec.kwargs["template"] == "auto"
    old = json.loads(env.spec.to_json())
    del old["kwargs"]["template"]
    first = gym.make(gym.envs.registration.EnvSpec.from_json(json.dumps(old)))
    assert first.unwrapped.prompt == PromptTemplate()
    assert first.unwrapped.grade_options == GRADINGS["strict"]()


def test_a_prompt_alone_is_a_template_of_its_own():
    env = gym.make("MathReason-v0", size=3, prompt={"ending": "!"}).unwrapped
    assert env.prompt == PromptTemplate(ending="!")
    with pytest.raises(
        ConfigError, match=r"^prompt must be left out if a template is given, got te"
    ):
        ReasonEnv(size=3, prompt={"ending": "!"}, template="boxed")


@pytest.mark.parametrize(("kind", "name"), [("plain", "ours"), ("chat", "chat")])
def test_a_config_of_version_0_1_has_its_prompts(kind, name):
    guidance = {"mistakes": "Do not say {pieces}.\n\n", "partial_solution": "So far:{pieces}"}
    old = {"prompt": kind, "system": "S", "guidance": guidance, "grading": "strict", "size": 3}
    config = config_json.load(EnvConfig, json.dumps(old))
    env = config.make(chat_codec()).unwrapped
    expected = PRESETS["ours"].prompt.guidance | guidance | {"mistakes": "Do not say {pieces}.\n"}
    assert env.prompt == PromptTemplate(kind=kind, system="S", guidance=expected)
    assert env.grade_options == GRADINGS["strict"]()
    state = env.initial_state(env.problems[0]).with_guidance(Guidance("mistakes", ("7",)))
    assert env.prompt.text(state).count("Do not say 7.") == 1
    assert PRESETS[name].prompt.kind == kind


def test_a_spec_takes_the_defaults_of_both_versions_beside_it_and_nothing_else():
    stack = gym.make("MathReason-v0", problems="chain", size=3).spec.to_json()
    for given in ({}, {"template": "plain", "grading": "strict"}):
        config = EnvConfig(stack=stack, **given)
        assert config.resolved(CODEC) == config
        assert config.make(CODEC).unwrapped.prompt == PromptTemplate()
    with pytest.raises(ConfigError, match=r"^a spec must be the only setting .*, got template too"):
        EnvConfig(stack=stack, template="boxed")


def test_the_step_delimiter_of_a_template_is_that_of_the_codec(tmp_path):
    config = EnvConfig(template='{"base": "ours", "delimiter": "paragraph"}', size=3)
    assert config.step_delimiter == "\n\n"
    assert EnvConfig().step_delimiter == EnvConfig(template="boxed").step_delimiter == "\n"
    env = config.make(ByteCodec("\n\n")).unwrapped
    assert env.codec.step_delimiter == "\n\n"
    message = r"^template 'custom' must have a codec whose steps end in '\\n\\n', got '\\n'; make"
    with pytest.raises(ConfigError, match=message):
        config.make(CODEC)
    named = ReasonEnv(size=3, template={"base": "ours", "delimiter": ";"})
    assert named.codec.step_delimiter == ";"
    spec = gym.make("MathReason-v0", size=3, template={"delimiter": ";", "base": "ours"}).spec
    assert EnvConfig(stack=spec.to_json()).step_delimiter == ";"


def test_unknown_names_are_refused_at_construction():
    with pytest.raises(
        UnknownNameError, match=r"no template 'gsm8k-fewshort'.*mean 'gsm8k-fewshot"
    ):
        EnvConfig(template="gsm8k-fewshort")
    with pytest.raises(ConfigError, match=r"^num_examples must be at least 0, got -1"):
        EnvConfig(num_examples=-1)
    with pytest.raises(ConfigError, match=r"^grading must be a preset, .*, got 'boxd'; .*'boxed'"):
        ReasonEnv(size=3, template={"base": "ours", "grading": "boxd"})


def test_the_examples_of_a_chat_are_earlier_turns(tmp_path):
    codec = chat_codec()
    assert isinstance(codec, HuggingFaceCodec)
    source = write_problems(tmp_path)
    config = EnvConfig(problems=source, num_examples=1, max_prompt_tokens=4000)
    env = config.make(codec).unwrapped
    text = codec.tokenizer.decode(env.prompt.token_ids(env.initial_state(env.problems[0])))
    parts = text.split("<|end|>")
    assert [part.split("|>")[0] for part in parts] == [
        "<|user",
        "<|assistant",
        "<|user",
        "<|assistant",
    ]
    assert parts[1].endswith("}.")
    assert parts[2].startswith("<|user|>0+1=?")
