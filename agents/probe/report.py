"""ProbeReport: everything that a probe found, as one value with a JSON form."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reason_env.agents.probe.figure import Figure, Section
from reason_env.agents.probe.gates import GateResult, Judgement
from reason_env.errors import ConfigError, shown

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """What is true of a model on some problems."""

    model: str
    problems: str
    num_problems: int
    """Problems in the set."""
    group_size: int
    problems_per_iteration: int
    seed: int
    minutes: float
    """Minutes that the measurements took."""
    sampled_tokens: int
    notes: tuple[str, ...]
    """What was left out, and what to know before reading the numbers."""
    judgements: tuple[Judgement, ...]
    undeclared: tuple[str, ...]
    """Methods that declare no precondition."""
    sections: tuple[Section, ...]
    settings: Mapping[str, Any]
    """The config of a run with these settings, as JSON."""

    @property
    def figures(self) -> dict[str, Figure]:
        """Name -> figure, of all sections."""
        return {figure.name: figure for section in self.sections for figure in section.figures}

    @property
    def missing(self) -> dict[str, str]:
        """What could not be measured -> why, of all sections."""
        return {name: why for section in self.sections for name, why in section.missing.items()}

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "ProbeReport":
        """Read what `to_json` wrote.

        Raises:
            ConfigError: The text is no such report.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            if data.pop("format") != FORMAT:
                raise ValueError("another format")
            data["sections"] = tuple(map(Section.from_dict, data["sections"]))
            data["judgements"] = tuple(map(_judgement, data["judgements"]))
            for name in ("notes", "undeclared"):
                data[name] = tuple(data[name])
            return cls(**data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"a probe must be JSON as to_json() writes it, got {shown(text)}; {error}"
            ) from error


def _judgement(data: Mapping[str, Any]) -> Judgement:
    own: dict[str, Any] = dict(data)
    own["gates"] = tuple(GateResult(**gate) for gate in data["gates"])
    return Judgement(**own)
