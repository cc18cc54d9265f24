import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROOMS = re.split(r"^### `([a-z0-9_/]+)/`$", PAGE, flags=re.MULTILINE)
LINKS = {"agents", "wrappers"}


def rooms():
    """The `test_rooms.py` that computes which part imports which."""
    spec = importlib.util.spec_from_file_location("rooms", ROOT / "tests" / "test_rooms.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_names_every_file_and_nothing_else():
    named = {
        f"{room}/{name}"
        for room, text in zip(ROOMS[1::2], ROOMS[2::2], strict=True)
        for line in text.partition("\n## ")[0].splitlines()
        for name in re.findall(r"`([a-z0-9_]+\.py)`", line.partition("`: ")[0] + "`")
    }
    there = {
        path.relative_to(ROOT).as_posix()
        for folder in ("reason_env", "agents", "wrappers")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "__init__.py"
        and not (folder == "reason_env" and path.relative_to(ROOT).parts[1] in LINKS)
    }
    assert sorted(named - there) == []
    assert sorted(there - named) == []


def test_every_path_on_the_page_exists():
    paths = re.findall(r"`((?:reason_env|agents|wrappers|tests|docs)/[^` ]*)`", PAGE)
    assert len(paths) > 40
    missing = [
        path for path in paths if not (ROOT / path).exists() and not (ROOT / f"{path}.py").exists()
    ]
    assert missing == []


def test_the_table_of_imports_is_what_the_sources_import():
    graph = rooms()
    found = graph.edges_by_folder(graph.MODULES)
    rows = [
        f"| `{folder}/{part}` | {', '.join(f'`{other}`' for other in sorted(others))} |"
        for folder, package in (("reason_env", "reason_env"), ("agents", "reason_env.agents"))
        for part, others in sorted(found[package].items())
        if part not in LINKS | {"__init__"}
    ]
    table = PAGE.partition("| room | imports |\n|---|---|\n")[2].partition("\n\n")[0]
    assert table.splitlines() == rows
