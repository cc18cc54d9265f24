"""Problems as rows of other trainers' data: verl's Parquet.

A row holds everything that an agent loop needs in a process that knows nothing of the run: the
environment's settings, and the state that the problem's episodes begin in, with the whole problem.
So a stack of wrappers draws its starts once, when the file is written.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reason_env.agents.integrations.installed import check_installed
from reason_env.agents.rollout import initial_starts
from reason_env.codec import Codec
from reason_env.env import EnvConfig, RewardConfig, chooses_problems, reason_env_of
from reason_env.errors import ConfigError

TRAINING, EVALUATION = "reason_env", "reason_env_evaluation"
"""Names of the agent loops in verl."""
ENVIRONMENT = (
    "template", "grading", "max_tokens", "max_steps", "max_prompt_tokens", "stop_at_answer",
)  # fmt: skip
"""Fields of `EnvConfig` that a row keeps; the others choose problems."""


def verl_rows(
    config: EnvConfig, codec: Codec, *, agent_loop: str = TRAINING, seed: int = 0
) -> list[dict[str, Any]]:
    """Write each problem of an environment as a row of verl's.

    Args:
        config: The environment. Its wrappers draw the starts, now.
        codec: The tokens of the model that is to be trained.
        agent_loop: Which loop samples the row, verl's `agent_name`.
        seed: Seed of the starts.

    Raises:
        ConfigError: The wrappers choose the problems.
    """
    config = config.resolved(codec)
    env = config.make(codec)
    if chooses_problems(env):
        raise ConfigError(
            "the wrappers must leave the choice of problems to verl, got a stack that chooses "
            "them; leave the wrapper out"
        )
    inner = reason_env_of(env)
    settings = environment_text(config)
    grading = json.dumps(asdict(inner.grade_options))
    ids = [problem.problem_id for problem in inner.problems]
    rows: list[dict[str, Any]] = []
    for index, drawn in enumerate(initial_starts(env, ids, seed=seed)):
        state = drawn.state
        is_chat = inner.prompt.kind == "chat"
        prompt = [{"role": "user", "content": "" if is_chat else inner.prompt.text(state)}]
        rows.append(
            {
                "data_source": inner.problems.name,
                "agent_name": agent_loop,
                "prompt": inner.prompt.messages(state) if is_chat else prompt,
                "ability": "reasoning",
                "reward_model": {"style": "rule", "ground_truth": state.problem.answer},
                "extra_info": {
                    "index": index,
                    "split": config.split,
                    "problem_id": state.problem.problem_id,
                    "level": state.problem.level,
                    "state": state.to_json(),
                    "env": settings,
                    "grading": grading,
                },
            }
        )
    return rows


def environment_text(config: EnvConfig) -> str:
    """Write what a row keeps of an environment that `EnvConfig.resolved` gave, as JSON."""
    if config.stack is not None:
        return json.dumps({"stack": config.stack})
    kept = {name: getattr(config, name) for name in ENVIRONMENT}
    return json.dumps(kept | {"reward": asdict(config.reward)})


def environment_of(text: str) -> EnvConfig:
    """Read what `environment_text` wrote; the problems are the default's."""
    kept: dict[str, Any] = json.loads(text)
    if "reward" in kept:
        kept["reward"] = RewardConfig(**kept["reward"])
    return EnvConfig(**kept)


def write_parquet(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write rows to a Parquet file.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    check_installed("pyarrow", extra="data")
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), str(path))
