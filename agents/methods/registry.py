"""The methods by name: the built-in ones, those of installed packages, those of this process.

A method is a `MethodEntry`. The built-in ones are listed here, one line each. A package offers its
own through the entry-point group `reason_env.methods`: the entry point's name is the method's, its
value a `MethodEntry`. An entry point is loaded when its name is first looked up, so a package that
fails to load breaks no other method. `register_method` adds an entry to this process alone: the
subprocesses of `reason-env compare` do not know it.

Names joined by "+" are a composition. The algorithms of Stable-Baselines3 (`sb3.py`) are entries
too, with names of their own (`sb3_names`): they are configured, run and compared like methods, but
step the environment themselves.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, Literal

import tyro

from reason_env.agents.learning import SurrogateFunction, register_surrogate
from reason_env.agents.methods.adaback import AdaBack, AdaBackConfig
from reason_env.agents.methods.compose import Composed, check_composition
from reason_env.agents.methods.dapo import DAPO, DAPOConfig
from reason_env.agents.methods.exp_dpo import ExPDPO, ExPDPOConfig
from reason_env.agents.methods.expo import ExPO, ExPOConfig
from reason_env.agents.methods.failure_prefix import FailurePrefix, FailurePrefixConfig
from reason_env.agents.methods.grpo import GRPO, GRPOConfig
from reason_env.agents.methods.intervention import InT, InTConfig
from reason_env.agents.methods.lte import LTE, LTEConfig
from reason_env.agents.methods.opsd import OPSD, OPSDConfig
from reason_env.agents.methods.pope import POPE, POPEConfig
from reason_env.agents.methods.prefix_sampling import PrefixSampling, PrefixSamplingConfig
from reason_env.agents.methods.prefixrl import PrefixRL, PrefixRLConfig
from reason_env.agents.methods.protocol import (
    Fingerprint,
    Fits,
    Method,
    MethodBase,
    MethodConfig,
    PromptIds,
    ReferenceIds,
)
from reason_env.agents.methods.rrpo import RRPO, RRPOConfig
from reason_env.agents.methods.sage import SAGE, SAGEConfig
from reason_env.agents.methods.sb3 import (
    SB3A2C,
    SB3GRPO,
    SB3PPO,
    SB3A2CConfig,
    SB3Config,
    SB3GRPOConfig,
    SB3MaskablePPO,
    SB3MaskablePPOConfig,
    SB3PPOConfig,
)
from reason_env.agents.methods.sdpo import SDPO, SDPOConfig
from reason_env.agents.methods.segment_tree import SPOTree, SPOTreeConfig
from reason_env.agents.methods.sft import SFT, SFTConfig
from reason_env.agents.methods.spo import SPO, SPOConfig
from reason_env.agents.methods.srpo import SRPO, SRPOConfig
from reason_env.agents.methods.treerl import TreeRL, TreeRLConfig
from reason_env.agents.methods.vineppo import VinePPO, VinePPOConfig
from reason_env.agents.methods.vppo import VPPO, VPPOConfig
from reason_env.agents.metrics import Metric, register_metrics
from reason_env.agents.runs import ByKind
from reason_env.errors import ConfigError, UnknownNameError, did_you_mean, shown
from reason_env.problem import StepChecker
from reason_env.verify import GradeOptions

ENTRY_POINTS = "reason_env.methods"
"""Entry-point group in which packages offer methods."""
RESERVED = ("composed", "cpi", "initial")
"""Names that mean something else to a config or to the command line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodEntry:
    """One method, with everything that it adds to the library.

    Raises:
        ConfigError: The config is no `MethodConfig`, or its `kind` is no name of a method.
    """

    config: type[MethodConfig]
    """Frozen dataclass; the default of its field `kind` is the method's name."""
    build: Callable[[Any, StepChecker | None], MethodBase]
    """(config, the problems' step checker) -> the method; usually the method's class."""
    metrics: Mapping[str, Metric] = field(default_factory=dict[str, Metric])
    """Metrics that `MethodBase.metrics` returns and `METRICS` does not hold."""
    surrogates: Mapping[str, SurrogateFunction] = field(
        default_factory=dict[str, SurrogateFunction]
    )
    """Surrogates that `LossConfig.surrogate` may then name."""

    def __post_init__(self) -> None:
        config: Any = self.config
        if not (isinstance(config, type) and issubclass(config, MethodConfig)):
            raise ConfigError(
                f"a method's config must be a subclass of MethodConfig, got {shown(self.config)}"
            )
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", self.name) or self.name in RESERVED:
            raise ConfigError(
                f"the kind of {self.config.__name__} must have a default of lower-case letters, "
                f"digits, - and _, other than {', '.join(RESERVED)}; got {self.name!r}"
            )

    @property
    def name(self) -> str:
        """The method's name, on the command line and in files."""
        kind = next(item for item in dataclasses.fields(self.config) if item.name == "kind")
        return str(kind.default)


