"""The specs that may be made: an allow-list, because an entry point is code that runs.

A spec is JSON text and may come from anywhere: a file, a config, a run directory. `checked_spec`
accepts registered environments, our wrappers and Gymnasium's own, all compared as text; nothing
that a spec names is imported before it is accepted. Wrappers of other modules are accepted after
`trust_module`, which no file can call: it is the user's explicit decision.

Not covered: `gym.make` of a spec that was read by `EnvSpec.from_json`. Gymnasium imports what that
names before any of our code runs; use `reason_env.wrappers.stack_from_json`.
"""

import importlib
from typing import Any, cast

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator

from reason_env.env.arguments import check_keywords
from reason_env.errors import ConfigError, ReasonEnvError, did_you_mean, shown

WRAPPERS: dict[str, str] = {
    "Curriculum": "reason_env.wrappers.curriculum:Curriculum",
    "Hint": "reason_env.wrappers.hint:Hint",
    "PrefixRollin": "reason_env.wrappers.prefix_rollin:PrefixRollin",
    "RecordEpisodes": "reason_env.wrappers.record_episodes:RecordEpisodes",
    "ResetToState": "reason_env.wrappers.reset_to_state:ResetToState",
    "RewardShaping": "reason_env.wrappers.reward_shaping:RewardShaping",
    "TabularPrefixRollin": "reason_env.wrappers.tabular_starts:TabularPrefixRollin",
    "TabularResetToState": "reason_env.wrappers.tabular_starts:TabularResetToState",
}
"""Our wrappers and their entry points."""
STOCK: frozenset[str] = frozenset(
    f"{kind.__module__}:{kind.__name__}"
    for name in gym.wrappers.__all__
    # Those that need another package are loaded on demand, and are left out.
    if isinstance(kind := vars(gym.wrappers).get(name), type)
)
"""The entry points of Gymnasium's own wrappers."""
_trusted: set[str] = set()


def trust_module(name: str) -> None:
    """Accept the wrappers of a module in specs, in this process; imports the module.

    Args:
        name: Dotted name, as in `import`; its submodules are not included.

    Raises:
        ConfigError: There is no such module, or its import fails.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(
            f"a trusted module must be named as in `import`, got {shown(name)}; write "
            "package.module, without .py"
        )
    try:
        importlib.import_module(name)
    except Exception as error:
        raise ConfigError(
            f"a trusted module must be importable, got {name!r}: {type(error).__name__}: {error}; "
            "install it, or run in its folder"
        ) from error
    _trusted.add(name)


def trusted_modules() -> tuple[str, ...]:
    """The modules that `trust_module` was called with, by name."""
    return tuple(sorted(_trusted))


def checked_spec(text: str) -> EnvSpec:
    """Read a spec and refuse it if it names foreign code.

    Args:
        text: JSON as `env.spec.to_json()` writes it.

    Raises:
        ConfigError: The text is no spec, or names an entry point that is not on the list.
    """
    try:
        spec = EnvSpec.from_json(text)
        wrappers = [(item.name, item.entry_point, item.kwargs) for item in spec.additional_wrappers]
    except (
        AttributeError, KeyError, RecursionError, TypeError, ValueError, gym.error.Error,
    ) as error:  # fmt: skip
        raise ConfigError(
            f"a spec must be JSON as env.spec.to_json() writes it, got {shown(text)}; {error}"
        ) from error
    known = gym.registry.get(spec.id)
    if known is None or spec.entry_point != known.entry_point:
        advice = (
            did_you_mean(spec.id, gym.registry)
            if known is None
            else f"; its entry point must be {known.entry_point!r}"
        )
        raise ConfigError(
            f"a spec must be of a registered environment, got {spec.id!r} at "
            f"{shown(spec.entry_point)}{advice}"
        )
    # The text may name another vector environment; the registry decides.
    spec.vector_entry_point = known.vector_entry_point
    if not isinstance(cast("object", spec.kwargs), dict):
        raise ConfigError(f"a spec's kwargs must be a JSON object, got {shown(spec.kwargs)}")
    for name, entry_point, arguments in wrappers:
        _check_wrapper(name, entry_point)
        if not isinstance(arguments, dict):
            raise ConfigError(
                f"a spec must hold the arguments of its wrapper {name!r}, got {shown(arguments)}; "
                "a wrapper records them by gymnasium.utils.RecordConstructorArgs"
            )
    return spec


def _check_wrapper(name: object, entry_point: object) -> None:
    if isinstance(name, str) and isinstance(entry_point, str):
        module, _, attribute = entry_point.partition(":")
        is_own = module in _trusted and attribute.isidentifier()
        if WRAPPERS.get(name) == entry_point or entry_point in STOCK or is_own:
            return
        if name in WRAPPERS:
            advice = f"; its entry point must be {WRAPPERS[name]!r}"
        elif module.startswith("gymnasium.wrappers"):
            advice = "; gymnasium.wrappers has no such class"
        else:
            advice = (
                f"{did_you_mean(name, WRAPPERS)}; if it is your own, trust its module: --trust "
                f"{module}, or reason_env.env.trust_module({module!r})"
            )
    else:
        advice = "; both must be texts"
    raise ConfigError(
        f"a spec's wrappers must be ours or Gymnasium's, got {name!r} at "
        f"{shown(entry_point)}{advice}"
    )


def make_stack(spec: EnvSpec, **changes: Any) -> gym.Env[Any, Any]:
    """Build the stack of a checked spec.

    Args:
        spec: What `checked_spec` returned.
        changes: Arguments of the environment that replace the spec's.

    Raises:
        ConfigError: A wrapper takes other arguments, or cannot be built with them.
    """
    for wrapper in spec.additional_wrappers:
        kind = _wrapper_class(wrapper.name, wrapper.entry_point)
        check_keywords(kind, wrapper.kwargs or {})
    try:
        return gym.make(spec, **changes)
    except ReasonEnvError:
        raise
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(
            f"a spec must describe a stack that can be built, got {type(error).__name__}: {error}; "
            "correct its arguments, or write it again with env.spec.to_json()"
        ) from error


def _wrapper_class(name: str, entry_point: str) -> type[gym.Wrapper[Any, Any, Any, Any]]:
    try:
        kind = cast("object", load_env_creator(entry_point))
    except AttributeError as error:
        raise ConfigError(f"a spec's wrapper {name!r} must exist, got none; {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, gym.Wrapper)):
        raise ConfigError(
            f"a spec's wrapper {name!r} must be a class of gymnasium.Wrapper, got {entry_point!r}; "
            "name its class"
        )
    return cast("type[gym.Wrapper[Any, Any, Any, Any]]", kind)
