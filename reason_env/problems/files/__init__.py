"""Problems from files of all common formats, GSM8K and Hugging Face data sets."""

from reason_env.problems.files.formats import SUFFIXES
from reason_env.problems.files.hub import is_saved, load_hub, read_hub
from reason_env.problems.files.reader import has_split_file, load_file, read_file
from reason_env.problems.files.rows import (
    RefusedRow,
    RowFormat,
    RowOptions,
    Rows,
    check_limit,
    converted,
    failed_rows,
    in_order,
    problems_from_table,
)
from reason_env.problems.files.table import Table

__all__ = [
    "SUFFIXES",
    "RefusedRow",
    "RowFormat",
    "RowOptions",
    "Rows",
    "Table",
    "check_limit",
    "converted",
    "failed_rows",
    "has_split_file",
    "in_order",
    "is_saved",
    "load_file",
    "load_hub",
    "problems_from_table",
    "read_file",
    "read_hub",
]
