"""CompareConfig: the arms, problem sources, seeds and budget of a comparison; how arms are written.

An arm is a whole `TrainConfig`, so two arms may differ in any setting; the report lists the
differences. All arms have the same budget of generated tokens. Runs of one seed get the same order
of problems and the same evaluation, so that differences are taken seed by seed.

On the command line an arm is

    METHOD[:KEY=VALUE,KEY=VALUE...]

with KEY a field of the method (`pope:copies=guided_only`, `grpo:loss.clip_high=0.28`) or else of
`TrainConfig` (`grpo:learner.learning_rate=1e-4`), and VALUE JSON or plain text. `cpi`, or
`cpi:restart=METHOD`, is a method whose updates CPI's test accepts or rejects. A file of arms is a
JSON object, label -> settings that differ from the shared ones.
"""

import hashlib
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LossConfig
from reason_env.agents.methods import (
    ComposedConfig,
    MethodConfig,
    method_config,
    method_name,
    parts_of,
)
from reason_env.agents.runs import (
    CheckpointConfig,
    Tree,
    config_json,
    leaves,
    merged,
    set_leaf,
    tree_of,
    with_current_keys,
)
from reason_env.agents.train import TrainConfig
from reason_env.errors import ConfigError, UnknownNameError, did_you_mean, shown
from reason_env.problems import is_generated

_log = logging.getLogger(__name__)
NO_LIMIT = 1_000_000
"""Iterations of a run that ends by its budget."""
_OPEN, _CLOSE = "[{", "]}"


