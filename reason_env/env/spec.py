"""The specs that may be made: an allow-list, because an entry point is code that runs.

A spec is JSON text and may come from anywhere: a file, a config, a run directory. `checked_spec`
accepts registered environments, our wrappers and Gymnasium's own, all compared as text; nothing
that a spec names is imported before it is accepted.
"""

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator

from reason_env.env.arguments import check_keywords
from reason_env.errors import ConfigError, did_you_mean, shown

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
STOCK = "gymnasium.wrappers."
"""Where the entry points of Gymnasium's own wrappers begin."""


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
    except (AttributeError, KeyError, TypeError, ValueError, gym.error.Error) as error:
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
    for name, entry_point, _ in wrappers:
        if WRAPPERS.get(name) != entry_point and not str(entry_point).startswith(STOCK):
            advice = (
                f"; its entry point must be {WRAPPERS[name]!r}"
                if name in WRAPPERS
                else did_you_mean(str(name), WRAPPERS)
            )
            raise ConfigError(
                f"a spec's wrappers must be ours or Gymnasium's, got {name!r} at "
                f"{shown(entry_point)}{advice}"
            )
    return spec


def check_wrapper_arguments(spec: EnvSpec) -> None:
    """Import the wrappers of a checked spec and refuse an argument that one does not take.

    Raises:
        ConfigError: There is one; the message has the nearest name.
    """
    for wrapper in spec.additional_wrappers:
        check_keywords(load_env_creator(wrapper.entry_point), wrapper.kwargs or {})
