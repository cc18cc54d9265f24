"""The policy whose weights several processes train, each a share of them.

Only its passes for training run: `LanguageModelPolicy` with all weights samples, scores and is
saved, in each process. After each update it takes over the trained weights. So N processes divide
the weights that are trained, their gradients and the optimizer's state, and each keeps one whole
copy of the weights besides.
"""

import copy
from pathlib import Path

from reason_env.agents.policy.policy import LanguageModelPolicy
from reason_env.agents.processes import (
    SHARES,
    Processes,
    copy_whole_,
    save_shares,
    shard,
    weights_of,
)


class ShardedPolicy(LanguageModelPolicy):
    """A share of a policy's weights; its passes are those of all processes together."""

    def __init__(self, whole: LanguageModelPolicy, processes: Processes) -> None:
        """Copy the policy's model and keep this process's share of the copy.

        Args:
            whole: Follows the updates; its other uses do not change.
            processes: Those that train together.
        """
        super().__init__(
            copy.deepcopy(whole.model),
            whole.codec,
            device=str(whole.device),
            precision=whole.precision,
            engine=whole.engine,
            adapter=whole.adapter,
        )
        self.whole, self.processes = whole, processes
        shard(self.model)
        self._trained = [own for own in self.model.parameters() if own.requires_grad]

    def mark_updated(self, version: int | None = None) -> None:
        """Count the update, and give the trained weights to the whole policy."""
        super().mark_updated(version)
        trained = (own for own in self.whole.model.parameters() if own.requires_grad)
        copy_whole_(trained, self._trained)
        self.whole.mark_updated(version)

    def save(self, directory: str | Path) -> None:
        """Write what was trained, each process its share of the weights; `load` reads it.

        An adapter is small: the first process writes it whole. All processes call it.
        """
        if self.adapter is not None:
            self.whole.save(directory)
            return
        self.processes.lead("save_model", directory)
        if self.processes.is_first:
            self.whole.save_description(directory)
        save_shares(Path(directory) / SHARES, weights_of(self.model))
