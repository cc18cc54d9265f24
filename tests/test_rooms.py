"""The rooms: which folders there are, what they import, and that no imports are circular.

`python -m pytest tests/test_rooms.py -s -k graph` prints the graph. The files and
sub-folders of every folder, each sub-folder counted as one, import each other without a circle.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP = {"reason_env": "reason_env", "agents": "reason_env.agents", "wrappers": "reason_env.wrappers"}
LINKS = {"agents", "wrappers"}
MOST_FILES = {"reason_env": 6, "agents": 6}
NO_DOOR = {"reason_env", "reason_env.agents", "reason_env.agents.tabular", "reason_env.cli"}
"""Rooms whose parts are imported one by one: what is heavy loads where it is used."""
OPEN = {"reason_env.problems.families", "reason_env.agents.integrations"}
"""Rooms whose files are the public names: one family or one extra, one file."""


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Returns every module of the three packages and its file."""
    found = {}
    for folder, package in TOP.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            if folder == "reason_env" and parts[0] in LINKS:
                continue
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join((package, *parts))] = path
    return found


MODULES = modules()
ROOMS = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def imported(name: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[str, str]]:
    """Yields (module, imported name or "") of each import of ours, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            assert node.level == 0, f"{path}: imports are absolute"
            exported = exported_names(known[node.module])
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                if module in known and alias.name not in exported:
                    yield module, ""
                else:
                    yield node.module, alias.name


def exported_names(path: Path) -> set[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def edges_by_folder(known: dict[str, Path]) -> dict[str, dict[str, set[str]]]:
    """Returns for each folder which of its parts (files, sub-folders) import which others."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, path in known.items():
        for target, _ in imported(name, path, known):
            a, b = name.split("."), target.split(".")
            shared = next(
                (at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y),
                min(len(a), len(b)),
            )
            if a == b:
                continue
            folder = ".".join(a[:shared])
            own = a[shared] if shared < len(a) else "__init__"
            other = b[shared] if shared < len(b) else "__init__"
            found[folder][own].add(other)
    return {folder: dict(own) for folder, own in found.items()}


def circle(edges: dict[str, set[str]]) -> list[str]:
    """Return the nodes of one import cycle in order, or an empty list."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for other in sorted(edges.get(node, ())):
            found = visit(other, [*path, node])
            if found:
                return found
        done.add(node)
        return []

    for node in sorted(edges):
        found = visit(node, [])
        if found:
            return found
    return []


@pytest.mark.parametrize(("folder", "edges"), sorted(edges_by_folder(MODULES).items()))
def test_the_parts_of_a_folder_have_no_circular_imports(folder, edges):
    assert circle(edges) == [], folder


def test_the_graph_of_the_rooms(capsys):
    edges = edges_by_folder(MODULES)
    with capsys.disabled():
        for folder in ("reason_env", "reason_env.agents", "reason_env.verify"):
            print(f"\n{folder}")
            for part, others in sorted(edges[folder].items()):
                print(f"  {part:14} -> {' '.join(sorted(others))}")
    assert edges["reason_env.verify"]["grading"] >= {"comparing", "workers"}
    assert edges["reason_env.agents"]["rollout"] >= {"policy"}


def test_a_circular_import_is_found(tmp_path):
    files = {
        "a/__init__.py": "",
        "a/one.py": "from reason_env.b.two import x",
        "b/__init__.py": "",
        "b/two.py": "def f():\n    from reason_env.a import one",
        "c.py": "import reason_env.a.one",
    }
    for folder in TOP:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("")
    for name, text in files.items():
        path = tmp_path / "reason_env" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    edges = edges_by_folder(modules(tmp_path))
    assert edges["reason_env"] == {"a": {"b"}, "b": {"a"}, "c": {"a"}}
    assert circle(edges["reason_env"]) == ["a", "b", "a"]


def outside_the_door() -> Iterator[str]:
    """Yields the imports of names that go past the door of a room."""
    for name, path in MODULES.items():
        for target, what in imported(name, path, MODULES):
            parts = target.split(".")
            for end in range(2, len(parts)):
                room = ".".join(parts[:end])
                if room in NO_DOOR or name == room or name.startswith(f"{room}."):
                    continue
                if what and not any(target == own or target.startswith(f"{own}.") for own in OPEN):
                    yield f"{path.relative_to(ROOT)}: {what} from {target}, not from {room}"
                break


def test_names_of_another_room_come_through_its_door():
    assert list(outside_the_door()) == []


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_every_room_has_a_docstring_and_exported_names(room):
    tree = ast.parse(MODULES[room].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), room
    if room not in NO_DOOR | OPEN:
        assert exported_names(MODULES[room]), f"{room} has no __all__"


def test_every_folder_with_sources_is_a_room():
    folders = {path.parent for path in MODULES.values()}
    assert all((folder / "__init__.py").is_file() for folder in folders)


@pytest.mark.parametrize(("folder", "most"), sorted(MOST_FILES.items()))
def test_few_files_lie_at_the_top_of_a_package(folder, most):
    assert len(list((ROOT / folder).glob("*.py"))) <= most


def test_no_folder_is_written_in_file_names():
    for room in ROOMS:
        stems = [path.stem for path in MODULES[room].parent.glob("*.py")]
        prefixes = [stem.partition("_")[0] for stem in stems if "_" in stem[1:]]
        repeated = {prefix for prefix in prefixes if prefixes.count(prefix) > 2}
        assert not repeated, f"{room}: files that begin with {repeated} want a folder"
