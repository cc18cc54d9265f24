"""The table of methods: the six columns of each row, in words, from configs and rows.

A method without a `Row` of its own is listed with what its config and its roles tell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from reason_env.agents.learning import DistillationConfig, LossConfig
from reason_env.agents.methods.protocol import MethodBase, MethodConfig
from reason_env.agents.methods.registry import build_method, method_name, parts_of
from reason_env.agents.methods.row import UNSAID, Row
from reason_env.agents.methods.sb3 import ActorCriticConfig, SB3PPOConfig
from reason_env.problem import Problem
from reason_env.state import Guidance

COLUMNS: Final = {
    "starts": "start states",
    "guidance": "guidance shown while sampling",
    "context": "context trained under",
    "teacher": "scored under (teacher)",
    "estimator": "estimator",
    "update": "update",
}
"""Field of `Columns` -> heading of the column."""
GUIDANCE_WORDS: Final = {
    "answer": "the reference answer",
    "mistakes": "own wrong answers",
    "partial_solution": "a prefix of the reference solution",
    "instruction": "an instruction",
}
"""Kind of guidance -> words of the table; other kinds have their own name."""
AGGREGATION_WORDS: Final = {
    "token_mean": "mean over tokens",
    "seq_mean_token_mean": "mean of sequence means",
    "seq_mean_token_sum": "token sums over the budget",
}
_EXAMPLE = Problem(
    problem_id="table/train/0", question="2*3*4=?", answer="24", solution=("2*3=6", "6*4=24")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """One row of the table, in words."""

    method: str
    starts: str
    guidance: str
    context: str
    teacher: str
    estimator: str
    update: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperNumber:
    """A value of a config next to the paper's."""

    field: str
    default: object
    paper: object

    @property
    def is_unsaid(self) -> bool:
        """Whether the paper gives no value."""
        return self.paper == UNSAID

    @property
    def differs(self) -> bool:
        """Whether the default is another than the paper's value."""
        return not self.is_unsaid and self.default != self.paper


def columns_of(config: MethodConfig) -> Columns:
    """Describe a method, or several in combination, by the six columns.

    >>> from reason_env.agents.methods.registry import method_config
    >>> columns_of(method_config("grpo")).estimator, columns_of(method_config("rrpo")).update
    ('(r - mean) / (std + eps)', '-A log pi, mean of sequence means')
    """
    # What a method shows and trains depends on its config alone; any checker serves.
    parts = parts_of(config)
    methods = [_built(part) for part in parts]
    pieces = [piece for part in parts for piece in part.longest_guidance(_EXAMPLE)]
    first = parts[0]
    return Columns(
        method=method_name(config),
        starts=" + ".join(_starts(method) for method in methods),
        guidance=guidance_text(pieces),
        context="; ".join(dict.fromkeys(method.row.context for method in methods)),
        teacher="; ".join(dict.fromkeys(method.row.teacher for method in methods)),
        estimator=_estimator(first, methods[0]),
        update=_update(config),
    )


def row_of(config: MethodConfig) -> Row:
    """Give what a single method says of itself."""
    return _built(config).row


def guidance_text(guidance: Sequence[Guidance]) -> str:
    """Name the kinds of guidance, each once.

    >>> guidance_text([Guidance("mistakes", ("20",)), Guidance("text", ("Look.",))])
    'own wrong answers, text'
    """
    words = (GUIDANCE_WORDS.get(piece.kind, piece.kind) for piece in guidance)
    return ", ".join(dict.fromkeys(words)) or "none"