def shared_settings() -> TrainConfig:
    """Build the default settings of every arm: a run ends by its budget."""
    return TrainConfig(
        eval=EvalConfig(num_problems=100, greedy=False, every=5),
        checkpoint=CheckpointConfig(every=5, keep_last=1),
        iterations=NO_LIMIT,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareConfig:
    """One comparison.

    Raises:
        ConfigError: A number is out of range, two arms would share a directory or a file, or an arm
            could end before its budget.
    """

    arms: dict[str, TrainConfig]
    """Label -> settings; the first is the baseline. The comparison sets seed and budget."""
    sources: tuple[str, ...]
    """Problem sources; arms are compared on each one separately."""
    num_seeds: int = 5
    """Seeds `first_seed`, `first_seed` + 1, ..."""
    first_seed: int = 0
    budget: int = 500_000
    """Generated tokens of each run, which ends with the iteration that reaches them."""
    family_size: int | None = None
    """Training problems of a generated source for an arm without `env.size`; None: the source's
    default."""
    level: float | None = None
    """The pass@1 of "tokens to reach", above 0 and at most 1; None: the baseline's mean final
    pass@1, if above 0."""

    def __post_init__(self) -> None:
        for name in ("num_seeds", "budget"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        if self.first_seed < 0:
            raise ConfigError(f"first_seed must be at least 0, got {self.first_seed!r}")
        if self.level is not None and not 0 < self.level <= 1:
            raise ConfigError(f"level must be above 0 and at most 1, got {self.level!r}")
        for what, names in (("arm", tuple(self.arms)), ("problem source", self.sources)):
            _check_names(what, names)
        for label, arm in self.arms.items():
            least = _least_tokens(arm)
            if self.budget < least:
                raise ConfigError(
                    f"budget must hold an iteration, got {self.budget:,} tokens, and {label!r} "
                    f"samples at least {least:,} responses in one; give a --budget of many "
                    "iterations, or fewer --problems-per-iteration"
                )
            if arm.env.recordings:
                raise ConfigError(
                    f"an arm's stack must not record into a file, got RecordEpisodes to "
                    f"{arm.env.recordings[0]!r} in {label!r}: all runs would write there at once; "
                    "take it out, each run keeps --episodes-per-iteration episodes of its own"
                )
            if arm.max_minutes is not None or arm.iterations != NO_LIMIT:
                raise ConfigError(
                    f"an arm must end by the comparison's budget, got iterations or max_minutes in "
                    f"{label!r}; give --budget alone"
                )

    @property
    def baseline(self) -> str:
        """Label of the arm that all others are compared with."""
        return next(iter(self.arms))

    @property
    def seeds(self) -> range:
        """The seeds, in order."""
        return range(self.first_seed, self.first_seed + self.num_seeds)

    def run_config(self, source: str, arm: str, seed: int) -> TrainConfig:
        """Build the config of one run."""
        config = self.arms[arm]
        env = config.env if config.env.stack else replace(config.env, problems=source)
        if env.stack is None and env.size is None and is_generated(source):
            env = replace(env, size=self.family_size)
        return replace(config, env=env, seed=seed, max_generated_tokens=self.budget)

    @property
    def content_hash(self) -> str:
        """Hash of every setting, 8 hex digits; equal in every process."""
        return hashlib.sha256(config_json.dump(self).encode()).hexdigest()[:8]


def with_loss(method: MethodConfig, loss: LossConfig) -> MethodConfig:
    """Return a method with this loss of policy tokens.

    A method without such a loss (exp-dpo), or with a subclass of `LossConfig`, is unchanged.

    >>> from reason_env.agents.methods import GRPOConfig
    >>> with_loss(method_config("srpo"), GRPOConfig().loss).loss.surrogate
    'clip'
    """
    if isinstance(method, ComposedConfig):
        return replace(method, methods=tuple(with_loss(own, loss) for own in method.methods))
    return replace(method, loss=loss) if type(_loss_of(method)) is LossConfig else method


def losses_of(method: MethodConfig) -> tuple[LossConfig, ...]:
    """List the losses of a method's parts, first the loss of the groups that start at the problem.

    >>> len(losses_of(method_config("srpo+lte"))), losses_of(method_config("exp-dpo"))
    (2, ())
    """
    losses = (_loss_of(own) for own in parts_of(method))
    return tuple(loss for loss in losses if isinstance(loss, LossConfig))


def _loss_of(method: MethodConfig) -> object:
    """Return the field `loss` of a method's config; None if it has none."""
    return getattr(method, "loss", None)


def slug(name: str) -> str:
    """Convert a name to a valid directory name.

    >>> slug("pope:mix=hard_only"), slug("data/my.jsonl")
    ('pope_mix=hard_only', 'data_my.jsonl')
    """
    return re.sub(r"[^A-Za-z0-9.+=-]+", "_", name).strip("._") or "_"


def arm(text: str, shared: TrainConfig) -> TrainConfig:
    """Parse an arm's text.

    >>> arm("grpo:group_size=16,learner.learning_rate=1e-4", TrainConfig()).method.group_size
    16
    >>> arm("srpo+lte:lte.gamma=0.2", TrainConfig()).method.methods[1].gamma
    0.2
    >>> arm("cpi:restart=rrpo,cpi.num_restarts=8", TrainConfig()).cpi.num_restarts
    8

    Raises:
        UnknownNameError: The method or a key is unknown.
        ConfigError: The text has another form, or a value a wrong type.
    """
    name, _, options = text.partition(":")
    pairs = _options(options, text)
    if name == "cpi":
        # As `reason-env train cpi --restart METHOD`.
        restart = next((str(value) for key, value in pairs if key == "restart"), "initial")
        pairs = [(key, value) for key, value in pairs if key != "restart"]
        name, shared = "grpo" if restart == "initial" else restart, replace(shared, cpi=CPIConfig())
    begun = _with_shared_flags(name, shared, text)
    tree = tree_of(begun)
    renamed = config_json.renamed_keys(begun) | config_json.renamed_keys(begun.method)
    parts = name.split("+") if "+" in name else []
    heads = [part.replace("-", "_") for part in parts]  # as `_options` writes keys
    for key, value in pairs:
        head, _, rest = key.partition(".")
        placed = f"methods.{heads.index(head)}.{rest}" if rest and head in heads else key
        if placed in renamed:
            name = renamed[placed].rpartition(".")[2]
            _log.warning("in arm %r, %s is now named %s", text, key, name)
            placed = renamed[placed]
        # A key of the method, or else of the whole run.
        if not set_leaf(tree["method"], placed, value) and not set_leaf(tree, placed, value):
            known = _keys(tree, parts)
            raise UnknownNameError(f"no setting {key!r} in arm {text!r}{did_you_mean(key, known)}")
    return config_json.load(TrainConfig, json.dumps(tree))


def arms_of(texts: Sequence[str], shared: TrainConfig) -> dict[str, TrainConfig]:
    """Parse arms, each labelled by its text.

    Raises:
        ConfigError: An arm is given twice.
    """
    found: dict[str, TrainConfig] = {}
    for text in texts:
        if text in found:
            raise ConfigError(f"an arm must be given once, got {text!r} twice; leave one out")
        found[text] = arm(text, shared)
    return found


def arms_of_file(path: Path, shared: TrainConfig) -> dict[str, TrainConfig]:
    """Read the arms of a JSON file: label -> settings that differ from the shared ones.

    A method starts from the defaults of its `kind`.

    Raises:
        ConfigError: The file is missing or of another form.
    """
    if not path.is_file():
        raise ConfigError(f"--arms must name a file, got {str(path)!r}; check the path")
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"a file of arms must be JSON, got '{path}'; {error}") from error
    arms = _as_tree(given)
    if arms is None or any(_as_tree(own) is None for own in arms.values()):
        raise ConfigError(
            f"a file of arms must be a JSON object of objects, got {shown(given)}; write "
            '{"label": {"method": {"kind": "grpo"}}, ...}'
        )
    return {label: _arm_of_tree(label, own, shared) for label, own in arms.items()}


def _arm_of_tree(label: str, own: Tree, shared: TrainConfig) -> TrainConfig:
    method = _as_tree(own.get("method", {}))
    if method is None or "kind" not in method:
        raise ConfigError(
            f"arm {label!r} must name its method, got {shown(own.get('method', {}))}; write "
            '"method": {"kind": "grpo"}'
        )
    base = _with_shared_flags(str(method["kind"]), shared, label)
    tree = merged(tree_of(base), with_current_keys(own, base))
    return config_json.load(TrainConfig, json.dumps(tree))


def _as_tree(value: Any) -> Tree | None:
    return cast("Tree", value) if isinstance(value, dict) else None


def _with_shared_flags(name: str, shared: TrainConfig, arm: str) -> TrainConfig:
    """Build a method's settings; shared flags of a method apply to the methods of all arms."""
    tree, flags = tree_of(method_config(name)), tree_of(shared.method)
    before = leaves(tree_of(method_config(method_name(shared.method))))
    for key, value in leaves(flags).items():
        if value != before.get(key, value) and not set_leaf(tree, key, value):
            flag = f"--{key.replace('_', '-')}"
            raise UnknownNameError(
                f"the flag {flag} must be a setting of every arm, got arm {arm!r} without it; set "
                f"it only in the arms that have it: METHOD:{key}={value}"
            )
    return replace(shared, method=config_json.load(type(method_config(name)), json.dumps(tree)))


def _keys(tree: Tree, parts: Sequence[str]) -> list[str]:
    """List the keys of an arm's text: `lte.gamma`, not methods.1.gamma."""
    own = leaves(tree["method"])
    for place, part in enumerate(parts):
        own = {key.replace(f"methods.{place}.", f"{part}."): value for key, value in own.items()}
    return [key for key in (*own, *leaves(tree)) if not key.startswith("method.")]


def _options(text: str, whole: str) -> list[tuple[str, Any]]:
    """Split options into (key, value) pairs; commas inside JSON brackets belong to the value."""
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
        # Python and our flags write True, JSON writes true.
        return {"True": True, "False": False, "None": None}.get(text, text)


def _check_names(what: str, names: tuple[str, ...]) -> None:
    if not names:
        raise ConfigError(f"a comparison must have at least one {what}, got none; name one")
    by_slug: dict[str, str] = {}
    for name in names:
        other = by_slug.setdefault(slug(name), name)
        if other != name or names.count(name) > 1:
            raise ConfigError(
                f"each {what} must have a different directory name, got {other!r} and {name!r}; "
                "rename one, or leave it out"
            )


def _least_tokens(arm: TrainConfig) -> int:
    """Count the tokens of an iteration whose responses all have one token."""
    own = leaves(tree_of(arm.method))
    names = ("group_size", "num_base")
    groups = [value for key, value in own.items() if key.rpartition(".")[2] in names]
    return arm.problems_per_iteration * min(groups, default=1)
