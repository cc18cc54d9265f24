"""Fingerprints: hashes of everything that decides what a run measures before training.

Two runs with equal fingerprints would measure the same, to the bit, so one may reuse the other's
numbers (`evaluation_cache.py`, `methods/search_cache.py`), and an entry never goes out of date.
"""

import hashlib
from dataclasses import replace

from reason_env.agents.policy import LanguageModelPolicy, weights_bytes
from reason_env.agents.runs import config_json
from reason_env.agents.train.config import TrainConfig
from reason_env.problem import ProblemSet


def preparation_fingerprint(config: TrainConfig, policy: LanguageModelPolicy) -> str:
    """Hash everything that decides what a preparation samples, except its starts."""
    return _hash(config, policy, "preparation", 1, config_json.dump(config.sampling))


def evaluation_fingerprint(
    config: TrainConfig, policy: LanguageModelPolicy, problems: ProblemSet
) -> str:
    """Hash everything that decides the evaluation before training.

    Args:
        config: The run's; its method and learner are not hashed.
        policy: Untrained.
        problems: The evaluation problems.
    """
    settings = config_json.dump(replace(config.eval, cache_dir=None))
    return _hash(config, policy, "evaluation", 0, settings, problems.content_hash)


def _hash(
    config: TrainConfig, policy: LanguageModelPolicy, stream: str, number: int, *parts: str
) -> str:
    # The kind of engine counts too: equal seeds do not give equal samples across engines.
    machine = (config.engine.kind, config.device, config.precision, config.max_batch_size)
    plain = (*machine, policy.codec.codec_id, config.seed_of(stream, number))
    digest = hashlib.sha256()
    for part in (stream, config_json.dump(config.env), repr(plain), *parts):
        digest.update(part.encode() + b"\0")
    for part in weights_bytes(policy.model.state_dict()):
        digest.update(part)
    return digest.hexdigest()