def register_method(entry: MethodEntry) -> None:
    """Add a method to this process, with its metrics and surrogates.

    Raises:
        ConfigError: A method, a metric or a surrogate of that name is already registered.
    """
    if entry.name in _REGISTERED:
        raise ConfigError(
            f"a method must be registered once, got {entry.name!r} twice; rename one of them"
        )
    _add_parts(entry)
    _REGISTERED[entry.name] = entry


def method_names() -> list[str]:
    """List all methods of language models, without loading those of installed packages."""
    own = [name for name in _REGISTERED if name not in sb3_names()]
    return list(dict.fromkeys([*own, *_installed()]))


def sb3_names() -> list[str]:
    """List the algorithms of Stable-Baselines3, whether it is installed or not.

    >>> sb3_names()
    ['sb3-ppo', 'sb3-maskable-ppo', 'sb3-a2c', 'sb3-grpo']
    """
    return [name for name, entry in _REGISTERED.items() if issubclass(entry.config, SB3Config)]


def method_entry(name: str) -> MethodEntry:
    """Find a method by its name.

    Raises:
        UnknownNameError: There is no method of that name.
        ConfigError: Several packages offer the name, or its package fails to load.
    """
    points = _installed().get(name, ())
    owners = [f"the package {_distribution(point)}" for point in points]
    if name in _REGISTERED:
        owners.insert(0, "this process")
    if len(owners) > 1:
        raise ConfigError(
            f"a method must be registered once, got {name!r} from {' and '.join(owners)}; "
            "uninstall or rename one of them"
        )
    if points:
        return _loaded(points[0])
    if name not in _REGISTERED:
        known = (*method_names(), *sb3_names())
        raise UnknownNameError(f"no method {name!r}{did_you_mean(name, known)}")
    return _REGISTERED[name]


def _config_class(kind: str) -> type[MethodConfig]:
    return ComposedConfig if kind == "composed" else method_entry(kind).config


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedConfig(MethodConfig):
    """Several methods in combination; `compose.py` says what happens in which order.

    Raises:
        ConfigError: There is no method, one occurs twice, or two contradict each other.
    """

    kind: Annotated[Literal["composed"], tyro.conf.Suppress] = "composed"
    methods: tuple[
        Annotated[MethodConfig, ByKind(lambda kind: method_entry(kind).config)], ...
    ] = ()
    """In order; the first samples the problem groups, and gives them its estimator and loss."""

    def __post_init__(self) -> None:
        names = [config.kind for config in self.methods]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(
                f"a composition must name each method once, got {'+'.join(names)}; "
                f"take one {twice[0]} out"
            )
        alone = next((own.kind for own in self.methods if isinstance(own, SB3Config)), None)
        if alone is not None and len(names) > 1:
            raise ConfigError(
                f"{alone} must be used alone, got {'+'.join(names)}; an algorithm of "
                "Stable-Baselines3 steps the environment itself, and no other method plans there"
            )
        # What methods combine with depends on their configs alone; any checker serves.
        check_composition(
            {own.kind: _built(own, lambda problem, steps: None) for own in self.methods}
        )


AnyMethodConfig = Annotated[MethodConfig, ByKind(_config_class)]
"""Annotation of a field that holds any method's config, a composition included."""


def method_config(name: str) -> MethodConfig:
    """Return the default config of a method, or of several joined by "+", in order.

    >>> method_config("srpo+lte").methods[1].kind
    'lte'

    Raises:
        UnknownNameError: There is no method of a name.
        ConfigError: The methods cannot be combined.
    """
    configs = [method_entry(part).config for part in name.split("+")]
    defaults = tuple(
        config(kind=part) for config, part in zip(configs, name.split("+"), strict=True)
    )
    return defaults[0] if len(defaults) == 1 else ComposedConfig(methods=defaults)


def method_name(config: MethodConfig) -> str:
    """Return the name that `method_config` takes.

    >>> method_name(method_config("pope+rrpo"))
    'pope+rrpo'
    """
    return "+".join(part.kind for part in parts_of(config))


def parts_of(config: MethodConfig) -> tuple[MethodConfig, ...]:
    """Return the configs of the single methods in a config, in order."""
    return config.methods if isinstance(config, ComposedConfig) else (config,)


