"""The card of a trained model: by which method, on which data, how good, under which licence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reason_env.agents.cpi import CPI_ROW
from reason_env.agents.methods import parts_of, row_of
from reason_env.agents.policy import UNKNOWN, Figure, ModelCard, hub_name
from reason_env.agents.train.config import TrainConfig
from reason_env.agents.train.model_record import RECORD_FILE, ModelRecord
from reason_env.problems import is_generated

RATES = {
    "pass@1": "eval/pass_at_1",
    "pass@k": "eval/pass_at_k",
    "greedy": "eval/greedy_pass_rate",
}
"""Column of the figures -> metric; the k is the evaluation's."""
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedModel:
    """What is written beside the weights of a run: the record for programs, the card for people."""

    record: ModelRecord
    card: ModelCard

    def write(self, model_dir: Path) -> None:
        """Write both to a model directory."""
        self.record.write(model_dir)
        self.card.write(model_dir)


def model_card(
    record: ModelRecord,
    config: TrainConfig,
    rows: Sequence[Row],
    *,
    problem_sets: Mapping[str, str],
    licence: str,
) -> ModelCard:
    """Describe the model of a run after an iteration.

    Args:
        record: How it was trained.
        config: The run's.
        rows: The run's metrics so far.
        problem_sets: Content hashes of the training and the evaluation problems.
        licence: The base model's.
    """
    evaluated = [row for row in rows if row.get("eval/pass_at_1") is not None]
    source = _shown(config.env.source)
    facts = {
        "method": f"`{record.method}`{_papers(config)}",
        "base model": f"`{_shown_model(record.base_model)}`",
        "licence of the base model": licence,
        "training problems": f"`{source}`, content hash `{problem_sets['train']}`",
        **_evaluated_on(config, problem_sets),
        "iterations, updates": f"{record.iteration:,}, {_last(rows, 'update/num_updates_total')}",
        "generated tokens": _last(rows, "rollout/sampled_tokens_total"),
        "weights": _weights(record),
    }
    lines = [
        f"Trained by `reason-env train {record.method}`. `{RECORD_FILE}` beside the weights holds "
        "prompts, limits, grading and sampling, and `reason-env eval --model DIRECTORY` evaluates "
        "with them.",
        "",
        "| | |",
        "| --- | --- |",
        *(f"| {name} | {text} |" for name, text in facts.items()),
        "",
        *(_figures_table(evaluated) if evaluated else ()),
        "## Licence",
        "",
        _licence_text(licence),
    ]
    return ModelCard(
        title=f"{record.method} on {source}",
        text="\n".join(lines),
        licence=licence,
        base_model=hub_name(record.base_model),
        tags=("reinforcement-learning", record.method),
        figures=_figures(config, evaluated[-1]) if evaluated else (),
    )


def _figures(config: TrainConfig, row: Row) -> tuple[Figure, ...]:
    data = _shown(config.eval.problems or config.env.source)
    return tuple(
        Figure(
            name=_column(name, row), value=round(row[metric], 4), data=data, split=config.eval.split
        )
        for name, metric in RATES.items()
        if row.get(metric) is not None
    )


def _figures_table(evaluated: Sequence[Row]) -> list[str]:
    first, last = evaluated[0], evaluated[-1]
    names = [name for name, metric in RATES.items() if last.get(metric) is not None]
    pairs = [(f"after iteration {last['iteration']}", last)]
    if first["iteration"] == 0:
        pairs.insert(0, ("before training", first))
    return [
        f"## Figures: {last['eval/num_problems']:,} problems, 95 % intervals over problems",
        "",
        _line(["", *(_column(name, last) for name in names)]),
        _line(["---"] * (len(names) + 1)),
        *(_line([label, *(_rate(row, RATES[name]) for name in names)]) for label, row in pairs),
        "",
    ]


def _column(name: str, row: Row) -> str:
    return f"pass@{row['eval/k']}" if name == "pass@k" else name


def _rate(row: Row, metric: str) -> str:
    if row.get(metric) is None:
        return "-"
    return f"{row[metric]:.3f} [{row[f'{metric}_low']:.3f}, {row[f'{metric}_high']:.3f}]"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _papers(config: TrainConfig) -> str:
    rows = [row_of(own) for own in parts_of(config.method)]
    if config.cpi is not None:
        rows.append(CPI_ROW)
    return "".join(f"; {row.paper}" for row in rows if row.paper)


def _evaluated_on(config: TrainConfig, problem_sets: Mapping[str, str]) -> dict[str, str]:
    if "eval" not in problem_sets:
        return {}
    source = _shown(config.eval.problems or config.env.source)
    split = "" if config.eval.problems else f", split `{config.eval.split}`"
    return {
        "evaluation problems": f"`{source}`{split}, content hash `{problem_sets['eval']}`",
    }


def _weights(record: ModelRecord) -> str:
    what = f"an adapter of rank {record.lora.rank}" if record.lora.is_on else "all trained"
    return f"{what}, {record.precision}"


def _last(rows: Sequence[Row], metric: str) -> str:
    values = [row[metric] for row in rows if row.get(metric) is not None]
    return f"{values[-1]:,}" if values else "0"


def _licence_text(licence: str) -> str:
    if licence == UNKNOWN:
        return (
            "The files of the base model name no licence. Find it before these weights are "
            "shared: they are derived from that model."
        )
    return (
        f"These weights are derived from the base model, whose licence is {licence}. The problems "
        "may have a licence of their own."
    )


def _shown(source: str) -> str:
    """Leave the folders out of a file's name, which are of the machine that trained."""
    if source.startswith("hub:") or is_generated(source):
        return source
    return Path(source).name


def _shown_model(name: str) -> str:
    return Path(name).name if Path(name).expanduser().is_dir() else name
