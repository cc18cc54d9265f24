# pyright: reportMissingImports=false
# verl's omegaconf is in the environment of `make test-interop` only.
"""Which settings of verl would train other tokens, or another loss, than the method's."""

from typing import Any

from reason_env.agents.integrations.verl.losses import ESTIMATOR
from reason_env.agents.integrations.verl.served import Served
from reason_env.errors import ConfigError, shown

FIXED: tuple[tuple[str, object, str], ...] = (
    ("algorithm.adv_estimator", ESTIMATOR, "the agent loop computes the advantages"),
    ("algorithm.use_kl_in_reward", False, "rewards hold the advantages; use actor.use_kl_loss"),
    ("algorithm.filter_groups.enable", False, "the method decides which groups are trained"),
    ("algorithm.rollout_correction.bypass_mode", False, "ratios are to the trainer's old policy"),
    ("algorithm.rollout_correction.rollout_is", None, "the method's loss weighs tokens itself"),
    ("algorithm.rollout_correction.rollout_rs", None, "the method's loss weighs tokens itself"),
    ("actor_rollout_ref.rollout.n", 1, "one session samples all episodes of a problem"),
    ("actor_rollout_ref.rollout.calculate_log_probs", True, "losses need the sampler's"),
    ("reward.reward_model.enable", False, "its scores would replace the advantages"),
    ("distillation.enabled", False, "verl scores a teacher for one row of a problem"),
)  # fmt: skip
"""Setting of verl's -> the value that it must have, and why or what to do instead."""


def check_settings(config: Any, served: Served) -> None:
    """Check verl's settings for a method.

    Args:
        config: The whole config of a run of verl's trainer (OmegaConf).
        served: The method.

    Raises:
        ConfigError: A setting would train something else.
    """
    from omegaconf import OmegaConf

    def value(name: str) -> Any:
        return OmegaConf.select(config, name)

    for name, needed, advice in FIXED:
        given = value(name)
        # Sections that are absent or null are off.
        if given != needed and not (given is None and needed is False):
            raise ConfigError(f"{name} must be {needed!r}, got {shown(given)}; {advice}")
    temperature = value("actor_rollout_ref.rollout.temperature")
    for loss in served.losses:
        if loss.temperature not in (None, temperature):
            raise ConfigError(
                f"actor_rollout_ref.rollout.temperature must be {loss.temperature} for a loss of "
                f"{served.name!r}, got {temperature!r}; verl has one temperature for all"
            )
        factor = value("actor_rollout_ref.actor.loss_scale_factor")
        is_scaled = loss.aggregation == "seq_mean_token_sum" and not loss.separate_normaliser
        if is_scaled and not factor:
            raise ConfigError(
                "actor_rollout_ref.actor.loss_scale_factor must be the response budget for a loss "
                f"of {served.name!r}, got {shown(factor)}; give data.max_response_length"
            )
