"""What may open a connection, run a model's code or read a pickle: found in the sources."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("reason_env", "agents", "wrappers", "benchmarks")
NETWORK = {
    "aiohttp", "asyncio", "fastapi", "ftplib", "http", "httpx", "huggingface_hub", "imaplib",
    "openenv", "poplib", "ray", "requests", "smtplib", "socket", "socketserver", "ssl", "starlette",
    "telnetlib", "trackio", "urllib.request", "urllib3", "uvicorn", "verifiers", "wandb",
    "webbrowser", "websockets", "xmlrpc",
}  # fmt: skip
CONNECTS = {
    # To vLLM, in a process of this machine or at the address that the user gives.
    ("agents/engines/vllm/channel.py", "socket"),
    ("agents/engines/vllm/host.py", "socket"),
    ("agents/engines/vllm/http.py", "http.client"),
    ("agents/engines/vllm/http.py", "urllib.request"),
    ("agents/engines/vllm/local.py", "socket"),
    ("agents/engines/vllm/server.py", "socket"),
    # To a Ray cluster, of this process or at the address that the user gives.
    ("agents/engines/ray/actors.py", "ray"),
    # To a tracker, if `--track` names it.
    ("agents/runs/tracking.py", "trackio"),
    ("agents/runs/tracking.py", "wandb"),
    # It reads and writes the head of model cards, in files.
    ("agents/policy/card.py", "huggingface_hub"),
    # It quiets the hub client's own warnings.
    ("agents/engines/transformers_logging.py", "huggingface_hub.utils"),
    # A thread of its agent loop waits for servers that verl asks.
    ("agents/integrations/verl/loop.py", "asyncio"),
    # `reason-env serve` listens at the address that the user gives, and its client connects to one.
    ("agents/integrations/openenv.py", "fastapi"),
    ("agents/integrations/openenv.py", "openenv.core.client_types"),
    ("agents/integrations/openenv.py", "openenv.core.env_client"),
    ("agents/integrations/openenv.py", "openenv.core.env_server.http_server"),
    ("agents/integrations/openenv.py", "openenv.core.env_server.interfaces"),
    ("agents/integrations/openenv.py", "openenv.core.env_server.types"),
    ("agents/integrations/openenv.py", "socket"),
    ("agents/integrations/openenv.py", "uvicorn"),
    # Types of tasks; who runs verifiers' commands connects to the models that they name.
    ("agents/integrations/verifiers.py", "verifiers.v1"),
    # Limits of time, threads, and queues in one process.
    ("agents/integrations/verifiers.py", "asyncio"),
    ("benchmarks/environments/serving.py", "asyncio"),
    ("benchmarks/security/openenv_messages.py", "asyncio"),
    ("reason_env/serving/gate.py", "asyncio"),
    # Names of exceptions alone.
    ("agents/policy/load.py", "huggingface_hub.errors"),
}
"""(file, module): the imports of modules that can open a connection."""
HUB = {
    "cached_file", "file_exists", "from_pretrained", "hf_hub_download", "load_dataset",
    "load_from_disk", "snapshot_download", "list_repo_files", "push_to_hub", "urlopen",
}  # fmt: skip
LOADS = {
    ("agents/policy/adapter_files.py", "from_pretrained"),
    ("agents/policy/gguf.py", "from_pretrained"),
    ("agents/policy/load.py", "from_pretrained"),
    ("agents/pretraining/pretrain.py", "from_pretrained"),
    ("benchmarks/engines/trl_race.py", "from_pretrained"),
    ("reason_env/codec/load.py", "cached_file"),
    ("reason_env/codec/load.py", "from_pretrained"),
    ("reason_env/problems/files/hub.py", "load_dataset"),
    ("reason_env/problems/files/hub.py", "load_from_disk"),
}
"""(file, call): the calls that read a model or data set by its name, from the hub if need be."""
EXECUTES = {"benchmarks/losses/released.py", "benchmarks/methods/released.py"}
"""Benchmarks that run functions of another project's release, whose folder a person names."""
PICKLES = {"joblib", "load_pickle", "read_pickle", "unsafe_load", "full_load", "torch_load"}
MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}


def sources():
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).parts
            if not (folder == "reason_env" and parts[1] in ("agents", "wrappers")):
                yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))


SOURCES = dict(sources())


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) == "import_module":
            yield from (item.value for item in node.args if isinstance(item, ast.Constant))


def called(node):
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def connecting(tree):
    """Names of modules that can connect; `from urllib import request` is one too."""
    return {
        name
        for name in imported(tree)
        if any(name == module or name.startswith(f"{module}.") for module in NETWORK)
    }


def test_modules_that_can_connect_are_imported_only_where_this_list_says():
    found = set()
    for path, tree in SOURCES.items():
        names = connecting(tree)
        # `from http.client import X` names the module and the thing.
        found |= {
            (path, name)
            for name in names
            if not any(name.startswith(f"{other}.") for other in names)
        }
    assert found == CONNECTS


def test_models_and_data_sets_are_loaded_by_name_only_where_this_list_says():
    found = {
        (path, called(node))
        for path, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and called(node) in HUB
    }
    # `policy = X.from_pretrained` without a call would hide one.
    assert found == LOADS


def test_no_model_s_own_code_runs_and_weights_are_safetensors():
    for path, call in LOADS:
        if call != "from_pretrained" or path.startswith("benchmarks"):
            continue
        for node in ast.walk(SOURCES[path]):
            if isinstance(node, ast.Call) and called(node) == call:
                given = {item.arg: item.value for item in node.keywords}
                name = ast.unparse(node.func)
                if "Auto" in name or "loader" in name:
                    assert ast.unparse(given["trust_remote_code"]) == "False", path
                if name in ("AutoModelForCausalLM.from_pretrained",) and "gguf_file" not in given:
                    assert ast.unparse(given["use_safetensors"]) == "True", path
    for path, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "allow_pickle"):
                assert ast.unparse(node.value) == "False", path


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_room_has_a_load_path_that_can_execute(folder):
    found = []
    for path, tree in SOURCES.items():
        if not path.startswith(f"{folder}/") or path in EXECUTES:
            continue
        names = set(imported(tree))
        found += [f"{path}: import {name}" for name in names if name.split(".")[0] in MODULES]
        for node in ast.walk(tree):
            # `yaml.safe_load` builds plain values; by another name it is not told apart.
            if isinstance(node, ast.ImportFrom) and node.module == "yaml":
                found.append(f"{path}:{node.lineno}: from yaml import")
            if not isinstance(node, ast.Call):
                continue
            name, whole = called(node), ast.unparse(node.func)
            given = {item.arg: ast.unparse(item.value) for item in node.keywords}
            if name in PICKLES or whole in ("eval", "exec", "compile", "__import__", "yaml.load"):
                found.append(f"{path}:{node.lineno}: {whole}")
            if whole in ("torch.load", "load") and whole == "torch.load":
                found.append(f"{path}:{node.lineno}: {whole}")
            if whole in ("np.load", "numpy.load") and given.get("allow_pickle") != "False":
                found.append(f"{path}:{node.lineno}: {whole} without allow_pickle=False")
            if given.get("shell") == "True":
                found.append(f"{path}:{node.lineno}: shell=True")
    assert found == []


def test_the_checks_find_what_they_look_for():
    text = "import urllib.request as u\nfrom http import client\nimport_module('wandb')\n"
    assert connecting(ast.parse(text)) == {"urllib.request", "http", "http.client", "wandb"}
    assert len(SOURCES) > 200
