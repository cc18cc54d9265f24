import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.learning import LossConfig
from reason_env.agents.methods import RRPOConfig, SRPOConfig
from reason_env.agents.runs.config_json import RENAMED, dump, load, renamed_keys
from reason_env.agents.runs.config_tree import with_current_keys
from reason_env.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Adam:
    kind: Literal["adam"] = "adam"
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sgd:
    kind: Literal["sgd"] = "sgd"
    learning_rate: float = 0.1

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ConfigError(f"learning_rate must be positive, got {self.learning_rate!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    problems: str
    optimizer: Adam | Sgd = field(default_factory=Adam)
    fallback: Sgd | None = None
    seed: int = 0
    is_greedy: bool = False
    clip_high: float = 0.2
    max_problems: int | None = None
    levels: tuple[int, ...] = ()
    stages: tuple[Adam | Sgd, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    dtype: Literal["float32", "bfloat16"] = "float32"
    batch: int | Literal["all"] = 8
    pair: tuple[int, str] | None = None


FULL = Run(
    problems="chain \u221a2 \U0001f600",
    optimizer=Sgd(learning_rate=0.25),
    fallback=Sgd(),
    seed=2**70,
    is_greedy=True,
    clip_high=float("inf"),
    max_problems=7,
    levels=(3, 1, 2),
    stages=(Sgd(learning_rate=3.0), Adam(betas=(0.1, 0.3))),
    columns={"question": "Frage"},
    dtype="bfloat16",
    batch="all",
    pair=(4, "x"),
)


@pytest.mark.parametrize("config", [Run(problems="a"), FULL])
def test_a_dumped_config_loads_as_an_equal_one(config):
    assert load(Run, dump(config)) == config


@given(
    rate=st.floats(allow_nan=False),
    seed=st.integers(),
    levels=st.lists(st.integers()).map(tuple),
    columns=st.dictionaries(st.text(), st.text()),
    stages=st.lists(st.builds(Adam, learning_rate=st.floats(allow_nan=False))).map(tuple),
)
def test_any_values_of_the_annotated_types_round_trip(rate, seed, levels, columns, stages):
    config = Run(
        problems="p", clip_high=rate, seed=seed, levels=levels, columns=columns, stages=stages
    )
    back = load(Run, dump(config))
    assert back == config
    assert repr(back) == repr(config)


def test_the_text_is_strict_json_in_the_order_of_the_fields():
    def refuse(name: str):
        raise AssertionError(name)

    plain = json.loads(dump(FULL), parse_constant=refuse)
    assert list(plain) == [item.name for item in dataclasses.fields(Run)]
    assert plain["clip_high"] == "inf"


def test_a_missing_key_takes_its_default():
    assert load(Run, '{"problems": "a", "seed": 3}') == Run(problems="a", seed=3)


def test_an_integer_in_a_float_field_becomes_a_float():
    value = load(Run, '{"problems": "a", "clip_high": 1}').clip_high
    assert value == 1.0
    assert type(value) is float


def test_kind_alone_chooses_the_alternative_of_a_union():
    text = '{"problems": "a", "optimizer": {"kind": "sgd"}, "stages": [{"kind": "adam"}]}'
    assert load(Run, text) == Run(problems="a", optimizer=Sgd(), stages=(Adam(),))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"problems": "a", "sede": 1}', r"unknown key 'config\.sede'; did you mean 'seed'\?"),
        (
            '{"problems": "a", "optimizer": {"kind": "adam", "beta": []}}',
            r"unknown key 'config\.optimizer\.beta'; did you mean 'betas'\?",
        ),
        (
            '{"problems": "a", "optimizer": {"kind": "adma"}}',
            r"config\.optimizer\.kind must name an alternative, got 'adma'; did you mean 'adam'\?",
        ),
        (
            '{"problems": "a", "optimizer": {}}',
            r"config\.optimizer\.kind must name an alternative, got None; choose one of adam, sgd",
        ),
        ('{"seed": 1}', r"config must hold the key 'problems', got \['seed'\]; add it"),
        ('{"problems": 1}', r"config\.problems must be of type str, got 1; correct it, or copy"),
        ('{"problems": "a", "seed": true}', r"config\.seed must be of type int, got True"),
        ('{"problems": "a", "seed": 1.0}', r"config\.seed must be of type int, got 1\.0"),
        ('{"problems": "a", "is_greedy": 1}', r"config\.is_greedy must be of type bool, got 1"),
        ('{"problems": "a", "clip_high": "nan"}', r"config\.clip_high must be a number, got 'nan'"),
        ('{"problems": "a", "clip_high": true}', r"config\.clip_high must be a number, got True"),
        (
            '{"problems": "a", "dtype": "float23"}',
            r"config\.dtype must be one of its names, got 'float23'; did you mean 'float32'\?",
        ),
        (
            '{"problems": "a", "max_problems": "7"}',
            r"config\.max_problems must be of type int, got '7' or config\.max_problems must be of "
            r"type NoneType, got '7'",
        ),
        ('{"problems": "a", "levels": 3}', r"config\.levels must be a JSON list, got 3"),
        ('{"problems": "a", "levels": [3, "x"]}', r"config\.levels\[1\] must be of type int"),
        (
            '{"problems": "a", "optimizer": {"kind": "adam", "betas": [0.9]}}',
            r"config\.optimizer\.betas must hold 2 items, got \[0\.9\]",
        ),
        ('{"problems": "a", "columns": {"q": 1}}', r"config\.columns\.q must be of type str"),
        ('{"problems": "a", "columns": []}', r"config\.columns must be of type dict, got \[\]"),
        ("[]", r"config must be a JSON object, got \[\]"),
        ("{", r"a config must be JSON, got '\{'"),
        (
            '{"problems": "a", "optimizer": {"kind": "sgd", "learning_rate": -1}}',
            r"learning_rate must be positive, got -1\.0",
        ),
    ],
)
def test_a_wrong_config_is_refused_with_its_path_and_the_remedy(text, message):
    with pytest.raises(ConfigError, match=message):
        load(Run, text)


