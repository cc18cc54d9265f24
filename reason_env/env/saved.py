"""What a `ReasonEnv` writes into a snapshot of itself: its settings, its generator, its state."""

import hashlib
from dataclasses import asdict
from typing import Any

from reason_env.codec import Codec
from reason_env.env.actions import Layout
from reason_env.env.reward import RewardConfig
from reason_env.problem import ProblemSet
from reason_env.snapshot import Settings, unpack_state
from reason_env.state import EpisodeRules, PromptTemplate, ReasonState

MAX_KEPT = 16
"""States that are kept as they were read."""


def settings_of(
    *,
    problems: ProblemSet,
    codec: Codec,
    prompt: PromptTemplate,
    reward: RewardConfig,
    rules: EpisodeRules,
    layout: Layout,
    max_prompt_tokens: int,
) -> Settings:
    """Returns everything that decides what follows from a state, for comparison."""
    return Settings(
        problems=problems.content_hash,
        codec=codec.codec_id,
        prompt=hashlib.sha256(repr(prompt).encode("utf-8")).hexdigest()[:16],
        reward=asdict(reward),
        rules=asdict(rules),
        layout=asdict(layout),
        max_prompt_tokens=max_prompt_tokens,
    )


class StateReader:
    """Reads the packed states of one environment; those that it has read lately, it knows.

    Branches begin at the same few states again and again, and a state is a value: the one that was
    read can be given out again wherever all that was written is the same.
    """

    def __init__(self, problems: ProblemSet, codec: Codec) -> None:
        """Makes one that knows no state.

        Args:
            problems: The set that the states' problems are of.
            codec: The codec of their ids.
        """
        self._problems, self._codec = problems, codec
        self._kept: dict[str, tuple[list[Any], ReasonState]] = {}

    def read(self, data: Any) -> ReasonState:
        """Returns the state that `packed.pack_state` wrote; see `packed.unpack_state`."""
        return unpack_state(data, problems=self._problems, codec=self._codec)

    def read_again(self, data: Any) -> ReasonState:
        """Returns what `read` does, of a state that may be read often."""
        ids = data[1]
        known = self._kept.pop(ids, None)
        if known is None or known[0] != data:
            known = data, self.read(data)
        self._kept[ids] = known
        if len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        return known[1]
