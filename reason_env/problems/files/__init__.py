"""Problems from JSON Lines and Parquet files, GSM8K and Hugging Face data sets."""

from reason_env.problems.files.hub import load_hub
from reason_env.problems.files.reader import SUFFIXES, has_split_file, load_file
from reason_env.problems.files.rows import check_limit

__all__ = [
    "SUFFIXES",
    "check_limit",
    "has_split_file",
    "load_file",
    "load_hub",
]
