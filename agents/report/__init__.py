"""Write report.html for runs and comparisons."""

from reason_env.agents.report.report import write_report

__all__ = [
    "write_report",
]
