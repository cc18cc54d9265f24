"""Write report.html: one self-contained file for runs or a comparison.

The page joins the files of `page/` and the data as JSON. The data cannot end its script element:
`<`, `>` and `&` are escaped, and the JSON is ASCII, so U+2028 is escaped too. The scripts write
data only as text nodes. A content security policy forbids loading anything, and names the hash of
the page's own script, so that a script that came from data would not run.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from reason_env.agents.report.data import report_data
from reason_env.agents.runs import write_text
from reason_env.errors import CheckpointError, ConfigError, ReasonEnvError, shown

STYLES = ("page.css", "tree.css")
SCRIPTS = ("elements.js", "charts.js", "sections.js", "tree_model.js", "tree.js", "main.js")


def write_report(paths: Sequence[str | Path], out: str | Path, *, num_episodes: int = 2000) -> Path:
    """Write the report of one comparison, or of some runs, and return its path.

    Args:
        paths: One comparison directory, or run directories.
        out: The HTML file.
        num_episodes: Maximum number of episodes to embed; 0 for none.

    Raises:
        ConfigError: No path is given, or the number is negative.
        CheckpointError: A path is neither, or its files were changed.
    """
    if num_episodes < 0:
        raise ConfigError(f"num_episodes must be at least 0, got {num_episodes!r}; 0 embeds none")
    out = Path(out)
    try:
        text = page(report_data([Path(path) for path in paths], num_episodes=num_episodes))
    except ReasonEnvError:
        raise
    except (
        ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
    ) as error:  # fmt: skip
        names = ", ".join(f"'{path}'" for path in paths)
        raise CheckpointError(
            f"the files of a run must hold what the run wrote, got {type(error).__name__}: "
            f"{shown(str(error))} from {names}; restore metrics.jsonl and episodes/"
        ) from error
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text)
    return out


def page(data: Any) -> str:
    """Build the page from `report_data`'s value."""
    script = "\n".join(["", *map(_part, SCRIPTS), ""])
    digest = hashlib.sha256(script.encode()).digest()
    parts = {
        "HASH": f"'sha256-{base64.b64encode(digest).decode('ascii')}'",
        "TITLE": escape(data["title"]),
        "STYLE": "\n".join(map(_part, STYLES)),
        "SCRIPT": script,
        "DATA": embedded(data),
    }
    text = _part("page.html")
    # Split before inserting: the inserted text may contain a placeholder.
    pieces = text.split("%%")
    return "".join(parts[piece] if at % 2 else piece for at, piece in enumerate(pieces))


def embedded(data: Any) -> str:
    r"""Write JSON that is safe between `<script>` tags for any text.

    >>> print(embedded(["</script>", "\u2028", "a&b"]))
    ["\u003c/script\u003e","\u2028","a\u0026b"]
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def stylesheet() -> str:
    """Return the style of the page without its episode trees, for other pages of one look."""
    return _part("page.css")


def _part(name: str) -> str:
    return files("reason_env.agents.report").joinpath("page", name).read_text(encoding="utf-8")
