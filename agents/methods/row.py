"""Row: what a method says of itself for the table, and the numbers of its paper.

A config tells guidance, estimator and update (`table.py`). Only what no config can tell is here,
next to the code that it describes: where episodes begin, which context is trained, what the paper
has. The tests run each method and compare both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

UNSAID: Final = "not given"
"""In place of a paper's number: the paper gives none, and the default is our choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A method's part of the table; every field may be left out."""

    starts: str = ""
    """Where episodes begin; empty: not described."""
    context: str = "the same"
    """The context that tokens are trained under."""
    teacher: str = "none"
    """What scores the sampled tokens again, under another context or with other weights."""
    estimator: str = ""
    """Where advantages come from, {formula} for the config's estimator; empty: that alone."""
    paper: str = ""
    """The paper's identifier and title; empty if there is none."""
    numbers: Mapping[str, object] = field(default_factory=dict[str, object])
    """Field of the config -> the paper's value, or `UNSAID`; "loss.clip_high" for nested fields."""
    run_numbers: Mapping[str, object] = field(default_factory=dict[str, object])
    """Field of the run's config -> the paper's value: "sampling.temperature"."""
    result: str = ""
    """What the paper reports, in a sentence."""
    differences: tuple[str, ...] = ()
    """Sentences on what is done otherwise than in the paper, numbers left out."""
