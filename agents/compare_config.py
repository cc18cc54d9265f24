"""CompareConfig: which arms are compared, on which problems, at which budget; how arms are named.

An arm is a whole `TrainConfig`, so two arms may differ in anything; the report lists what does. All
arms have one budget of generated tokens, and one seed of each gets the same order of problems and
the same evaluation, so that differences are taken seed by seed.

On the command line an arm is

    METHOD[:KEY=VALUE,KEY=VALUE...]

where a key is a field of the method (`pope:copies=guided_only`, `grpo:loss.clip_high=0.28`) or else
of `TrainConfig` (`grpo:learner.learning_rate=1e-4`), and a value is JSON or plain text. A file of
arms is a JSON object, label -> what differs from the shared settings.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reason_env.agents import config_json
from reason_env.agents.checkpoint import CheckpointConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.methods import method_config
from reason_env.agents.train_config import TrainConfig
from reason_env.errors import ConfigError, UnknownNameError, did_you_mean, shown

NO_LIMIT = 1_000_000
"""Iterations of a run that its budget ends."""
_OPEN, _CLOSE = "[{", "]}"
Tree = dict[str, Any]


def shared_settings() -> TrainConfig:
    """Returns what every arm has unless it says otherwise: the budget ends a run."""
    return TrainConfig(
        eval=EvalConfig(num_problems=100, greedy=False, every=5),
        checkpoint=CheckpointConfig(every=5, keep_last=1),
        iterations=NO_LIMIT,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareConfig:
    """One comparison.

    Raises:
        ConfigError: A number is out of range, two arms would share a directory, or an arm would
            end before its budget.
    """

    arms: dict[str, TrainConfig]
    """Label -> its run; the first is the baseline. Seed and budget are set by the comparison."""
    sources: tuple[str, ...]
    """Problem sources, each a comparison of its own."""
    num_seeds: int = 5
    """Seeds `first_seed`, `first_seed` + 1, ..."""
    first_seed: int = 0
    budget: int = 500_000
    """Generated tokens of each run; a run ends with the iteration that reaches it."""
    level: float | None = None
    """pass@1 that "tokens to reach" asks for, 0..1; None for the baseline's mean final pass@1."""

    def __post_init__(self) -> None:
        for name in ("num_seeds", "budget"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        if self.first_seed < 0:
            raise ConfigError(f"first_seed must be at least 0, got {self.first_seed!r}")
        if self.level is not None and not 0 < self.level <= 1:
            raise ConfigError(f"level must lie in 0..1, 0 left out, got {self.level!r}")
        for what, names in (("arm", tuple(self.arms)), ("problem source", self.sources)):
            _check_names(what, names)
        for label, arm in self.arms.items():
            if arm.max_minutes is not None or arm.iterations != NO_LIMIT:
                raise ConfigError(
                    f"an arm must end by the comparison's budget, got iterations or max_minutes in "
                    f"{label!r}; give --budget alone"
                )

    @property
    def baseline(self) -> str:
        """The arm that all others are compared with."""
        return next(iter(self.arms))

    @property
    def seeds(self) -> range:
        """The seeds, in order."""
        return range(self.first_seed, self.first_seed + self.num_seeds)

    def run_config(self, source: str, arm: str, seed: int) -> TrainConfig:
        """Returns the config of one run."""
        config = self.arms[arm]
        env = config.env if config.env.stack else replace(config.env, problems=source)
        return replace(config, env=env, seed=seed, max_generated_tokens=self.budget)

    @property
    def content_hash(self) -> str:
        """8 hex digits over every setting; equal in every process."""
        return hashlib.sha256(config_json.dump(self).encode()).hexdigest()[:8]


def slug(name: str) -> str:
    """Returns a name as a directory may have it.

    >>> slug("pope:mix=hard_only"), slug("data/my.jsonl")
    ('pope_mix=hard_only', 'data_my.jsonl')
    """
    return re.sub(r"[^A-Za-z0-9.+=-]+", "_", name).strip("._") or "_"


def arm(text: str, shared: TrainConfig) -> TrainConfig:
    """Returns the run that an arm's text means.

    >>> arm("grpo:group_size=16,learner.learning_rate=1e-4", TrainConfig()).method.group_size
    16
    >>> arm("srpo+lte:lte.gamma=0.2", TrainConfig()).method.methods[1].gamma
    0.2

    Raises:
        UnknownNameError: The method or a key is none.
        ConfigError: The text has another form, or a value another type.
    """
    name, _, options = text.partition(":")
    config = replace(shared, method=_with_shared_flags(method_of(name), shared))
    tree = _tree(config)
    places = {own: f"methods.{place}" for place, own in enumerate(name.split("+"))}
    for key, value in _options(options, text):
        head, dot, rest = key.partition(".")
        placed = f"{places[head]}.{rest}" if "+" in name and dot and head in places else key
        _set(tree, placed, value)
    return config_json.load(TrainConfig, json.dumps(tree))


def arms_of(texts: Sequence[str], shared: TrainConfig) -> dict[str, TrainConfig]:
    """Returns the arms that texts mean, each labelled by its text.

    Raises:
        ConfigError: An arm is named twice.
    """
    found: dict[str, TrainConfig] = {}
    for text in texts:
        if text in found:
            raise ConfigError(f"an arm must be named once, got {text!r} twice; leave one out")
        found[text] = arm(text, shared)
    return found


def arms_of_file(path: Path, shared: TrainConfig) -> dict[str, TrainConfig]:
    """Returns the arms of a JSON file: label -> what differs from the shared settings.

    A method whose `kind` is given begins from that method's defaults.

    Raises:
        ConfigError: The file is missing or of another form.
    """
    if not path.is_file():
        raise ConfigError(f"--arms must name a file, got {str(path)!r}; check the path")
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"a file of arms must be JSON, got '{path}'; {error}") from error
    if not isinstance(given, dict) or not all(isinstance(own, dict) for own in given.values()):
        raise ConfigError(
            f"a file of arms must be a JSON object of objects, got {shown(given)}; write "
            '{"label": {"method": {"kind": "grpo"}}, ...}'
        )
    return {label: _arm_of_tree(label, own, shared) for label, own in given.items()}


