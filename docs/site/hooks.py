# pyright: reportMissingImports=false
# griffe and mkdocs are in the environment of `make docs` only.
"""MkDocs hooks: the pages of the API reference, doctests as sessions, links that leave the site.

The reference has a page for each room and each public file at the top of a package. It is read from
the sources, so that building it needs none of the project's dependencies.
"""

import ast
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "reason_env": "reason_env",
    "wrappers": "reason_env.wrappers",
    "agents": "reason_env.agents",
}
SKIPPED = {"agents", "wrappers", "cli", "moved.py"}
"""In `reason_env`: the links to the other two packages, the command line, the old import paths."""
SESSION = re.compile(r"```python\n(>>> .*?)\n*```", re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^]\n]*\]\((\.\./[^)#\s]+)\)")


def sources() -> dict[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for folder, package in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).parts
            if folder != "reason_env" or parts[0] not in SKIPPED:
                own = path.relative_to(ROOT / folder).with_suffix("").parts
                found[".".join((package, *(own[:-1] if own[-1] == "__init__" else own)))] = path
    return found


SOURCES = sources()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def exported(name: str) -> list[str]:
    """The names in a module's `__all__`; empty if it has none."""
    for node in TREES[name].body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


PAGES = sorted(
    name
    for name, path in SOURCES.items()
    if (path.name == "__init__.py" and exported(name))
    or (path.name != "__init__.py" and path.parent in (ROOT / "reason_env", ROOT / "agents"))
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the pages of the reference where the navigation says `api`."""
    pages = [{name.removeprefix("reason_env."): f"api/{name}.md"} for name in PAGES]
    config.nav = [_with_pages(entry, pages) for entry in config.nav or []]
    return config


def _with_pages(entry: Any, pages: list[dict[str, str]]) -> Any:
    if entry == "api":
        return pages
    if isinstance(entry, dict):
        return {title: _with_pages(value, pages) for title, value in entry.items()}
    return [_with_pages(value, pages) for value in entry] if isinstance(entry, list) else entry


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of the reference."""
    for name in PAGES:
        files.append(File.generated(config, f"api/{name}.md", content=page_text(name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Shows doctests as sessions, and names a file outside the site instead of linking to it."""
    folder = Path(config.docs_dir, page.file.src_uri).parent

    def named(link: re.Match[str]) -> str:
        target = (folder / link[1]).resolve()
        is_outside = target.exists() and not target.is_relative_to(config.docs_dir)
        return f"`{target.relative_to(ROOT)}`" if is_outside else link[0]

    return LINK.sub(named, SESSION.sub(r"```pycon\n\1\n```", markdown))


def page_text(name: str) -> str:
    """The page of one module: what its files define, then links to what other rooms define."""
    if not exported(name):
        return f"# {name}\n\n::: {name}\n    options:\n      show_root_heading: false\n"
    lines = [f"# {name}", "", ast.get_docstring(TREES[name]) or "", ""]
    places = {item: definer(item, name) for item in exported(name)}
    lines += [
        f"::: {place}.{item}"
        for item, place in places.items()
        if page_of(place) == name and is_plain(item, place)
    ]
    elsewhere = {item: place for item, place in places.items() if page_of(place) != name}
    if elsewhere:
        lines += ["", "## From other rooms", ""]
        lines += [f"- [`{item}`][{place}.{item}]" for item, place in elsewhere.items()]
    return "\n".join(lines) + "\n"


def definer(item: str, module: str) -> str:
    """The module that defines a name, followed through the doors of rooms."""
    doors = (node for node in TREES[module].body if isinstance(node, ast.ImportFrom))
    for node in doors:
        names = {alias.asname or alias.name for alias in node.names}
        if node.module in TREES and item in names:
            return definer(item, node.module)
    return module


def page_of(module: str) -> str:
    """The page that documents a module: that of the innermost room around it."""
    return max((own for own in PAGES if f"{module}.".startswith(f"{own}.")), key=len)


def is_plain(item: str, module: str) -> bool:
    """Whether the reference can show a name: not one of several that one statement unpacks."""
    return not any(
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Tuple)
        and item in {ast.unparse(target) for target in node.targets[0].elts}
        for node in TREES[module].body
    )
