"""`reason-env doctor` on this machine, and on machines that lack packages or have broken ones."""

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest

from reason_env.agents.policy.gguf import INSTALL_SMOLLM2
from reason_env.doctor import PURPOSE, diagnose
from reason_env.doctor.machine import folders
from reason_env.doctor.requirements import EXTRAS, HOW, extras, read_requirement, required

ROOT = Path(__file__).parents[2]
CORE = ("gymnasium", "numpy", "cloudpickle", "farama-notifications", "typing-extensions")


def machine(folder, fakes=()):
    """Fill a folder as a site of packages: the core's, and fakes (name, version, source)."""
    for name in CORE:
        for file in distribution(name).files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (folder / top).exists():
                (folder / top).symlink_to(distribution(name).locate_file(top))
    asked = [f"Requires-Dist: {line}" for line in requires("reason-env") or ()]
    with_metadata(folder, "reason-env", "0.1.0", asked)
    for name, version, source in fakes:
        with_metadata(folder, name, version)
        (folder / f"{name.replace('-', '_')}.py").write_text(source)
    return folder


def with_metadata(folder, name, version, lines=()):
    own = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    own.mkdir()
    head = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    (own / "METADATA").write_text("\n".join([*head, *lines]) + "\n")


def run_on(folder, *words, **environment):
    """Run a command where only the packages of a folder exist."""
    place = folder / "package"
    if not place.exists():
        place.mkdir()
        for name in ("reason_env",):
            (place / name).symlink_to(ROOT / name)
    return subprocess.run(
        [sys.executable, "-S", "-c", "from reason_env.cli import main; main()", *words],
        env=os.environ | {"PYTHONPATH": f"{place}{os.pathsep}{folder}"} | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def found(done):
    return {item["name"]: item for item in json.loads(done.stdout)}


def test_on_this_machine_nothing_is_broken_and_every_topic_is_there(command, monkeypatch):
    once = diagnose()
    monkeypatch.setattr("reason_env.cli.doctor.diagnose", lambda: once)
    status, text, error = command("doctor", "--json")
    assert (status, error) == (0, "")
    findings = json.loads(text)
    assert list(dict.fromkeys(item["topic"] for item in findings)) == [
        "system", "packages", "extras", "devices", "folders", *(
            ["settings"] if any(item["topic"] == "settings" for item in findings) else []
        ), "grading",
    ]  # fmt: skip
    assert all(set(item) == {"topic", "name", "status", "value", "advice"} for item in findings)
    own = {item["name"]: item for item in findings}
    assert own["torch"]["value"].startswith("2.")
    assert own["worker"]["value"] == "started, and decided an integral"
    status, lines, _ = command("doctor")
    assert status == 0
    assert lines.splitlines()[0] == "system"
    assert lines.count("\n") == len(findings) + len({item["topic"] for item in findings}) + 1
    missing = sum(item["status"] == "missing" for item in findings)
    assert lines.splitlines()[-1] == f"0 broken, {missing} missing"
    named = [line for line in lines.splitlines() if line.startswith("  missing")]
    assert all("; " in line for line in named)


def test_a_machine_with_the_core_s_packages_alone_has_one_line_for_each_that_is_missing(tmp_path):
    done = run_on(machine(tmp_path), "doctor", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    own = found(done)
    assert own["numpy"]["status"] == own["gymnasium"]["status"] == "ok"
    for name in set(PURPOSE) - {"numpy", "gymnasium"}:
        assert (own[name]["status"], own[name]["value"]) == (
            "missing", f"not installed; needed for {PURPOSE[name]}",
        )  # fmt: skip
        assert own[name]["advice"] == "pip install -c constraints.txt -e ."
    assert own["worker"]["status"] == "missing"
    assert all(own[name]["status"] == "missing" for name in EXTRAS)
    lines = run_on(tmp_path, "doctor").stdout.splitlines()
    assert sum("not installed; needed for" in line for line in lines) == len(PURPOSE) - 2


@pytest.mark.parametrize("words", [("train", "grpo"), ("problems", "list"), ("eval",)])
def test_other_commands_name_the_first_missing_package_in_one_line(tmp_path, words):
    done = run_on(machine(tmp_path), *words)
    assert done.returncode == 2
    assert done.stderr.startswith("reason-env: error: the package '")
    assert done.stderr.endswith("see what is missing: reason-env doctor\n")
    assert done.stderr.count("\n") == 1


def test_a_package_that_is_too_old_or_whose_import_fails_or_dies_is_broken(tmp_path):
    fakes = [
        ("torch", "2.13.0", "raise OSError('libcudart.so.12: cannot open shared object file')"),
        ("safetensors", "0.8.0", "import os; os._exit(7)"),
        ("peft", "0.2.0", ""),
        ("tyro", "1.0", "print('tyro greets')"),
    ]
    done = run_on(machine(tmp_path, fakes), "doctor", "--json")
    assert done.returncode == 1
    own = found(done)
    assert own["torch"]["value"] == (
        "2.13.0, but its import fails: OSError: libcudart.so.12: cannot open shared object file"
    )
    assert own["torch"]["advice"] == "pip install --force-reinstall 'torch>=2.9'"
    assert own["safetensors"]["value"].endswith("fails: the process ended with status 7")
    assert own["peft"]["value"] == "0.2.0, must be >=0.17; needed for --lora.rank, and adapters"
    assert own["tyro"]["status"] == "ok"
    assert [name for name, item in own.items() if item["status"] == "broken"] == [
        "torch", "safetensors", "peft",
    ]  # fmt: skip
    text = run_on(tmp_path, "doctor")
    assert text.returncode == 1
    assert text.stdout.splitlines()[-1].startswith("3 broken, ")


def test_a_core_package_that_is_not_installed_is_broken_and_an_extra_out_of_its_limits_missing():
    lines = ("gymnasium>=1.2", "numpy>=99", 'gguf>=99; extra == "smollm2"', "no-such-package>=1")
    asked = [read_requirement(line) for line in lines]
    core = required(asked[1:2], {})
    assert core[0].status == "broken"
    assert core[0].advice == "pip install 'numpy>=99'"
    own = {item.name: item for item in extras(asked)}
    assert own["smollm2"].status == "missing"
    assert own["smollm2"].value.endswith(", must be >=99")


def test_folders_that_cannot_be_written_say_what_to_set(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "new" / "hub"))
    own = {item.name: item for item in folders()}
    assert own["converted models"].status == "missing"
    assert own["converted models"].value.endswith("cannot be written")
    assert own["converted models"].advice == "set XDG_CACHE_HOME, or change its permissions"
    assert own["hub models"].status == "ok"
    assert own["hub models"].value.endswith("made when it is needed")
    assert not (tmp_path / "new").exists()


def test_no_token_and_no_proxy_is_shown(tmp_path):
    secret = "hf_" + "x" * 34
    hidden = {"HF_TOKEN": secret, "WANDB_API_KEY": secret, "HTTPS_PROXY": f"http://a:{secret}@b"}
    for words in (("doctor",), ("doctor", "--json")):
        done = run_on(machine(tmp_path) if words == ("doctor",) else tmp_path, *words, **hidden)
        assert "HF_TOKEN" in done.stdout
        assert "set; its value is not shown" in done.stdout
        assert secret not in done.stdout + done.stderr


def test_help_and_a_wrong_flag(command, refused):
    assert "Exit\nstatus 1 if something that is there is broken." in command("doctor", "--help")[1]
    assert refused("doctor", "--jsn") == (
        "reason-env: error: reason-env doctor has no flag '--jsn'; did you mean '--json'?; see: "
        "reason-env doctor --help"
    )


def test_every_requirement_and_every_extra_has_its_purpose():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {read_requirement(line).package for line in project["dependencies"]}
    assert asked == set(PURPOSE)
    assert set(project["optional-dependencies"]) == set(EXTRAS)
    assert set(HOW) <= set(EXTRAS)
    assert HOW["smollm2"] in INSTALL_SMOLLM2.replace("`", "").replace("run ", "")
