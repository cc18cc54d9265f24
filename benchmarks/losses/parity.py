r"""Compare our losses and gradients with TRL 1.16.0 and verl 0.9.1, on CPU in float64.

The two libraries need a separate environment, because verl pins other versions:

    pip install torch==2.13.0 transformers==5.19.0 trl==1.16.0
    pip install --no-deps verl==0.9.1 tensordict==0.10.0 omegaconf hydra-core ray codetiming \
        antlr4-python3-runtime==4.9.3 orjson importlib_metadata zipp cloudpickle jsonschema \
        referencing rpds-py jsonschema-specifications attrs protobuf requests urllib3 certifi \
        charset-normalizer msgpack pyvers tensorboard torchdata

There, `python benchmarks/losses/parity.py --write tests/fixtures/loss_parity.json` writes the two
libraries' numbers, without importing reason_env. In our environment, `python
benchmarks/losses/parity.py` compares ours with the written numbers and prints a table; the test
compares too. Each setting is one loss, in our options, TRL's and verl's.

The settings remove these differences: verl always has a dual clip (1e9 turns it off); TRL's CISPO
limit is absolute, without a lower limit; TRL multiplies k3 by the ratio by default. These remain:
verl adds 1e-8 to a sequence's length, and clamps log-ratios to +-20 and k3 to 10.
"""

import argparse
import json
import os
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

FIXTURE = Path(__file__).parents[2] / "tests" / "fixtures" / "loss_parity.json"
MAX_TOKENS = 13
"""Response budget of the settings that divide by it; not the padded width."""
CAP = 1.3

NEAR, FAR = "near", "far"
"""Inputs whose policy is near to, or far from, the old policy."""

BASE = {"importance_weight_cap": None}
NO_DUAL = 1e9

