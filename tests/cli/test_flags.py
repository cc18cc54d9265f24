"""Old spellings of renamed flags."""

import pytest

from reason_env.cli import train as command
from reason_env.errors import UnknownNameError


def configs(monkeypatch, *commands):
    """Parse these commands into the configs that they would train with."""
    made = []
    monkeypatch.setattr(command, "_new_run", lambda config, path, words, _: made.append(config))
    for words in commands:
        command.run(list(words))
    return made


@pytest.mark.parametrize(
    ("method", "old", "new", "value"),
    [
        ("cpi", "--cpi.alpha", "--cpi.step-size", "0.25"),
        ("cpi", "--loss.policy-term", "--loss.surrogate", "gspo"),
        ("grpo", "--loss.policy_term", "--loss.surrogate", "gspo"),
        ("rrpo", "--loss.ratio-against", "--loss.ratio-denominator", "behavior"),
        ("grpo", "--loss.own-total", "--loss.separate-normaliser", "True"),
        ("rrpo", "--seed-policy", "--source-choice", "extra"),
        ("srpo", "--tries-per-wave", "--tries-per-round", "3"),
        (
            "srpo+lte",
            "--methods.1.loss.policy-term",
            "--methods.1.loss.surrogate",
            "reinforce",
        ),
    ],
)
def test_the_old_spelling_of_a_flag_sets_the_same_field_with_a_warning(
    monkeypatch, caplog, method, old, new, value
):
    default, with_new = configs(monkeypatch, [method], [method, new, value])
    assert not caplog.records
    spaced, joined = configs(monkeypatch, [method, old, value], [method, f"{old}={value}"])
    assert spaced == joined == with_new != default
    assert [item.getMessage() for item in caplog.records] == [f"the flag {old} is now {new}"] * 2
    assert {item.levelname for item in caplog.records} == {"WARNING"}


def test_the_old_spelling_of_a_flag_is_accepted_only_under_its_config(monkeypatch):
    with pytest.raises(UnknownNameError, match="train grpo has no flag --policy-term; see"):
        configs(monkeypatch, ["grpo", "--policy-term", "gspo"])