def build_method(
    config: MethodConfig,
    checker: StepChecker | None = None,
    fits: Fits | None = None,
    fingerprint: Fingerprint | None = None,
    max_response_tokens: int | None = None,
    *,
    reference_ids: ReferenceIds | None = None,
    prompt_ids: PromptIds | None = None,
    grade_options: GradeOptions | None = None,
) -> Method:
    """Build the method that a config describes.

    Args:
        config: A single method or a composition.
        checker: The problems' step checker, for methods that can use one.
        fits: Whether an episode can begin at a state; None if every state fits.
        fingerprint: Hash of what a measurement of the policy depends on; None keeps no measurement
            between runs.
        max_response_tokens: The environment's response budget; None if it is unknown.
        reference_ids: Encodes a problem's reference solution as the environment's template asks
            for it; None for the answer line of version 0.1.
        prompt_ids: Gives a state's prompt as the environment's template writes it; None for the
            built-in template.
        grade_options: Where a response states its answer; None for a box or an answer line.

    Raises:
        ConfigError: The method needs a step checker, and there is none.
    """
    built: dict[str, MethodBase] = {}
    for part in parts_of(config):
        method = built[part.kind] = _built(part, checker)
        if fits is not None:
            method.fits = fits
        method.fingerprint = fingerprint
        method.max_response_tokens = max_response_tokens
        if reference_ids is not None:
            method.reference_ids = reference_ids
        if prompt_ids is not None:
            method.prompt_ids = prompt_ids
        if grade_options is not None:
            method.grade_options = grade_options
    return Composed(built) if len(built) > 1 else next(iter(built.values()))


def _built(config: MethodConfig, checker: StepChecker | None) -> MethodBase:
    return method_entry(config.kind).build(config, checker)


def _add_parts(entry: MethodEntry) -> None:
    register_metrics(entry.metrics)
    for name, function in entry.surrogates.items():
        register_surrogate(name, function)


@functools.cache
def _installed() -> dict[str, tuple[EntryPoint, ...]]:
    """Return name -> the entry points of installed packages, not loaded."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=ENTRY_POINTS):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


@functools.cache
def _loaded(point: EntryPoint) -> MethodEntry:
    try:
        entry = point.load()
    except Exception as error:
        raise ConfigError(
            f"the method {point.name!r} of the package {_distribution(point)} must load, got "
            f"{type(error).__name__}: {error}; correct {point.value!r}, or uninstall the package"
        ) from error
    if not isinstance(entry, MethodEntry) or entry.name != point.name:
        found = f"the method {entry.name!r}" if isinstance(entry, MethodEntry) else shown(entry)
        raise ConfigError(
            f"the entry point {point.name!r} of the package {_distribution(point)} must be the "
            f"MethodEntry of that name, got {found}; correct {point.value!r}"
        )
    _add_parts(entry)
    return entry


def _distribution(point: EntryPoint) -> str:
    return "(unnamed)" if point.dist is None else f"{point.dist.name} {point.dist.version}"


_REGISTERED: dict[str, MethodEntry] = {}
for _entry in (
    MethodEntry(config=GRPOConfig, build=GRPO),
    MethodEntry(config=RRPOConfig, build=RRPO),
    MethodEntry(config=SRPOConfig, build=SRPO),
    MethodEntry(config=POPEConfig, build=POPE),
    MethodEntry(config=LTEConfig, build=LTE),
    MethodEntry(config=ExPOConfig, build=ExPO),
    MethodEntry(config=OPSDConfig, build=OPSD),
    MethodEntry(config=SDPOConfig, build=SDPO),
    MethodEntry(config=VinePPOConfig, build=VinePPO),
    MethodEntry(config=SPOConfig, build=SPO),
    MethodEntry(config=SPOTreeConfig, build=SPOTree),
    MethodEntry(config=TreeRLConfig, build=TreeRL),
    MethodEntry(config=VPPOConfig, build=VPPO),
    MethodEntry(config=InTConfig, build=InT),
    MethodEntry(config=ExPDPOConfig, build=ExPDPO),
    MethodEntry(config=SFTConfig, build=SFT),
    MethodEntry(config=AdaBackConfig, build=AdaBack),
    MethodEntry(config=PrefixRLConfig, build=PrefixRL),
    MethodEntry(config=FailurePrefixConfig, build=FailurePrefix),
    MethodEntry(config=PrefixSamplingConfig, build=PrefixSampling),
    MethodEntry(config=SAGEConfig, build=SAGE),
    MethodEntry(config=DAPOConfig, build=DAPO),
    MethodEntry(config=SB3PPOConfig, build=SB3PPO),
    MethodEntry(config=SB3MaskablePPOConfig, build=SB3MaskablePPO),
    MethodEntry(config=SB3A2CConfig, build=SB3A2C),
    MethodEntry(config=SB3GRPOConfig, build=SB3GRPO),
):
    register_method(_entry)
