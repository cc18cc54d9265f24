# pyright: reportMissingImports=false, reportUntypedBaseClass=false
# verl is in the environment of `make test-interop` only.
"""The manager of verl's agent loops that checks the settings before the first episode.

An agent loop that raises is a failed row to verl, which goes on; the manager is made once, in the
process that runs the training, and ends it.
"""

from typing import Any

from verl.trainer.ppo.v1 import AgentLoopManagerTQ

from reason_env.agents.integrations.verl.losses import SERVED
from reason_env.agents.integrations.verl.served import find_served
from reason_env.agents.integrations.verl.settings import check_settings


class ReasonLoopManager(AgentLoopManagerTQ):
    """verl's own manager, after a check: `rollout.agent.agent_loop_manager_class`."""

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        """Check the settings.

        Raises:
            ConfigError: A setting would train something else than the method.
            UnknownNameError: No method has the name of the policy loss.
        """
        name = config.actor_rollout_ref.actor.policy_loss.loss_mode
        check_settings(config, find_served(name, SERVED))
        super().__init__(config, *args, **kwargs)
