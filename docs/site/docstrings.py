# pyright: reportMissingImports=false
# griffe and mkdocs are in the environment of `make docs` only.
"""A griffe extension: doctests in docstrings become fenced Python sessions."""

import re
from typing import Any

import griffe

SESSION = re.compile(r"^( *)>>> .*(?:\n\1\S.*|\n\1 +\S.*)*", re.MULTILINE)


class Sessions(griffe.Extension):
    """Fences each run of lines that begins with `>>>`; Markdown would read a quotation."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites the docstring of one object."""
        if isinstance(obj, griffe.Object) and obj.docstring is not None:
            obj.docstring.value = SESSION.sub(fenced, obj.docstring.value)


def fenced(found: re.Match[str]) -> str:
    """The lines of a session between fences at their own indentation."""
    indent = found[1]
    return f"{indent}```pycon\n{found[0]}\n{indent}```"
