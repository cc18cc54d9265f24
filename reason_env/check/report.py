"""The result of a check: passed, failed or skipped, and why."""

from collections.abc import Callable
from dataclasses import dataclass

from reason_env.errors import ReasonEnvError, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The result of one check."""

    name: str
    passed: bool | None
    """None if it was skipped."""
    detail: str = ""
    """The first failure, or why the check was skipped; empty if it passed."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All checks of one environment."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed; skipped ones do not count."""
        return all(check.passed is not False for check in self.checks)

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """(name, "ok", "FAILED" or "skipped", detail) of each check, for a table."""
        words = {True: "ok", False: "FAILED", None: "skipped"}
        return [(check.name, words[check.passed], check.detail) for check in self.checks]


class FailedCheckError(Exception):
    """A check failed; the message says why."""


def run_check(name: str, run: Callable[[], str | None]) -> Check:
    """Run a check: it returns None or the reason to skip it, and raises if it fails."""
    try:
        skipped = run()
    except (FailedCheckError, AssertionError, ReasonEnvError) as error:
        return Check(name=name, passed=False, detail=shown(str(error))[1:-1])
    return Check(name=name, passed=None if skipped else True, detail=skipped or "")


def require(holds: bool, message: str) -> None:
    """Fail the check unless the condition holds."""
    if not holds:
        raise FailedCheckError(message)
