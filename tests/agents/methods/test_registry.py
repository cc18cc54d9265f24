"""A method outside the packages: the file that docs/methods.md shows, as an installed package."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import Literal

import gymnasium as gym
import pytest

from reason_env.agents.learning import register_surrogate
from reason_env.agents.learning.surrogate import reinforce_surrogate
from reason_env.agents.methods import (
    GRPOConfig,
    MethodBase,
    MethodConfig,
    MethodEntry,
    method_config,
    method_entry,
    register_method,
    registry,
)
from reason_env.agents.methods.grpo import GRPO
from reason_env.agents.metrics import METRICS, Metric, register_metrics
from reason_env.agents.runs import config_json
from reason_env.agents.scripted import ScriptedPolicy, dry_run
from reason_env.agents.train import TrainConfig
from reason_env.errors import ConfigError, UnknownNameError
from reason_env.problem import Problem, ProblemSet

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
METHOD, BY_HAND, *_ = [
    block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if ">>>" not in block
]
FLAGS = (
    "--size 4 --levels 4 4 --max-tokens 32 --problems-per-iteration 2 --group-size 2 "
    "--eval.num-problems 2 --eval.samples 1 --eval.k 1 --checkpoint.every 1"
).split()


def installed(folder, files, points, name="first-step-method"):
    """Writes modules and the metadata of a package that offers methods; returns the folder."""
    folder.mkdir(exist_ok=True)
    for module, text in files.items():
        (folder / f"{module}.py").write_text(text, encoding="utf-8")
    info = folder / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    lines = [f"{key} = {value}" for key, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[reason_env.methods]", *lines, ""]))
    return folder


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))


@pytest.fixture
def package(tmp_path):
    return installed(tmp_path / "site", {"first_step": METHOD}, {"first-step": "first_step:METHOD"})


def python(package, code, *words, **options):
    path = os.pathsep.join([str(package), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


MAIN = "import sys; from reason_env.cli import main; sys.exit(main())"


def reason_env(package, *words, **options):
    return python(package, MAIN, *words, **options)


def rows_of(path):
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [
        {name: value for name, value in row.items() if not name.startswith("time/")} for row in rows
    ]


def test_the_documented_example_passes_its_assertions(package):
    found = python(package, BY_HAND)
    assert found.returncode == 0, found.stderr


@pytest.mark.slow
def test_a_run_of_a_method_from_another_package_resumes_after_a_kill(package, tmp_path):
    words = ["train", "first-step", *FLAGS, "--iterations", "3", "--loss.softness", "2"]
    whole = reason_env(package, *words, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    rows = rows_of(tmp_path / "whole")
    assert sum(row.get("first_step/retried", 0) for row in rows) > 0
    config = json.loads((tmp_path / "whole" / "config.json").read_text("utf-8"))
    assert config["method"]["kind"] == "first-step"
    assert config["method"]["loss"]["surrogate"] == "soft_clip"
    assert config["method"]["loss"]["softness"] == 2.0

    path = tmp_path / "killed"
    killing = f"""
import os, signal, sys
from reason_env.agents.runs import RunDir
write = RunDir.write_metrics
def dying(self, iteration, metrics):
    if iteration == 2:
        os.kill(os.getpid(), {signal.SIGKILL.value})
    write(self, iteration, metrics)
RunDir.write_metrics = dying
{MAIN}"""
    killed = python(package, killing, *words, "--out", path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(rows_of(path)) == 2
    resumed = reason_env(package, "train", "first-step", "--resume", path)
    assert resumed.returncode == 0, resumed.stderr
    assert rows_of(path) == rows


@pytest.mark.slow
def test_a_method_of_another_package_is_compared_and_composed(package, tmp_path):
    words = ["compare", "grpo:group_size=2", "first-step+lte:first-step.loss.softness=3"]
    flags = [*FLAGS, "--seeds", "1", "--budget", "200", "--workers", "1", "--out", tmp_path / "c"]
    flags = [word for word in flags if word not in ("--group-size",)]
    flags.remove("2")  # the group size's
    found = reason_env(package, *words, *flags)
    assert found.returncode == 0, found.stderr + found.stdout
    (metrics,) = (tmp_path / "c" / "runs").rglob("*first-step*/**/metrics.jsonl")
    assert "first_step/retried" in metrics.read_text("utf-8")
    assert (tmp_path / "c" / "report.html").is_file()


@pytest.mark.slow
def test_the_command_line_shows_the_flags_and_the_name_of_a_foreign_method(package):
    helped = reason_env(package, "train", "first-step", "--help")
    assert "--loss.softness" in helped.stdout
    assert "--kind" not in helped.stdout
    near = reason_env(package, "train", "first-stp")
    assert near.returncode == 2
    assert "no method 'first-stp'; did you mean 'first-step'" in near.stderr + near.stdout
    listed = reason_env(package, "train", "--help")
    assert listed.returncode == 0
    assert listed.stdout.split("methods:")[1].split().count("first-step") == 1


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An empty folder on the path, whose packages are found in this process, and then forgotten."""
    monkeypatch.syspath_prepend(tmp_path)
    registry._installed.cache_clear()
    yield tmp_path
    registry._installed.cache_clear()


