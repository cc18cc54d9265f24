"""A token that a user has is in no file of a run, in no report, and in no message."""

import logging
from dataclasses import replace

import pytest

from reason_env.agents.engines import EngineConfig
from reason_env.agents.runs import RunDir, config_json
from reason_env.agents.runs.provenance import provenance
from reason_env.agents.train import TrainConfig
from reason_env.errors import ConfigError, redacted

TOKEN = "hf_" + "aB3" * 12
TINY = (
    "train", "grpo", "--size", "2", "--levels", "3", "--problems-per-iteration", "1",
    "--group-size", "2", "--max-tokens", "16", "--iterations", "1", "--eval.num-problems", "1",
    "--eval.samples", "1", "--eval.k", "1", "--eval.greedy", "False",
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"a {TOKEN}.", "a ***."),
        ("http://ada:secret@host:8000/x", "http://***@host:8000/x"),
        ("https://secret@host", "https://***@host"),
        ("https://host/a@b", "https://host/a@b"),
        ("hf_short and shelf_life", "hf_short and shelf_life"),
        ("mail ada@host", "mail ada@host"),
    ],
)
def test_tokens_and_passwords_are_replaced_and_nothing_else_is(text, shown):
    assert redacted(text) == shown


@pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY"])
def test_a_value_of_a_token_variable_is_replaced_whatever_it_looks_like(monkeypatch, name):
    monkeypatch.setenv(name, "0123456789abcdef")
    assert redacted("key 0123456789abcdef!") == "key ***!"
    monkeypatch.setenv(name, "a")
    assert redacted("a cat") == "a cat"


def test_no_file_of_a_run_and_no_report_holds_the_token_of_the_environment(
    command, tmp_path, monkeypatch
):
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY"):
        monkeypatch.setenv(name, TOKEN)
    monkeypatch.setenv("HTTPS_PROXY", f"http://ada:{TOKEN}@127.0.0.1:9")
    status, text, error = command(*TINY, "--out", str(tmp_path / "run"))
    assert status == 0, error
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"config.json", "provenance.json", "metrics.jsonl", "report.html"} <= {
        path.name for path in files
    }
    assert TOKEN not in text + error
    for path in files:
        assert TOKEN.encode() not in path.read_bytes(), path


def test_a_config_that_holds_a_token_is_refused_before_a_file_is_written(tmp_path):
    config = TrainConfig(model=f"https://ada:{TOKEN}@hub.example/model")
    with pytest.raises(ConfigError, match="TrainConfig must hold no token and no password") as told:
        RunDir.create(tmp_path / "run", config, command=[])
    assert TOKEN not in str(told.value)
    assert not (tmp_path / "run").exists()
    assert config_json.dump(replace(config, model="owner/name"))


@pytest.mark.parametrize("url", ["http://a:b@host:1", "http://a@host", "http://host?key=b"])
def test_an_engine_s_address_holds_no_password(url):
    with pytest.raises(ConfigError, match="server_url must hold neither a user nor a password"):
        EngineConfig(kind="vllm_server", server_url=url, sync_dir="x")


def test_the_command_of_a_provenance_holds_no_token():
    words = ["reason-env", "train", "grpo", "--model", f"https://{TOKEN}@hub.example/m"]
    assert provenance(command=words, device="cpu")["command"] == [
        "reason-env", "train", "grpo", "--model", "https://***@hub.example/m",
    ]  # fmt: skip


def test_messages_and_warnings_of_the_command_line_hold_no_token(refused, command, monkeypatch):
    line = refused("eval", "--model", f"https://ada:{TOKEN}@hub.example/a/b")
    assert TOKEN not in line
    assert "https://***@hub.example/a/b" in line

    def warns(words):
        logging.getLogger("reason_env").warning("loading with %s", TOKEN)

    monkeypatch.setattr("reason_env.cli._command", warns)
    root = logging.getLogger()
    before = root.handlers[:]
    monkeypatch.setattr(root, "handlers", [])
    status, _, error = command("eval")
    assert (status, error) == (0, "reason-env: WARNING: loading with ***\n")
    root.handlers = before
