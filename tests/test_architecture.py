"""The dependency rule, the budgets and what importing costs, read from the sources themselves."""

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


def imports(tree: ast.AST, path: Path, package: str) -> Iterator[tuple[str, bool]]:
    """Yields (full module name, whether the import is inside a function)."""
    inside = {
        node
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for node in ast.walk(function)
    }
    prefix = ["reason_env"] if package == "core" else ["reason_env", package]
    place = [*prefix, *path.relative_to(PACKAGES[package]).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = place[: len(place) - node.level + 1] if node.level else []
            module = ".".join([*base, *((node.module or "").split(".") if node.module else [])])
            yield module, node in inside
            yield from ((f"{module}.{alias.name}", node in inside) for alias in node.names)


def is_under(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def violations(package: str, forbidden: tuple[str, ...], allowed: dict[str, bool]) -> list[str]:
    """Returns imports of `forbidden`; `allowed` names files, True if only inside functions."""
    found = []
    for path in sources(package):
        for module, is_inside in imports(tree_of(path), path, package):
            if not any(is_under(module, name) for name in forbidden):
                continue
            if path.name in allowed and (is_inside or not allowed[path.name]):
                continue
            found.append(f"{path.relative_to(ROOT)}: {module}")
    return found


def test_every_package_has_sources():
    assert len(sources("core")) > 15
    assert len(sources("agents")) > 15
    assert all(not set(path.relative_to(ROOT).parts[1:]) & LINKS for path in sources("core"))


def test_the_core_imports_neither_agents_nor_wrappers():
    allowed = {"cli.py": False, "play.py": True}
    forbidden = ("reason_env.agents", "reason_env.wrappers", "agents", "wrappers")
    assert violations("core", forbidden, allowed) == []


def test_agents_and_wrappers_do_not_import_each_other():
    assert violations("agents", ("reason_env.wrappers", "wrappers"), {}) == []
    assert violations("wrappers", ("reason_env.agents", "agents"), {}) == []


def test_nothing_imports_the_composition_root():
    for package in PACKAGES:
        assert violations(package, ("reason_env.cli",), {}) == []


def test_the_rule_finds_what_it_forbids(tmp_path, monkeypatch):
    (tmp_path / "problems").mkdir()
    bad = tmp_path / "problems" / "bad.py"
    bad.write_text("from ..agents import policy\nimport reason_env.wrappers.hint as h\n")
    good = tmp_path / "play.py"
    good.write_text("def f():\n    from reason_env.agents.policy import Context\n")
    monkeypatch.setitem(PACKAGES, "core", tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    found = violations("core", ("reason_env.agents", "reason_env.wrappers"), {"play.py": True})
    assert found == [
        "problems/bad.py: reason_env.agents",
        "problems/bad.py: reason_env.agents.policy",
        "problems/bad.py: reason_env.wrappers.hint",
    ]
    good.write_text("from reason_env.agents.policy import Context\n")
    assert len(violations("core", ("reason_env.agents",), {"play.py": True})) == 4


def test_the_links_lead_to_the_folders_beside_the_core():
    for name in sorted(LINKS):
        link = ROOT / "reason_env" / name
        assert link.is_symlink()
        assert str(link.readlink()) == f"../{name}"
        assert link.resolve() == ROOT / name


def test_no_file_is_named_for_what_is_left_over():
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


def test_importing_the_core_takes_under_half_a_second():
    program = (
        "import time; begin = time.process_time(); import reason_env; "
        "print(time.process_time() - begin)"
    )
    seconds = [
        float(
            subprocess.run(
                [sys.executable, "-c", program],
                capture_output=True,
                text=True,
                check=True,
                cwd=ROOT,
            ).stdout
        )
        for _ in range(5)
    ]
    # Processor time and the best of five: what the code costs, not what else the machine does.
    assert min(seconds) < 0.5


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_evaluates_text_or_unpickles(package):
    calls = {"eval", "exec", "compile", "__import__"}
    modules = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
    found = []
    for path in sources(package):
        tree = tree_of(path)
        for module, _ in imports(tree, path, package):
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
        if path.name != "cli.py"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert found == []


def test_the_training_loop_stays_readable():
    assert len((ROOT / "agents" / "train.py").read_text(encoding="utf-8").splitlines()) <= 200