def loss_text(loss: LossConfig) -> str:
    """Describe a loss: its surrogate and its average.

    >>> loss_text(LossConfig(clip_high=0.28))
    'clipped ratio [0.8, 1.28], mean over tokens'
    """
    interval = f"[{1 - loss.clip_low:g}, {1 + loss.clip_high:g}]"
    words = {
        "clip": f"clipped ratio {interval}",
        "gspo": f"clipped sequence ratio {interval}",
        "cispo": f"-A log pi, weighted by the ratio in {interval}",
        "reinforce": "-A log pi",
        "shaped": f"-A x / (x + {loss.shape_gamma:g})",
    }
    if loss.distillation is not None:
        words["distill"] = divergence_text(loss.distillation)
    surrogate = words.get(loss.surrogate, loss.surrogate)
    return f"{surrogate}, {AGGREGATION_WORDS[loss.aggregation]}"


def divergence_text(config: DistillationConfig) -> str:
    """Describe a divergence from a teacher.

    >>> divergence_text(DistillationConfig(divergence="reverse", top_k=20))
    'KL(policy || teacher) over the 20 likeliest ids'
    """
    words = {
        "forward": "KL(teacher || policy)",
        "reverse": "KL(policy || teacher)",
        "jensen_shannon": f"Jensen-Shannon divergence, b = {config.mixture:g}",
    }
    outcomes = "" if config.top_k is None else f" over the {config.top_k} likeliest ids"
    return words[config.divergence] + outcomes


def numbers_of(config: Any, paper: Mapping[str, object]) -> list[PaperNumber]:
    """Pair the paper's numbers with the values of a config.

    Args:
        config: A config; nested fields are named with dots.
        paper: Field -> the paper's value, or `UNSAID`.
    """
    return [
        PaperNumber(field=name, default=_value(config, name), paper=value)
        for name, value in paper.items()
    ]


def own_numbers(config: Any) -> dict[str, object]:
    """List a method's own fields, and those fields of its estimator and loss that it sets.

    >>> from reason_env.agents.methods.sft import SFTConfig
    >>> own_numbers(SFTConfig())
    {'group_size': 8, 'weight': 1.0, 'likelihood_temperature': 1.0}
    """
    found: dict[str, object] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if not is_dataclass(value):
            if item.name != "kind":
                found[item.name] = value
            continue
        plain: Any = type(value)()
        for inner in fields(value):
            own: object = getattr(value, inner.name)
            if own != getattr(plain, inner.name):
                found[f"{item.name}.{inner.name}"] = own
    return found


def _built(config: MethodConfig) -> MethodBase:
    method = build_method(config, lambda problem, steps: None)
    assert isinstance(method, MethodBase), "every method is built on MethodBase"
    return method


def _starts(method: MethodBase) -> str:
    if method.row.starts:
        return method.row.starts
    roles = ", ".join(sorted(method.roles))
    return f"not described (roles {roles})" if roles else "not described"


def _estimator(config: MethodConfig, method: MethodBase) -> str:
    if isinstance(config, ActorCriticConfig):
        return f"GAE, lambda {config.gae_lambda:g}, discount {config.discount:g}"
    if method.pair_loss is not None:
        return "none (pairs)"
    if method.loss.distillation is not None:
        return "none (a divergence for each token)"
    return (method.row.estimator or "{formula}").format(formula=method.advantage.formula)


def _update(config: MethodConfig) -> str:
    if isinstance(config, ActorCriticConfig):
        return f"{_surrogate(config)}; critic: {config.value_coefficient:g} (V - return)^2"
    method = build_method(config, lambda problem, steps: None)
    if method.pair_loss is not None:
        return f"DPO, beta {method.pair_loss.beta:g}"
    own = {role: loss_text(loss) for role, loss in method.role_losses.items()}
    return "; ".join([loss_text(method.loss), *(f"{role}: {text}" for role, text in own.items())])


def _surrogate(config: ActorCriticConfig) -> str:
    clip = config.clip_range if isinstance(config, SB3PPOConfig) else None
    term = "-A log pi" if clip is None else f"clipped ratio [{1 - clip:g}, {1 + clip:g}]"
    return f"{term}, {AGGREGATION_WORDS['token_mean']}"


def _value(config: Any, name: str) -> object:
    value = config
    for part in name.split("."):
        value = getattr(value, part)
    return value
