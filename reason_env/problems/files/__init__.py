"""Problems from files of all common formats, GSM8K and Hugging Face data sets."""

from reason_env.problems.files.formats import SUFFIXES
from reason_env.problems.files.hub import load_hub
from reason_env.problems.files.reader import has_split_file, load_file, rows_of_file
from reason_env.problems.files.rows import RefusedRow, Rows, check_limit
from reason_env.problems.files.table import Table

__all__ = [
    "SUFFIXES",
    "RefusedRow",
    "Rows",
    "Table",
    "check_limit",
    "has_split_file",
    "load_file",
    "load_hub",
    "rows_of_file",
]
