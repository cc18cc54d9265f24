"""Run directories: config, provenance, metrics, episodes and checkpoints."""

from reason_env.agents.runs.checkpoint import (
    Checkpoint,
    CheckpointConfig,
    SavesModel,
    WritesState,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
    whole_checkpoint,
)
from reason_env.agents.runs.config_json import FLAT, ByKind
from reason_env.agents.runs.config_tree import (
    Tree,
    differences,
    leaves,
    merged,
    set_leaf,
    tree_of,
    with_current_keys,
)
from reason_env.agents.runs.files import (
    check_free,
    cut_file,
    iteration_of,
    iteration_paths,
    read_lines,
    write_shared,
    write_text,
)
from reason_env.agents.runs.lock import locked
from reason_env.agents.runs.model_dir import export_model, model_directory
from reason_env.agents.runs.pending_checkpoint import CheckpointWriter
from reason_env.agents.runs.run_dir import RunDir
from reason_env.agents.runs.tracking import (
    TENSORBOARD,
    check_trackers,
    how_to_show,
    tracker_names,
)

__all__ = [
    "FLAT",
    "TENSORBOARD",
    "ByKind",
    "Checkpoint",
    "CheckpointConfig",
    "CheckpointWriter",
    "RunDir",
    "SavesModel",
    "Tree",
    "WritesState",
    "check_free",
    "check_trackers",
    "cut_file",
    "differences",
    "export_model",
    "how_to_show",
    "iteration_of",
    "iteration_paths",
    "latest_checkpoint",
    "leaves",
    "load_checkpoint",
    "locked",
    "merged",
    "model_directory",
    "read_lines",
    "save_checkpoint",
    "set_leaf",
    "tracker_names",
    "tree_of",
    "whole_checkpoint",
    "with_current_keys",
    "write_shared",
    "write_text",
]
