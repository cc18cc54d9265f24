"""ProbeConfig: how long a probe takes, and what it measures."""

from dataclasses import dataclass
from typing import Final

from reason_env.errors import ConfigError, did_you_mean
from reason_env.state import checked_fraction

SECTIONS: Final = ("guided", "mistakes", "explanations", "localisation", "entropy")
"""The measurements that follow the samples of the problems, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeConfig:
    """The time and the samples of a probe.

    Raises:
        ConfigError: A number is out of its range.
    """

    minutes: float = 5.0
    """Time for all measurements, loading excluded. It decides how many problems are measured."""
    num_problems: int | None = None
    """Measure exactly this many problems, whatever the time, so that the figures repeat on any
    machine; None: as many as the minutes allow."""
    max_problems: int = 200
    """Most problems that the minutes are spent on."""
    again: int = 2
    """Episodes a problem with guidance, with a list of wrong answers, and without either. Few,
    because intervals are over problems; resets have as many as RRPO."""
    shares: tuple[float, ...] = (0.25, 0.5)
    """Shares of the reference solution that are shown."""
    sections: tuple[str, ...] = SECTIONS
    """Which measurements follow the samples of the problems: guided, mistakes, explanations,
    localisation, entropy. What is left out changes no other figure."""

    def __post_init__(self) -> None:
        if not 0 < self.minutes < float("inf"):
            raise ConfigError(f"minutes must be above 0 and finite, got {self.minutes!r}")
        for name, least in (("num_problems", 1), ("max_problems", 1), ("again", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}, got {value!r}")
        for share in self.shares:
            if not checked_fraction(share, "shares") > 0:
                raise ConfigError(
                    f"shares must be above 0, got {share!r}; the unguided success is always "
                    "measured"
                )
        unknown = next((name for name in self.sections if name not in SECTIONS), None)
        if unknown is not None:
            raise ConfigError(
                f"sections must be among {', '.join(SECTIONS)}, got {unknown!r}"
                f"{did_you_mean(unknown, SECTIONS)}"
            )
        if not self.shares or list(self.shares) != sorted(set(self.shares)):
            raise ConfigError(f"shares must rise and not be empty, got {self.shares!r}")
