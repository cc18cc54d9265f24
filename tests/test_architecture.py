"""The dependency rule, forbidden calls and the cost of importing, read from the sources."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "core": ROOT / "reason_env",
    "agents": ROOT / "agents",
    "wrappers": ROOT / "wrappers",
}
LINKS = {"agents", "wrappers"}  # inside reason_env, to the folders beside it
HEAVY = {"torch", "transformers", "sympy", "math_verify", "tyro", "rich", "matplotlib", "datasets"}


def sources(package: str) -> list[Path]:
    root = PACKAGES[package]
    return [
        path
        for path in sorted(root.rglob("*.py"))
        if package != "core" or path.relative_to(root).parts[0] not in LINKS
    ]


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(tree: ast.AST, path: Path, package: str) -> Iterator[str]:
    """Yields the full name of every module that is imported, inside functions too."""
    prefix = ["reason_env"] if package == "core" else ["reason_env", package]
    place = [*prefix, *path.relative_to(PACKAGES[package]).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = place[: len(place) - node.level + 1] if node.level else []
            module = ".".join([*base, *((node.module or "").split(".") if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_under(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def is_command_line(path: Path) -> bool:
    return path.parent == ROOT / "reason_env" / "cli"


def violations(package: str, forbidden: tuple[str, ...], *, but_cli: bool = False) -> list[str]:
    """Returns imports of `forbidden`, those of the command line left out if `but_cli`."""
    return [
        f"{path.relative_to(ROOT)}: {module}"
        for path in sources(package)
        if not (but_cli and is_command_line(path))
        for module in imports(tree_of(path), path, package)
        if any(is_under(module, name) for name in forbidden)
    ]


def test_every_package_has_sources():
    assert len(sources("core")) > 15
    assert len(sources("agents")) > 15
    assert all(not set(path.relative_to(ROOT).parts[1:]) & LINKS for path in sources("core"))


def test_the_core_imports_neither_agents_nor_wrappers():
    forbidden = ("reason_env.agents", "reason_env.wrappers", "agents", "wrappers")
    assert violations("core", forbidden, but_cli=True) == []


def test_agents_and_wrappers_do_not_import_each_other():
    assert violations("agents", ("reason_env.wrappers", "wrappers")) == []
    assert violations("wrappers", ("reason_env.agents", "agents")) == []


def test_nothing_imports_the_composition_root():
    for package in PACKAGES:
        assert violations(package, ("reason_env.cli",), but_cli=True) == []


def test_the_import_rule_finds_violations(tmp_path, monkeypatch):
    (tmp_path / "problems").mkdir()
    bad = tmp_path / "problems" / "bad.py"
    bad.write_text("from ..agents import policy\nimport reason_env.wrappers.hint as h\n")
    (tmp_path / "deep.py").write_text("def f():\n    from reason_env.agents import policy\n")
    (tmp_path / "reason_env" / "cli").mkdir(parents=True)
    command = tmp_path / "reason_env" / "cli" / "train.py"
    command.write_text("from reason_env.agents.policy import Context\n")
    monkeypatch.setitem(PACKAGES, "core", tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    found = violations("core", ("reason_env.agents", "reason_env.wrappers"), but_cli=True)
    assert found == [
        "deep.py: reason_env.agents",
        "deep.py: reason_env.agents.policy",
        "problems/bad.py: reason_env.agents",
        "problems/bad.py: reason_env.agents.policy",
        "problems/bad.py: reason_env.wrappers.hint",
    ]
    assert len(violations("core", ("reason_env.agents",))) == 6


def test_the_links_in_the_core_lead_to_agents_and_wrappers():
    for name in sorted(LINKS):
        link = ROOT / "reason_env" / name
        assert link.is_symlink()
        assert str(link.readlink()) == f"../{name}"
        assert link.resolve() == ROOT / name


def test_no_file_is_named_utils_common_or_helpers():
    names = {path.name for package in PACKAGES for path in sources(package)}
    assert not names & {"utils.py", "common.py", "helpers.py", "util.py", "misc.py"}


def test_importing_the_core_loads_nothing_heavy():
    program = (
        "import sys, reason_env, reason_env.env; print(*{m.split('.')[0] for m in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not set(loaded.stdout.split()) & HEAVY


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_evaluates_text_or_unpickles(package):
    calls = {"eval", "exec", "compile", "__import__"}
    modules = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
    found = []
    for path in sources(package):
        tree = tree_of(path)
        for module in imports(tree, path, package):
            if module.split(".")[0] in modules:
                found.append(f"{path.name}: import {module}")
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id in calls:
                    found.append(f"{path.name}:{node.lineno}: {node.func.id}")
            elif isinstance(node, ast.keyword) and node.arg == "weights_only":
                assert isinstance(node.value, ast.Constant)
                assert node.value.value is True
    assert found == []


@pytest.mark.parametrize("package", PACKAGES)
def test_only_the_command_line_prints(package):
    found = [
        f"{path.name}:{node.lineno}"
        for path in sources(package)
        if not is_command_line(path)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert found == []
