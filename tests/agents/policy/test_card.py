import json
import logging

import pytest
from huggingface_hub import ModelCard as HubCard

from reason_env.agents.policy import Figure, ModelCard, hub_name, licence_of

FIGURES = (
    Figure(name="pass@1", value=0.25, data="chain", split="test"),
    Figure(name="pass@4", value=0.5, data="chain", split="test"),
)


def card(**changes):
    return ModelCard(**{"title": "a: model", "text": "Text.\n", "licence": "mit"} | changes)


def test_the_hub_reads_a_card_as_it_was_written(tmp_path):
    own = card(base_model="owner/name", tags=("grpo",), figures=FIGURES)
    own.write(tmp_path)
    found = HubCard.load(tmp_path / "README.md")
    assert found.text.strip() == "# a: model\n\nText."
    assert found.data.license == "mit"
    assert found.data.base_model == "owner/name"
    assert found.data.library_name == "transformers"
    assert found.data.tags == ["reason-env", "grpo"]
    read = [
        (own.dataset_name, own.dataset_split, own.metric_type, own.metric_value)
        for own in found.data.eval_results
    ]
    assert read == [("chain", "test", "pass@1", 0.25), ("chain", "test", "pass@4", 0.5)]


def test_the_card_of_an_adapter_names_the_library_that_loads_it(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    card().write(tmp_path)
    assert HubCard.load(tmp_path / "README.md").data.library_name == "peft"


def test_the_licence_of_a_model_is_that_of_its_card(tmp_path):
    card(licence="llama3.2").write(tmp_path)
    assert licence_of(str(tmp_path)) == "llama3.2"
    assert licence_of("base") == licence_of("smollm2") == "apache-2.0"


def test_a_model_whose_files_name_no_licence_has_an_unknown_one(tmp_path, caplog):
    for name, text in (("none", None), ("plain", "# A model\n"), ("odd", "---\nlicense: 3\n---\n")):
        folder = tmp_path / name
        folder.mkdir()
        if text is not None:
            (folder / "README.md").write_text(text)
        assert licence_of(str(folder)) == "unknown"
    assert licence_of(str(tmp_path / "absent")) == licence_of("owner/absent") == "unknown"
    assert caplog.messages == []


@pytest.mark.parametrize("head", ["license: [", "- mit"])
def test_a_damaged_card_is_named_and_ends_nothing(tmp_path, caplog, head):
    (tmp_path / "README.md").write_text(f"---\n{head}\n---\n")
    with caplog.at_level(logging.WARNING):
        assert licence_of(str(tmp_path)) == "unknown"
    (warning,) = caplog.messages
    assert warning.startswith(f"the card '{tmp_path / 'README.md'}' cannot be read")


def test_an_adapter_without_a_card_has_the_licence_of_its_base(tmp_path):
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    base.mkdir()
    adapter.mkdir()
    card(licence="cc-by-4.0").write(base)
    config = {"base_model_name_or_path": str(base)}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    assert licence_of(str(adapter)) == "cc-by-4.0"
    card(licence="mit").write(adapter)
    assert licence_of(str(adapter)) == "mit"


def test_only_models_of_the_hub_have_a_name_there(tmp_path):
    assert hub_name("owner/name") == "owner/name"
    assert hub_name("smollm2") == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert hub_name("base") is hub_name(str(tmp_path)) is None
