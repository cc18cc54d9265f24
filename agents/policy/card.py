"""ModelCard: README.md beside a model's weights, as the Hugging Face hub reads it.

The head is YAML for programs: licence, base model, figures. huggingface_hub, which transformers
needs, writes and reads it. Who trains further reads the licence from there, without the network, so
that it goes with the weights.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from reason_env.agents.policy.adapter_files import base_of, is_adapter_dir
from reason_env.agents.policy.gguf import SMOLLM2
from reason_env.agents.policy.load import SHIPPED

CARD = "README.md"
UNKNOWN = "unknown"
"""The hub's word for a licence that nobody has named."""
SMOLLM2_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
SMOLLM2_LICENCE = "apache-2.0"
"""Its package holds no card."""
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number of a model, for programs."""

    name: str
    """Of the metric: "pass@1"."""
    value: float
    data: str
    """Name of the problems."""
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a model's README says."""

    title: str
    text: str
    """Markdown below the title."""
    licence: str
    """As the hub names it: apache-2.0, mit, other, unknown."""
    base_model: str | None = None
    """The hub's name of the model that training began from; None if it is not there."""
    tags: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()

    def markdown(self, *, library: str = "transformers") -> str:
        """Give the whole file.

        Args:
            library: What loads the weights: "transformers", or "peft" for an adapter alone.
        """
        from huggingface_hub import EvalResult, ModelCardData

        results = [
            EvalResult(
                task_type="text-generation",
                dataset_type=figure.data,
                dataset_name=figure.data,
                dataset_split=figure.split,
                metric_type=figure.name,
                metric_value=figure.value,
            )
            for figure in self.figures
        ]
        data = ModelCardData(
            license=self.licence,
            base_model=self.base_model,
            library_name=library,
            pipeline_tag="text-generation",
            tags=["reason-env", *self.tags],
            model_name=self.title if results else None,
            eval_results=results or None,
        )
        return f"---\n{data.to_yaml()}\n---\n\n# {self.title}\n\n{self.text.rstrip()}\n"

    def write(self, directory: Path) -> None:
        """Write the card beside the weights in a model directory."""
        text = self.markdown(library="peft" if is_adapter_dir(directory) else "transformers")
        (directory / CARD).write_text(text, encoding="utf-8")


def licence_of(name: str) -> str:
    """Read the licence of a model from the card beside its weights; `UNKNOWN` if none names it.

    Args:
        name: As `LanguageModelPolicy.load` takes it. Of a hub name, only files on this machine are
            read.
    """
    if name == SMOLLM2:
        return SMOLLM2_LICENCE
    directory = SHIPPED.get(name) or Path(name).expanduser()
    card = directory / CARD if directory.is_dir() else _cached_card(name)
    named = None if card is None else _named(card)
    if named is None and is_adapter_dir(directory):
        return licence_of(base_of(directory).name)
    return named or UNKNOWN


def hub_name(name: str) -> str | None:
    """Give the hub's name of a model; None for the shipped ones, files and directories."""
    if name == SMOLLM2:
        return SMOLLM2_NAME
    is_local = name in SHIPPED or Path(name).expanduser().exists()
    return None if is_local or not _HUB_NAME.fullmatch(name) else name


def _cached_card(name: str) -> Path | None:
    """Find the card of a model of the hub on this machine."""
    from huggingface_hub import try_to_load_from_cache

    if hub_name(name) is None:
        return None
    found = try_to_load_from_cache(name, CARD)
    return Path(found) if isinstance(found, str) else None


def _named(card: Path) -> str | None:
    """Read the licence that a card names; None if there is no card, or it names none."""
    from huggingface_hub import metadata_load

    if not card.is_file():
        return None
    try:
        data = metadata_load(card)
    except (ValueError, yaml.YAMLError) as error:
        _log.warning("the card '%s' cannot be read: %s; the licence counts as unknown", card, error)
        return None
    named = (data or {}).get("license")
    return named if isinstance(named, str) and named else None
