"""Write report.html for runs and comparisons."""

from reason_env.agents.report.report import stylesheet, write_report

__all__ = [
    "stylesheet",
    "write_report",
]
