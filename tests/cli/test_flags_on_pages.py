"""Every flag that the pages name belongs to a command."""

import re
from pathlib import Path

from reason_env.agents.methods import method_names, sb3_names

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FLAG = re.compile(r"(?<![\w-])--([a-z][a-z0-9.-]*[a-z0-9])")
COMMANDS = [
    *(("train", name) for name in (*method_names(), *sb3_names(), "cpi", "srpo+lte")),
    *(
        (name,)
        for name in (
            "compare eval probe play check grade report tabular pretrain methods serve doctor"
        ).split()
    ),
    ("problems", "show", "chain"),
    ("problems", "check", "chain"),
    ("export", "verl"),
]
ELSEWHERE = {
    "lte.gamma": "of a composition: its method's name stands for methods.1",
    "loss.softness": "of the method that the page writes",
    "fade": "of the method that the page writes",
    "alone": "of python -m benchmarks.verifier.mutants",
    "reading": "of python -m benchmarks.tabular.garnet",
    "quick": "of benchmarks",
    "inputs": "of python -m benchmarks.security.fuzz",
    "survey": "of python -m benchmarks.sb3.from_scratch",
    "preset": "of python -m benchmarks.claims.first",
    "published": "of python -m benchmarks.claims.first",
    "variations": "of python -m benchmarks.claims.first",
}
"""Flag -> why no help names it."""


def flags_of_page(path) -> set[str]:
    """Flags in commands of reason-env and in code spans that begin with a flag."""
    text = path.read_text(encoding="utf-8")
    commands = re.findall(r"reason-env [a-z]+ [^`\n]*(?:\\\n[^`\n]*)*", text)
    spans = re.findall(r"`(--[^`]+)`", text)
    return {flag for part in (*commands, *spans) for flag in FLAG.findall(part)}


def test_every_flag_on_the_pages_exists(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    known = {flag for words in COMMANDS for flag in FLAG.findall(command(*words, "--help")[1])}
    assert {"learning-rate", "eval.problems", "cpi.accept", "template"} <= known
    unknown = {
        f"{page.relative_to(ROOT)}: --{flag}"
        for page in PAGES
        for flag in flags_of_page(page) - known - set(ELSEWHERE)
        if not any(name.startswith(f"{flag}.") for name in known)
    }
    assert not unknown, "\n".join(sorted(unknown))