def method_of(name: str) -> Any:
    """Returns the default config of a method by name, or of several with "+" between them.

    Raises:
        UnknownNameError: There is no such method.
        ConfigError: The methods have no meaning together.
    """
    return method_config(name)


def leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns dotted key -> value of a nested JSON object.

    >>> leaves({"loss": {"clip_low": 0.2}, "kind": "grpo"})
    {'loss.clip_low': 0.2, 'kind': 'grpo'}
    >>> leaves({"methods": [{"kind": "srpo"}, {"kind": "lte"}]})
    {'methods.0.kind': 'srpo', 'methods.1.kind': 'lte'}
    """
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            found |= leaves(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            found |= leaves({str(at): item for at, item in enumerate(value)}, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _arm_of_tree(label: str, own: Tree, shared: TrainConfig) -> TrainConfig:
    method = own.get("method", {})
    if not isinstance(method, dict) or "kind" not in method:
        raise ConfigError(
            f"arm {label!r} must name its method, got {shown(method)}; write "
            '"method": {"kind": "grpo"}'
        )
    base = replace(shared, method=_with_shared_flags(method_of(str(method["kind"])), shared))
    return config_json.load(TrainConfig, json.dumps(_merged(_tree(base), own)))


def _with_shared_flags(method: Any, shared: TrainConfig) -> Any:
    """Returns the method with what the shared flags change in their own: it is meant for all."""
    tree, own = _tree(method), _tree(shared.method)
    before = leaves(_tree(type(shared.method)()))
    for key, value in leaves(own).items():
        if value != before.get(key, value):
            _set(tree, key, value)
    return config_json.load(type(method), json.dumps(tree))


def _tree(config: Any) -> Tree:
    return json.loads(config_json.dump(config))


def _merged(base: Tree, own: Tree) -> Tree:
    result = dict(base)
    for key, value in own.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _merged(old, value)  # noqa: PLW2901
        result[key] = value
    return result


def _options(text: str, whole: str) -> list[tuple[str, Any]]:
    """Returns (key, value) pairs; commas inside JSON brackets belong to their value."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in _OPEN) - (letter in _CLOSE)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    pairs: list[tuple[str, Any]] = []
    for part in parts if text else []:
        key, equals, value = part.partition("=")
        if not key or not equals:
            raise ConfigError(
                f"an arm must be METHOD:KEY=VALUE,..., got {whole!r}; for example "
                "grpo:group_size=16,learner.learning_rate=1e-4"
            )
        pairs.append((key.strip().replace("-", "_"), _value(value)))
    return pairs


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        # Words such as True, which Python and our own flags write, are JSON's in lower case.
        return {"True": True, "False": False, "None": None}.get(text, text)


def _set(tree: Tree, key: str, value: Any) -> None:
    """Sets a dotted key in place: of the method if it has it, else of the whole run."""
    path = key.split(".")
    for root in (tree.get("method", {}), tree):
        node = root
        for part in path[:-1]:
            node = _below(node, part)
        if isinstance(node, dict) and path[-1] in node:
            node[path[-1]] = value
            return
    known = [*leaves(tree.get("method", {})), *leaves(tree)]
    raise UnknownNameError(f"no setting {key!r} of this arm{did_you_mean(key, known)}")


def _below(node: Any, part: str) -> Any:
    if isinstance(node, list) and part.isdigit() and int(part) < len(node):
        return node[int(part)]
    return node.get(part) if isinstance(node, dict) else None


def _check_names(what: str, names: tuple[str, ...]) -> None:
    if not names:
        raise ConfigError(f"a comparison must have at least one {what}, got none; name one")
    by_slug: dict[str, str] = {}
    for name in names:
        other = by_slug.setdefault(slug(name), name)
        if other != name or names.count(name) > 1:
            raise ConfigError(
                f"each {what} must have a directory of its own, got {other!r} and {name!r}; "
                "rename one, or leave it out"
            )


def differences(configs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns dotted key -> label -> value, for keys that are not equal in all configs.

    A key that a config does not have is absent there.

    >>> from reason_env.agents.methods import GRPOConfig
    >>> differences({"a": GRPOConfig(), "b": GRPOConfig(group_size=16)})
    {'group_size': {'a': 8, 'b': 16}}
    """
    plain = {
        label: leaves(_tree(config) if dataclasses.is_dataclass(config) else config)
        for label, config in configs.items()
    }
    found: dict[str, dict[str, Any]] = {}
    for key in dict.fromkeys(key for own in plain.values() for key in own):
        values = {label: own[key] for label, own in plain.items() if key in own}
        if len(values) < len(plain) or len({json.dumps(item) for item in values.values()}) > 1:
            found[key] = values
    return found
