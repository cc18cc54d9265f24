"""Finding: one line about the machine."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "missing", "broken"]
"""`missing` is a choice: something works only with it. `broken` is not: what is there fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: what was looked at, what was found, and what to do about it."""

    topic: str
    """The heading that it belongs to."""
    name: str
    status: Status = "ok"
    value: str
    advice: str = ""
    """Empty if nothing is to be done."""

    def line(self, width: int) -> str:
        """Format it, the name padded to `width`.

        >>> Finding(topic="extras", name="vllm", status="missing", value="no vllm",
        ...         advice="pip install x").line(6)
        'missing  vllm    no vllm; pip install x'
        """
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.status:<7}  {self.name:<{width}}  {self.value}{advice}"