@pytest.mark.parametrize("value", ["true", "1.0"])
def test_a_literal_of_integers_refuses_true_and_floats(value):
    @dataclass(frozen=True)
    class Numbered:
        order: Literal[1, 2] = 2

    assert load(Numbered, '{"order": 1}') == Numbered(order=1)
    with pytest.raises(ConfigError, match=r"config\.order must be one of its names, got"):
        load(Numbered, f'{{"order": {value}}}')


def test_a_value_that_its_annotation_does_not_describe_is_not_dumped():
    wrong: Any = "three"
    with pytest.raises(ConfigError, match=r"config\.seed must be of type int, got 'three'"):
        dump(Run(problems="a", seed=wrong))


def test_old_names_of_renamed_fields_are_read_and_not_written():
    text = '{"policy_term": "gspo", "ratio_against": "behavior", "own_total": true}'
    loss = load(LossConfig, text)
    assert loss == LossConfig(
        surrogate="gspo", ratio_denominator="behavior", separate_normaliser=True
    )
    assert not set(json.loads(dump(loss))) & set(RENAMED["LossConfig"])
    assert load(CPIConfig, '{"alpha": 0.25}') == CPIConfig(step_size=0.25)
    for cls in (RRPOConfig, SRPOConfig):
        config = load(cls, '{"seed_policy": "extra", "tries_per_wave": 3}')
        assert config == cls(source_choice="extra", tries_per_round=3)


def test_a_subclass_reads_the_old_names_of_its_base_except_those_of_its_own_fields():
    @dataclass(frozen=True, slots=True, kw_only=True)
    class OwnLoss(LossConfig):
        own_total: int = 0

    text = '{"policy_term": "gspo", "own_total": 7}'
    assert load(OwnLoss, text) == OwnLoss(surrogate="gspo", own_total=7)
    assert renamed_keys(OwnLoss(), prefix="loss.") == {
        "loss.policy_term": "loss.surrogate",
        "loss.ratio_against": "loss.ratio_denominator",
    }
    assert with_current_keys({"policy_term": "gspo"}, OwnLoss()) == {"surrogate": "gspo"}


def test_a_field_under_both_of_its_names_is_refused():
    with pytest.raises(ConfigError, match="config must hold 'step_size' once, got its old name"):
        load(CPIConfig, '{"alpha": 0.25, "step_size": 0.25}')


def test_each_renamed_field_exists_in_its_config_and_its_old_name_does_not():
    for cls in (CPIConfig, LossConfig, RRPOConfig):
        names = {item.name for item in dataclasses.fields(cls)}
        assert set(RENAMED[cls.__name__].values()) <= names
        assert not set(RENAMED[cls.__name__]) & names


def test_nan_is_not_dumped_because_it_never_reads_back_equal():
    with pytest.raises(ConfigError, match=r"clip_high must be a number, got 'nan'"):
        dump(Run(problems="a", clip_high=float("nan")))


def test_a_config_that_does_not_read_back_equal_is_not_dumped():
    @dataclass(frozen=True)
    class Derived:
        size: int = 1
        twice: int = field(init=False, default=0)

        def __post_init__(self) -> None:
            object.__setattr__(self, "size", self.size + 1)

    with pytest.raises(
        ConfigError, match=r"Derived must read back equal from JSON, got another size; give"
    ):
        dump(Derived())


def test_a_live_object_in_a_config_is_refused():
    @dataclass(frozen=True)
    class Live:
        function: Callable[[], None] | None = None

    with pytest.raises(ConfigError, match="keep live objects out of it"):
        dump(Live(function=test_a_live_object_in_a_config_is_refused))
