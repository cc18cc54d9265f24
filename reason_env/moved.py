"""Old import paths of version 0.1 that its documentation named, and the modules' present paths.

Importing an old path gives the module itself and a warning. Undocumented paths are not kept.
"""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "reason_env.cuts": "reason_env.state.cuts",
    "reason_env.guidance": "reason_env.state.guidance",
    "reason_env.prompt": "reason_env.state.prompt",
    "reason_env.reason_state": "reason_env.state.reason_state",
    "reason_env.reward": "reason_env.env.reward",
    "reason_env.spaces": "reason_env.env.spaces",
    "reason_env.tabular_model": "reason_env.tabular.model",
    "reason_env.problems.chain": "reason_env.problems.families.chain",
    "reason_env.problems.countdown": "reason_env.problems.families.countdown",
    "reason_env.problems.equation": "reason_env.problems.families.equation",
    "reason_env.problems.inverse": "reason_env.problems.families.inverse",
    "reason_env.problems.mix": "reason_env.problems.families.mix",
    "reason_env.problems.precedence": "reason_env.problems.families.precedence",
    "reason_env.problems.unlock": "reason_env.problems.families.unlock",
    "reason_env.agents.advantage": "reason_env.agents.learning.advantage",
    "reason_env.agents.checkpoint": "reason_env.agents.runs.checkpoint",
    "reason_env.agents.compare_config": "reason_env.agents.compare.config",
    "reason_env.agents.compare_statistics": "reason_env.agents.compare.statistics",
    "reason_env.agents.compare_summary": "reason_env.agents.compare.summary",
    "reason_env.agents.config_json": "reason_env.agents.runs.config_json",
    "reason_env.agents.cpi_config": "reason_env.agents.cpi.config",
    "reason_env.agents.cpi_estimators": "reason_env.agents.cpi.estimators",
    "reason_env.agents.cpi_restarts": "reason_env.agents.cpi.restarts",
    "reason_env.agents.cpi_steps": "reason_env.agents.cpi.step_advantages",
    "reason_env.agents.env_config": "reason_env.env.config",
    "reason_env.agents.learner": "reason_env.agents.learning.learner",
    "reason_env.agents.loss": "reason_env.agents.learning.loss",
    "reason_env.agents.run_dir": "reason_env.agents.runs.run_dir",
    "reason_env.agents.sampling": "reason_env.agents.engines.sampling",
    "reason_env.agents.train_config": "reason_env.agents.train.config",
    "reason_env.agents.trajectory": "reason_env.agents.rollout.trajectory",
    "reason_env.agents.tabular.families": "reason_env.agents.tabular.worlds.families",
    "reason_env.agents.tabular.horizon": "reason_env.agents.tabular.exact.horizon",
    "reason_env.agents.tabular.improve": "reason_env.agents.tabular.exact.improve",
    "reason_env.agents.tabular.mdp": "reason_env.agents.tabular.exact.mdp",
    "reason_env.agents.tabular.restarts": "reason_env.agents.tabular.exact.restarts",
    "reason_env.agents.tabular.sampled_critic": "reason_env.agents.tabular.sampled.critic",
}


class _Alias(Loader):
    """Loads the module at the present path."""

    def __init__(self, path: str) -> None:
        self._path = path

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the module and keep its spec, which the import system will overwrite."""
        module = import_module(self._path)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Restore the spec; the module has already run."""
        module.__spec__ = self._spec


class MovedFinder(MetaPathFinder):
    """Finds the old paths of `MOVED`, after every other finder."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find an old path, with a warning that names the present one."""
        if fullname not in MOVED:
            return None
        present = MOVED[fullname]
        warnings.warn(f"{fullname} is now {present}", DeprecationWarning, stacklevel=2)
        return ModuleSpec(fullname, _Alias(present))


def install() -> None:
    """Add the finder once."""
    if not any(isinstance(finder, MovedFinder) for finder in sys.meta_path):
        sys.meta_path.append(MovedFinder())