def test_an_error_names_a_broken_package_and_other_methods_still_work(site):
    installed(site, {"broken": "import no_such_module"}, {"other": "broken:METHOD"}, "a-package")
    message = (
        "the method 'other' of the package a-package 1.2 must load, got ModuleNotFoundError: No "
        "module named 'no_such_module'; correct 'broken:METHOD', or uninstall the package"
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        method_config("other")
    assert method_config("grpo") == GRPOConfig()


def test_an_entry_point_that_is_not_a_method_entry_of_its_name_is_refused(site):
    entry = "from reason_env.agents.methods.registry import _REGISTERED as all\nENTRY = all['lte']"
    points = {"other": "thing:METHOD", "second": "lte_again:ENTRY"}
    installed(site, {"thing": "METHOD = 3", "lte_again": entry}, points)
    with pytest.raises(
        ConfigError, match="MethodEntry of that name, got 3; correct 'thing:METHOD'"
    ):
        method_config("other")
    with pytest.raises(ConfigError, match="got the method 'lte'; correct 'lte_again:ENTRY'"):
        method_config("second")


def test_two_packages_with_one_name_are_both_named(site):
    installed(site, {}, {"other": "a:METHOD"}, "a-package")
    installed(site, {}, {"other": "b:METHOD", "grpo": "b:METHOD"}, "b-package")
    with pytest.raises(ConfigError, match=r"'other' from the package [ab]-package 1\.2 and the p"):
        method_config("other")
    with pytest.raises(ConfigError, match="'grpo' from this process and the package b-package 1"):
        method_config("grpo")


@dataclass(frozen=True, slots=True, kw_only=True)
class TwiceConfig(GRPOConfig):
    kind: Literal["twice"] = "twice"


class Twice(GRPO):
    pass


def test_a_registered_method_is_found_by_name_and_in_json():
    register_method(MethodEntry(config=TwiceConfig, build=Twice))
    whole = TrainConfig(method=TwiceConfig(group_size=3))
    assert config_json.load(TrainConfig, config_json.dump(whole)) == whole
    assert method_entry("twice").build is Twice
    with pytest.raises(ConfigError, match="a method must be registered once, got 'twice' twice"):
        register_method(MethodEntry(config=TwiceConfig, build=Twice))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"group_size": 2}, "config.method must be a JSON object with the key 'kind'"),
        ("grpo", "config.method must be a JSON object with the key 'kind', got 'grpo'"),
        ({"kind": "composed", "methods": [{"kind": "composed"}]}, "no method 'composed'"),
        ({"kind": "gpro"}, "no method 'gpro'; did you mean 'grpo'"),
        ({"kind": "grpo", "group_sise": 2}, "unknown key 'config.method.group_sise'"),
    ],
)
def test_a_method_with_a_malformed_or_unknown_kind_in_json_is_refused(method, message):
    with pytest.raises((ConfigError, UnknownNameError), match=re.escape(message)):
        config_json.load(TrainConfig, json.dumps({"method": method}))


def named(kind):
    fields = [("kind", str, kind)]
    return make_dataclass("NamedConfig", fields, bases=(MethodConfig,), frozen=True, kw_only=True)


@pytest.mark.parametrize("kind", ["cpi", "initial", "composed", "a+b", "Upper", "", "a:b"])
def test_a_method_kind_that_is_malformed_or_reserved_is_refused(kind):
    with pytest.raises(ConfigError, match="the kind of NamedConfig must have a default of lower-"):
        MethodEntry(config=named(kind), build=MethodBase)


def test_an_entry_without_a_config_or_a_name_is_refused():
    with pytest.raises(ConfigError, match="must be a subclass of MethodConfig, got <class 'int'>"):
        MethodEntry(config=int, build=MethodBase)
    with pytest.raises(ConfigError, match="the kind of MethodConfig must have a default"):
        MethodEntry(config=MethodConfig, build=MethodBase)


def test_a_role_that_a_method_does_not_list_is_refused():
    class Unlisted(GRPO):
        def plan(self, states, rng):
            return [replace(start, role="mine") for start in super().plan(states, rng)]

    problem = Problem(problem_id="toy/train/0", question="1+1=?", answer="2")
    env = gym.make(
        "MathReason-v0",
        problems=ProblemSet("toy", (problem,)),
        format="tokens",
        granularity="response",
    )
    policy = ScriptedPolicy({"1+1=?\n>": ["#### 2$", "#### 3$"]})
    method = Unlisted(GRPOConfig(group_size=2))
    with pytest.raises(ConfigError, match="`roles` must hold the role of each further start, got "):
        dry_run(method, ["toy/train/0"], env=env, policy=policy)


def test_metrics_and_surrogates_cannot_be_registered_with_another_meaning():
    register_metrics({"rollout/pass_rate": METRICS["rollout/pass_rate"]})
    with pytest.raises(ConfigError, match="one meaning, got 'rollout/pass_rate' with another"):
        register_metrics({"rollout/pass_rate": Metric("m", "another")})
    with pytest.raises(
        ConfigError, match=r"must be <stage>/<what> in lower-case .*got 'pass_rate'"
    ):
        register_metrics({"pass_rate": Metric("m", "no stage")})
    register_surrogate("reinforce", reinforce_surrogate)
    with pytest.raises(ConfigError, match="a surrogate must be registered once, got 'clip' twice"):
        register_surrogate("clip", reinforce_surrogate)
