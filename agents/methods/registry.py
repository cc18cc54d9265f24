"""The methods, by name: one file each, one line here. Names joined by "+" are a composition."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from reason_env.agents.methods.compose import Composed, check_composition
from reason_env.agents.methods.exp_dpo import ExPDPO, ExPDPOConfig
from reason_env.agents.methods.expo import ExPO, ExPOConfig
from reason_env.agents.methods.grpo import GRPO, GRPOConfig
from reason_env.agents.methods.lte import LTE, LTEConfig
from reason_env.agents.methods.pope import POPE, POPEConfig
from reason_env.agents.methods.protocol import Fingerprint, Fits, Method, MethodBase
from reason_env.agents.methods.rrpo import RRPO, RRPOConfig
from reason_env.agents.methods.sft import SFT, SFTConfig
from reason_env.agents.methods.srpo import SRPO, SRPOConfig
from reason_env.errors import ConfigError, UnknownNameError, did_you_mean
from reason_env.problem import StepChecker

SingleConfig = (
    GRPOConfig
    | RRPOConfig
    | SRPOConfig
    | POPEConfig
    | LTEConfig
    | ExPOConfig
    | ExPDPOConfig
    | SFTConfig
)
"""The union of the single methods' configs; `kind` tells them apart."""

METHODS: dict[str, type[SingleConfig]] = {
    "grpo": GRPOConfig,
    "rrpo": RRPOConfig,
    "srpo": SRPOConfig,
    "pope": POPEConfig,
    "lte": LTEConfig,
    "expo": ExPOConfig,
    "exp-dpo": ExPDPOConfig,
    "sft": SFTConfig,
}
"""Name on the command line -> the config class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedConfig:
    """Several methods in combination: `compose.py` says in which order what happens.

    Raises:
        ConfigError: There is no method, one comes twice, or two contradict each other.
    """

    kind: Annotated[Literal["composed"], tyro.conf.Suppress] = "composed"
    methods: tuple[SingleConfig, ...] = ()
    """In order; the first samples the problems' own groups, and gives their estimator and loss."""

    def __post_init__(self) -> None:
        names = [config.kind for config in self.methods]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(
                f"a composition must name each method once, got {'+'.join(names)}; "
                f"take one {twice[0]} out"
            )
        check_composition({config.kind: _unchecked(config) for config in self.methods})


MethodConfig = SingleConfig | ComposedConfig
"""What `TrainConfig.method` may be."""


def method_config(name: str) -> MethodConfig:
    """Returns the default config of a method, or of several, in order, with "+" between them.

    >>> method_config("srpo+lte").methods[1].kind
    'lte'

    Raises:
        UnknownNameError: A name is no method's.
        ConfigError: The methods have no meaning together.
    """
    names = name.split("+")
    for own in names:
        if own not in METHODS:
            raise UnknownNameError(f"no method {own!r}{did_you_mean(own, METHODS)}")
    if len(names) == 1:
        return METHODS[name]()
    return ComposedConfig(methods=tuple(METHODS[own]() for own in names))


def method_name(config: MethodConfig) -> str:
    """Returns the name that `method_config` takes.

    >>> method_name(method_config("pope+rrpo"))
    'pope+rrpo'
    """
    if isinstance(config, ComposedConfig):
        return "+".join(own.kind for own in config.methods)
    return config.kind


def build_method(
    config: MethodConfig,
    checker: StepChecker | None = None,
    fits: Fits | None = None,
    fingerprint: Fingerprint | None = None,
) -> Method:
    """Returns the method that a config describes.

    Args:
        config: One of the union.
        checker: The problems' step checker, for methods that can use one.
        fits: Whether an episode can begin at a state; None where everything fits.
        fingerprint: Hash of what a measurement of the policy depends on; None where nothing may be
            kept between runs.

    Raises:
        ConfigError: A step checker is asked for, and there is none.
    """
    parts = _parts(config)
    built: dict[str, MethodBase] = {}
    for own in parts:
        method = _method(own, checker)
        if fits is not None:
            method.fits = fits
        method.fingerprint = fingerprint
        built[own.kind] = method
    return Composed(built) if len(built) > 1 else built[parts[0].kind]


def _parts(config: MethodConfig) -> Sequence[SingleConfig]:
    return config.methods if isinstance(config, ComposedConfig) else (config,)


def _unchecked(config: SingleConfig) -> MethodBase:
    """Returns a method to be asked what it combines with; its checker is not needed for that."""
    return _method(config, lambda problem, steps: None)


def _method(config: SingleConfig, checker: StepChecker | None) -> MethodBase:
    match config:
        case SRPOConfig():
            method = SRPO(config, checker)
        case RRPOConfig():
            method = RRPO(config, checker)
        case POPEConfig():
            method = POPE(config)
        case LTEConfig():
            method = LTE(config)
        case ExPOConfig():
            method = ExPO(config)
        case ExPDPOConfig():
            method = ExPDPO(config)
        case SFTConfig():
            method = SFT(config)
        case GRPOConfig():
            method = GRPO(config)
    return method


__all__ = [
    "GRPO",
    "LTE",
    "METHODS",
    "POPE",
    "RRPO",
    "SFT",
    "SRPO",
    "Composed",
    "ComposedConfig",
    "ExPDPO",
    "ExPDPOConfig",
    "ExPO",
    "ExPOConfig",
    "GRPOConfig",
    "LTEConfig",
    "Method",
    "MethodConfig",
    "POPEConfig",
    "RRPOConfig",
    "SFTConfig",
    "SRPOConfig",
    "SingleConfig",
    "build_method",
    "method_config",
    "method_name",
]
