"""A row of an ablation's table: one flat record. `write_csv` writes rows to a file."""

import csv
from pathlib import Path

from reason_env.errors import ConfigError

Row = dict[str, str | int | float]


def write_csv(rows: list[Row], path: Path) -> None:
    """Write rows with equal columns; floats keep all digits.

    Raises:
        ConfigError: There are no rows.
    """
    if not rows:
        raise ConfigError("rows must be at least 1, got none; run a setting first")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
