"""Small MDPs with exact transitions, registered with Gymnasium."""

from reason_env.tabular.env import (
    TabularEnv,
    combination_lock_env,
    reason_tree_env,
    register_tabular,
    restart_chain_env,
)
from reason_env.tabular.model import (
    CRITICAL,
    RECOVERABLE,
    TabularModel,
    check_rows,
    combination_lock,
    reason_tree,
    restart_chain,
)

__all__ = [
    "CRITICAL",
    "RECOVERABLE",
    "TabularEnv",
    "TabularModel",
    "check_rows",
    "combination_lock",
    "combination_lock_env",
    "reason_tree",
    "reason_tree_env",
    "register_tabular",
    "restart_chain",
    "restart_chain_env",
]