SETTINGS: dict[str, dict[str, Any]] = {
    "dapo": {
        "ours": {"clip_low": 0.2, "clip_high": 0.28, "aggregation": "token_mean"},
        "trl": {"loss_type": "dapo", "low": 0.2, "high": 0.28},
        "verl": {"low": 0.2, "high": 0.28},
    },
    "dapo_far": {
        "inputs": FAR,
        "ours": {"clip_low": 0.2, "clip_high": 0.28, "aggregation": "token_mean"},
        "trl": {"loss_type": "dapo", "low": 0.2, "high": 0.28},
        "verl": {"low": 0.2, "high": 0.28},
    },
    "dual_clip": {
        "inputs": FAR,
        "ours": {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": 1.9, "aggregation": "token_mean"},
        "trl": {"loss_type": "dapo", "low": 0.2, "high": 0.28, "delta": 1.9},
        "verl": {"low": 0.2, "high": 0.28, "dual": 1.9},
    },
    "grpo": {
        "ours": {"clip_low": 0.1, "clip_high": 0.3, "aggregation": "seq_mean_token_mean"},
        "trl": {"loss_type": "grpo", "low": 0.1, "high": 0.3},
        "verl": {"low": 0.1, "high": 0.3, "aggregation": "seq-mean-token-mean"},
    },
    "dr_grpo": {
        "ours": {"clip_low": 0.1, "clip_high": 0.3, "aggregation": "seq_mean_token_sum"},
        "trl": {"loss_type": "dr_grpo", "low": 0.1, "high": 0.3},
        "verl": {"low": 0.1, "high": 0.3, "aggregation": "seq-mean-token-sum-norm"},
    },
    "token_sum": {
        "ours": {"clip_low": 0.1, "clip_high": 0.3, "aggregation": "seq_mean_token_sum"},
        "max_tokens": 1,
        "verl": {"low": 0.1, "high": 0.3, "aggregation": "seq-mean-token-sum"},
    },
    "bnpo": {
        "ours": {"clip_low": 0.2, "clip_high": 0.28, "aggregation": "token_mean"},
        "trl": {"loss_type": "bnpo", "low": 0.2, "high": 0.28},
    },
    "gspo": {
        "ours": {
            "surrogate": "gspo",
            "clip_low": 0.03,
            "clip_high": 0.04,
            "aggregation": "seq_mean_token_mean",
        },
        "trl": {"loss_type": "grpo", "low": 0.03, "high": 0.04, "level": "sequence"},
        "verl": {"mode": "gspo", "low": 0.03, "high": 0.04, "aggregation": "seq-mean-token-mean"},
    },
    "gspo_far": {
        "inputs": FAR,
        "ours": {
            "surrogate": "gspo",
            "clip_low": 0.2,
            "clip_high": 0.4,
            "aggregation": "seq_mean_token_mean",
        },
        "trl": {"loss_type": "grpo", "low": 0.2, "high": 0.4, "level": "sequence"},
        "verl": {"mode": "gspo", "low": 0.2, "high": 0.4, "aggregation": "seq-mean-token-mean"},
    },
    "cispo_upper": {
        "inputs": FAR,
        "ours": {
            "surrogate": "cispo",
            "clip_low": 1.0,
            "clip_high": 0.28,
            "aggregation": "token_mean",
        },
        "trl": {"loss_type": "cispo", "high": 1.28},
        "verl": {"mode": "cispo", "low": 1e9, "high": 0.28},
    },
    "cispo_both": {
        "inputs": FAR,
        "ours": {
            "surrogate": "cispo",
            "clip_low": 0.1,
            "clip_high": 0.28,
            "aggregation": "token_mean",
        },
        "verl": {"mode": "cispo", "low": 0.1, "high": 0.28},
    },
    "reinforce": {
        "ours": {"surrogate": "reinforce", "aggregation": "seq_mean_token_mean"},
        "verl": {"mode": "gpg", "aggregation": "seq-mean-token-mean"},
    },
    "importance_token": {
        "ours": {
            "clip_low": 0.2,
            "clip_high": 0.28,
            "aggregation": "token_mean",
            "importance_weight_cap": CAP,
        },
        "trl": {"loss_type": "dapo", "low": 0.2, "high": 0.28, "importance": "token"},
        "verl": {"low": 0.2, "high": 0.28, "importance": "token"},
    },
    "importance_sequence": {
        "ours": {
            "clip_low": 0.2,
            "clip_high": 0.28,
            "aggregation": "token_mean",
            "importance_weight_cap": CAP,
            "importance_level": "sequence",
        },
        "trl": {"loss_type": "dapo", "low": 0.2, "high": 0.28, "importance": "sequence"},
        "verl": {"low": 0.2, "high": 0.28, "importance": "sequence"},
    },
    "gspo_importance": {
        "ours": {
            "surrogate": "gspo",
            "clip_low": 0.03,
            "clip_high": 0.04,
            "aggregation": "seq_mean_token_mean",
            "importance_weight_cap": CAP,
        },
        "verl": {
            "mode": "gspo",
            "low": 0.03,
            "high": 0.04,
            "aggregation": "seq-mean-token-mean",
            "importance": "token",
        },
    },
    "kl_k1": {
        "ours": {"kl_coefficient": 0.7, "kl_estimator": "k1", "aggregation": "token_mean"},
        "verl": {"kl": "k1", "beta": 0.7},
    },
    "kl_k2": {
        "ours": {"kl_coefficient": 0.7, "kl_estimator": "k2", "aggregation": "token_mean"},
        "verl": {"kl": "k2", "beta": 0.7},
    },
    "kl_k3": {
        "ours": {"kl_coefficient": 0.7, "kl_estimator": "k3", "aggregation": "token_mean"},
        "trl": {"loss_type": "dapo", "beta": 0.7, "kl_times_ratio": False},
        "verl": {"kl": "low_var_kl", "beta": 0.7},
    },
    "kl_k3_times_ratio": {
        "ours": {"kl_coefficient": 0.7, "kl_times_ratio": True, "aggregation": "token_mean"},
        "trl": {"loss_type": "dapo", "beta": 0.7, "kl_times_ratio": True},
    },
    "kl_k3_weighted_rows": {
        "ours": {
            "kl_coefficient": 0.7,
            "aggregation": "seq_mean_token_mean",
            "importance_weight_cap": CAP,
        },
        "trl": {
            "loss_type": "grpo",
            "beta": 0.7,
            "kl_times_ratio": False,
            "importance": "token",
        },
        "verl": {
            "kl": "k3",
            "beta": 0.7,
            "importance": "token",
            "aggregation": "seq-mean-token-mean",
        },
    },
}
"""Setting -> options of our `LossConfig`, of TRL and of verl; inputs are NEAR by default."""

RETURNS = ([1.0, 0.0, 0.0, 0.0], [0.25, 1.0, 1.0, -0.5], [1.0, 1.0, 1.0, 1.0])
ADVANTAGES: dict[str, dict[str, Any]] = {
    "grpo": {"ours": {"kind": "grpo", "eps": 1e-6}, "verl": "grpo"},
    "dr_grpo": {"ours": {"kind": "mean"}, "verl": "dr_grpo"},
    "rloo": {"ours": {"kind": "rloo"}, "verl": "rloo"},
}


TRL_NAMES = {
    "loss_type": "loss_type",
    "low": "epsilon",
    "high": "epsilon_high",
    "delta": "delta",
    "level": "importance_sampling_level",
    "beta": "beta",
    "kl_times_ratio": "use_bias_correction_kl",
    "importance": "importance_sampling_ratio, by",
}
VERL_NAMES = {
    "mode": "policy_loss.loss_mode",
    "low": "clip_ratio_low",
    "high": "clip_ratio_high",
    "dual": "clip_ratio_c",
    "aggregation": "loss_agg_mode",
    "kl": "kl_loss_type",
    "beta": "kl_loss_coef",
    "importance": "rollout_is",
}
"""Short name in `SETTINGS` -> option of TRL's `GRPOConfig`, and of verl's actor config."""


def switch_table() -> str:
    """Format the settings as a Markdown table of our, TRL's and verl's options for docs/losses.md.

    The test executes every row against the libraries that have it.
    """
    lines = ["| setting | `LossConfig` | TRL 1.16 | verl 0.9.1 |", "|---|---|---|---|"]
    for name, setting in SETTINGS.items():
        if name.endswith("_far"):
            continue  # the same options on other numbers
        cells = [
            _switches(setting.get("ours", {}), {}),
            _switches(setting.get("trl"), TRL_NAMES),
            _switches(setting.get("verl"), VERL_NAMES),
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for name, setting in ADVANTAGES.items():
        ours = _switches(setting["ours"], {key: f"advantage.{key}" for key in setting["ours"]})
        theirs = f"`adv_estimator={setting['verl']}`"
        lines.append(f"| advantage {name} | {ours} | | {theirs} |")
    return "\n".join(lines)


def _switches(options: dict[str, Any] | None, names: dict[str, str]) -> str:
    if options is None:
        return "-"
    return " ".join(f"`{names.get(key, key)}={value}`" for key, value in options.items())


def make_inputs(kind: str) -> dict[str, list[Any]]:
    """Make ragged rows of log-probabilities and advantages; equal at each call.

    The mask of row 2 has a gap (a token of the environment).
    """
    rng = np.random.default_rng(20 if kind == NEAR else 21)
    num_rows, num_tokens = 5, 8
    shape = (num_rows, num_tokens)
    old = -3 * rng.random(shape)
    mask = np.arange(num_tokens)[None] < np.array([8, 2, 7, 4, 5])[:, None]
    mask[2, 3] = False
    return {
        "log_probs": (old + (0.4 if kind == NEAR else 1.2) * rng.normal(size=shape)).tolist(),
        "old": old.tolist(),
        "ref": (old + 0.3 * rng.normal(size=shape)).tolist(),
        "behavior": (old + 0.2 * rng.normal(size=shape)).tolist(),
        "advantages": [1.3, -0.7, 0.4, -1.6, 0.9],
        "mask": mask.astype(int).tolist(),
    }


def _tensors(inputs: dict[str, list[Any]]) -> dict[str, Tensor]:
    tensors = {name: torch.tensor(x, dtype=torch.float64) for name, x in inputs.items()}
    return tensors | {"mask": tensors["mask"].long()}


def _importance_weights(x: dict[str, Tensor], level: str | None) -> Tensor | None:
    """Compute verl's truncated weights, [B, T]; None without a level."""
    if level is None:
        return None
    from verl.trainer.ppo.rollout_corr_helper import (  # pyright: ignore[reportMissingImports]
        compute_rollout_correction_weights,
    )

    return compute_rollout_correction_weights(
        x["old"] - x["behavior"], x["mask"].double(), rollout_is=level, rollout_is_threshold=CAP
    )[0]


def trl_loss(x: dict[str, Tensor], log_probs: Tensor, options: dict[str, Any]) -> Tensor:
    """Compute the loss of TRL's `GRPOTrainer._compute_loss`, called with a fake trainer."""
    from trl import GRPOTrainer  # pyright: ignore[reportMissingImports]

    weights = _importance_weights(x, options.get("importance"))
    beta = options.get("beta", 0.0)
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (
            log_probs,
            torch.zeros_like(log_probs),
            None,
        ),
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
        accelerator=SimpleNamespace(
            num_processes=1,
            sync_gradients=True,
            gather=lambda t: t,
            gather_for_metrics=lambda t: t,
            reduce=lambda t, reduction="sum": t,
        ),
        args=SimpleNamespace(
            delta=options.get("delta"),
            steps_per_generation=1,
            use_bias_correction_kl=options.get("kl_times_ratio", False),
        ),
        aux_loss_enabled=False,
        beta=beta,
        current_gradient_accumulation_steps=1,
        epsilon_low=options.get("low", 0.2),
        epsilon_high=options.get("high", 0.2),
        importance_sampling_level=options.get("level", "token"),
        loss_type=options["loss_type"],
        max_completion_length=MAX_TOKENS,
        model=SimpleNamespace(training=True),
        off_policy_mask_threshold=None,
        top_entropy_quantile=1.0,
        use_vllm=weights is not None,
        vllm_importance_sampling_correction=True,
    )
    num_rows = len(log_probs)
    inputs = {
        "prompt_ids": torch.zeros(num_rows, 1, dtype=torch.long),
        "prompt_mask": torch.ones(num_rows, 1, dtype=torch.long),
        "completion_ids": torch.zeros_like(x["mask"]),
        "completion_mask": x["mask"],
        "advantages": x["advantages"],
        "old_per_token_logps": x["old"],
        "num_items_in_batch": x["mask"].sum(),
        "ref_per_token_logps": x["ref"],
        "importance_sampling_ratio": weights,
    }
    return GRPOTrainer._compute_loss(trainer, None, inputs)


def verl_loss(x: dict[str, Tensor], log_probs: Tensor, options: dict[str, Any]) -> Tensor:
    """Compute the loss of verl's `core_algos`, with the KL term added as in verl's actor."""
    from verl.trainer.ppo import core_algos  # pyright: ignore[reportMissingImports]
    from verl.workers.config import ActorConfig  # pyright: ignore[reportMissingImports]

    low, high = options.get("low", 0.2), options.get("high", 0.2)
    config = ActorConfig(
        strategy="fsdp",
        rollout_n=8,
        ppo_micro_batch_size_per_gpu=1,
        clip_ratio=low,
        clip_ratio_low=low,
        clip_ratio_high=high,
        clip_ratio_c=options.get("dual", NO_DUAL),
    )
    config.global_batch_info.update(loss_scale_factor=MAX_TOKENS)
    mask = x["mask"].double()
    aggregation = options.get("aggregation", "token-mean")
    loss, _ = core_algos.get_policy_loss_fn(options.get("mode", "vanilla"))(
        old_log_prob=x["old"],
        log_prob=log_probs,
        advantages=x["advantages"][:, None] * mask,
        response_mask=mask,
        loss_agg_mode=aggregation,
        config=config,
        rollout_is_weights=_importance_weights(x, options.get("importance")),
    )
    if "kl" in options:
        kl = core_algos.kl_penalty(log_probs, x["ref"], options["kl"])
        loss = loss + options["beta"] * core_algos.agg_loss(kl, mask, aggregation)
    return loss


def verl_advantages(returns: list[float], name: str) -> list[float]:
    """Compute verl's advantages of one group, with rewards on the last of three tokens."""
    from verl.trainer.ppo import core_algos  # pyright: ignore[reportMissingImports]

    rewards = torch.zeros(len(returns), 3, dtype=torch.float64)
    rewards[:, -1] = torch.tensor(returns, dtype=torch.float64)
    mask, index = torch.ones_like(rewards), np.zeros(len(returns), dtype=int)
    if name == "rloo":
        advantages, _ = core_algos.compute_rloo_outcome_advantage(rewards, mask, index)
    else:
        advantages, _ = core_algos.compute_grpo_outcome_advantage(
            rewards, mask, index, norm_adv_by_std_in_grpo=name == "grpo"
        )
    return advantages[:, 0].tolist()


def our_loss(x: dict[str, Tensor], log_probs: Tensor, setting: dict[str, Any]) -> Tensor:
    """Compute our loss of a setting."""
    from reason_env.agents.learning import LossConfig
    from reason_env.agents.learning.aggregate import LossTotals
    from reason_env.agents.learning.loss import policy_loss

    return policy_loss(
        log_probs,
        x["old"],
        x["advantages"][:, None].expand_as(log_probs),
        x["mask"],
        config=LossConfig(**(BASE | setting["ours"])),
        totals=LossTotals.of(x["mask"], setting.get("max_tokens", MAX_TOKENS)),
        ref_log_probs_BT=x["ref"],
        behavior_log_probs_BT=x["behavior"],
    ).loss


def _value_and_gradient(loss: Any, x: dict[str, Tensor], options: Any) -> dict[str, Any]:
    log_probs = x["log_probs"].clone().requires_grad_()
    value = loss(x, log_probs, options)
    (gradient,) = torch.autograd.grad(value, log_probs)
    return {"loss": value.item(), "gradient": gradient.tolist()}


def write(path: Path) -> None:
    """Compute every setting with the two libraries and write the fixture."""
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    inputs = {kind: make_inputs(kind) for kind in (NEAR, FAR)}
    libraries = {"trl": trl_loss, "verl": verl_loss}
    losses = {
        f"{name}/{library}": _value_and_gradient(
            loss, _tensors(inputs[setting.get("inputs", NEAR)]), setting[library]
        )
        for name, setting in SETTINGS.items()
        for library, loss in libraries.items()
        if library in setting
    }
    advantages = {
        name: [verl_advantages(returns, entry["verl"]) for returns in RETURNS]
        for name, entry in ADVANTAGES.items()
    }
    value = {"inputs": inputs, "losses": losses, "advantages": advantages}
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")


def run(case: str) -> dict[str, Any]:
    """Compute our numbers of a case, `<setting>/<library>`, and read the written ones."""
    frozen = json.loads(FIXTURE.read_text())
    setting = SETTINGS[case.partition("/")[0]]
    x = _tensors(frozen["inputs"][setting.get("inputs", NEAR)])
    return {"ours": _value_and_gradient(our_loss, x, setting), "theirs": frozen["losses"][case]}


def score(rows: dict[str, dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Compute the relative difference of each case's loss, and the largest of its gradient."""
    scores = {}
    for case, row in rows.items():
        ours, theirs = np.array(row["ours"]["gradient"]), np.array(row["theirs"]["gradient"])
        scale = np.where(theirs == 0, 1.0, np.abs(theirs))
        loss = abs(row["ours"]["loss"] / row["theirs"]["loss"] - 1)
        scores[case] = (loss, float((np.abs(ours - theirs) / scale).max()))
    return scores


def main() -> None:
    """Write the fixture, or compare with it and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", type=Path, help="file to write the libraries' numbers to")
    target = parser.parse_args().write
    if target is not None:
        write(target)
        return
    cases = json.loads(FIXTURE.read_text())["losses"]
    print(f"{'case':28s} {'loss, relative':>14s} {'gradient, relative':>18s}")
    for case, (loss, gradient) in score({case: run(case) for case in cases}).items():
        print(f"{case:28s} {loss:14.1e} {gradient:18.1e}")


if __name__ == "__main__":
    main()
