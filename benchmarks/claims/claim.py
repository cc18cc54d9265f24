"""Claim: what a paper says, in our words."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A paper's claim."""

    text: str
    paper: str
