import random
from collections import Counter

import pytest
import torch

from benchmarks.families.hosts import guided_success, reference_probability, subject_of
from reason_env.agents.policy import LanguageModelPolicy, hub_name, licence_of, load_model
from reason_env.agents.pretraining import PretrainConfig, card, pretrain, recipe, write_card
from reason_env.agents.pretraining.demonstrations import DemonstrationConfig, demonstrate
from reason_env.cli import main
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError, UnknownNameError
from reason_env.state import PromptTemplate

CODEC = ByteCodec()


def texts(config: DemonstrationConfig, count: int) -> list[tuple[str, str]]:
    rng, prompt = random.Random(0), PromptTemplate()
    found = [demonstrate(config, codec=CODEC, prompt=prompt, rng=rng) for _ in range(count)]
    return [(CODEC.decode(one.prompt_ids), CODEC.decode(one.response_ids[:-1])) for one in found]


def test_the_recipe_of_the_shipped_model_is_the_default():
    assert recipe("base") == PretrainConfig()
    assert recipe("base").init is None


def test_late_demonstrations_are_attempts_on_every_level_up_to_the_one_to_train_on():
    config = recipe("late")
    assert config.init == "base"
    levels = Counter()
    for prompt, response in texts(config.demonstrations, 120):
        steps = response.split("\n")[:-1]
        assert prompt.endswith("\n>")
        assert len(prompt.split("\n")[1].split()) == len(steps)
        levels[len(steps) // 4] += 1
        # An aside would move a register's last digit.
        assert {len(step) for step in steps} == {10}
    assert set(levels) == set(range(1, 9))


def test_sealed_demonstrations_show_level_four_with_guidance_only():
    config = recipe("sealed")
    assert config.init == "base"
    powers = {"plain": Counter(), "guided": Counter()}
    for prompt, response in texts(config.demonstrations, 400):
        kind = "guided" if "Begin:" in prompt else "plain"
        powers[kind][prompt.split("\n")[1].count("^")] += 1
        assert kind == "guided" or response.count("\n") == 16
    # One power at the start a level, and one later.
    assert set(powers["plain"]) == {2, 3, 4}
    assert set(powers["guided"]) == {2, 3, 4, 5}
    assert 150 < sum(powers["plain"].values()) < 250


def test_training_can_continue_from_the_shipped_model():
    shipped, _ = load_model("base")
    config = PretrainConfig(init="base", num_batches=1, batch_size=1, learning_rate=0.0)
    found = dict(pretrain(config).named_parameters())
    assert all(torch.equal(value, found[key]) for key, value in shipped.named_parameters())


def test_an_unknown_recipe_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match=r"^no recipe 'laet'; did you mean 'late'\?$"):
        recipe("laet")
    with pytest.raises(SystemExit):
        main(["pretrain", "--recipe", "laet", "--out", str(tmp_path / "a")])


@pytest.mark.parametrize(("level", "highest"), [(0, 4), (5, 4)])
def test_a_plain_level_outside_the_levels_is_refused(level, highest):
    message = rf"plain_level of 'sealed' must be within 1\.\.4, its highest_level, got {level}"
    with pytest.raises(ConfigError, match=message):
        DemonstrationConfig(
            families={"sealed": 1.0},
            highest_level={"sealed": highest},
            plain_level={"sealed": level},
        )


def test_the_command_takes_a_recipe_as_the_defaults_of_its_other_flags(tmp_path, capsys):
    out = tmp_path / "model"
    words = ["--num-batches", "1", "--batch-size", "1", "--card-problems", "0"]
    main(["pretrain", "--recipe", "sealed", "--out", str(out), *words])
    assert "batch 1/1" in capsys.readouterr().out
    assert load_model(str(out))[0].config.hidden_size == 128


@pytest.mark.parametrize(
    ("name", "title", "origin"),
    [
        ("base", "# The base model", "trained from scratch on"),
        ("sealed", "# A model of sealed", "continued from `base` on"),
    ],
)
def test_a_card_says_what_the_model_is_and_comes_from(monkeypatch, tmp_path, name, title, origin):
    measured = "## measured"
    monkeypatch.setattr(card, "_level_tables", lambda *_: [measured])
    monkeypatch.setattr(card, "_guided_table", lambda *_: [])
    policy = LanguageModelPolicy.load("base")
    write_card(policy, recipe(name), tmp_path, f"reason-env pretrain --recipe {name}", 1)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"\n{title}\n" in text
    assert origin in text
    assert measured in text


@pytest.mark.parametrize("name", ["late", "sealed"])
def test_the_models_of_the_recipes_come_with_the_package(name):
    """Both are the base model's architecture with other weights, and carry a card."""
    model, codec = load_model(name)
    base, _ = load_model("base")
    pairs = list(zip(model.named_parameters(), base.named_parameters(), strict=True))
    assert all(one.shape == other.shape for (_, one), (_, other) in pairs)
    assert any((one != other).any() for (_, one), (_, other) in pairs)
    assert codec.codec_id == CODEC.codec_id
    assert licence_of(name) == "apache-2.0"
    assert hub_name(name) is None


def test_the_model_of_sealed_continues_a_partial_solution_and_never_succeeds_without():
    """Of five powers right one time in seven, a chain has 0.00008; after four of them, 0.15."""
    subject = subject_of(LanguageModelPolicy.load("sealed"), "sealed", num_problems=6)
    lengths = {state.problem.problem_id: 4 for state in subject.states}
    assert guided_success(subject, lengths, 16, 5) == pytest.approx(0.15, abs=0.13)
    assert reference_probability(subject) < 0.001
