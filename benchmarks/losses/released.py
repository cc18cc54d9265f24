r"""Compare distillation and advantages of tokens with released code, on CPU in float64.

The functions are taken by name out of checkouts of the releases, and nothing is installed:

    python benchmarks/losses/released.py --write --trl TRL --opsd OPSD --sdpo SDPO --verl VERL

where the four are folders of huggingface/trl f2cd577 (1.10.0.dev0), siyan-zhao/OPSD 590ec26,
lasgroup/SDPO 0e6d510 and volcengine/verl b178a3c. It writes their numbers to
tests/fixtures/released_losses.json; without arguments, ours are compared with the written numbers;
the test compares too. Read the functions in `FUNCTIONS` before you run them.

Differences that the settings remove: TRL's and OPSD's `beta` and SDPO's `alpha` are 0 for our
`forward`, 1 for `reverse`, and our `mixture` between. OPSD takes the teacher's likeliest ids and
renormalises; SDPO and TRL's SDPO take the policy's, with a tail or renormalised. SDPO multiplies
each token's divergence by two ratios, both capped.
"""

import argparse
import ast
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

FIXTURE = Path(__file__).parents[2] / "tests" / "fixtures" / "released_losses.json"
FUNCTIONS = {
    "trl": (
        ("trl/experimental/gkd/gkd_trainer.py", "generalized_jsd_loss"),
        ("trl/experimental/sdpo/loss_utils.py", "compute_divergence"),
        ("trl/experimental/sdpo/loss_utils.py", "add_tail_bucket"),
        ("trl/experimental/sdpo/loss_utils.py", "compute_topk_self_distillation_loss"),
        ("trl/trainer/utils.py", "nanmin"),
        ("trl/trainer/utils.py", "nanmax"),
        ("trl/trainer/grpo_trainer.py", "_compute_loss"),
    ),
    "opsd": (("opsd_trainer.py", "generalized_jsd_loss"),),
    "sdpo": (
        ("verl/utils/torch_functional.py", "masked_sum"),
        ("verl/trainer/ppo/core_algos.py", "agg_loss"),
        ("verl/trainer/ppo/core_algos.py", "compute_self_distillation_loss"),
    ),
    "verl": (
        ("verl/utils/torch_functional.py", "masked_sum"),
        ("verl/utils/torch_functional.py", "masked_mean"),
        ("verl/trainer/ppo/core_algos.py", "agg_loss"),
        ("verl/trainer/ppo/core_algos.py", "compute_policy_loss_vanilla"),
    ),
}
"""Release -> the files and functions that are run."""
CAP, RATIO_CAP = 1.3, 1.1

DISTILLED: dict[str, dict[str, Any]] = {
    "forward": {"ours": {"divergence": "forward"}, "beta": 0.0},
    "reverse": {"ours": {"divergence": "reverse"}, "beta": 1.0},
    "jensen_shannon": {"ours": {"divergence": "jensen_shannon", "mixture": 0.3}, "beta": 0.3},
    "warm": {"ours": {"divergence": "jensen_shannon"}, "beta": 0.5, "temperature": 1.3},
    "teacher_top": {
        "ours": {"top_k": 3, "support": "teacher", "tail": False, "mixture": 0.3},
        "beta": 0.3,
        "top_k": 3,
        "releases": ("opsd",),
    },
    **{
        f"{'tail' if tail else 'top'}_{name}": {
            "ours": {"divergence": name, "mixture": 0.3, "top_k": 3, "tail": tail},
            "beta": beta,
            "top_k": 3,
            "tail": tail,
            "releases": ("trl_sdpo", "sdpo"),
        }
        for tail in (True, False)
        for name, beta in (("forward", 0.0), ("reverse", 1.0), ("jensen_shannon", 0.3))
    },
}
"""Name -> our settings and theirs; the releases are trl and opsd if not given."""
CLIPPED: dict[str, dict[str, Any]] = {
    "token_mean": {"ours": "token_mean", "trl": "dapo", "verl": "token-mean"},
    "sequence_mean": {"ours": "seq_mean_token_mean", "trl": "grpo", "verl": "seq-mean-token-mean"},
}
"""Averages of the clipped surrogate with an advantage for each token."""
LOW, HIGH, DUAL = 0.2, 0.28, 1.9


def functions_of(release: str, folder: Path) -> dict[str, Callable[..., Any]]:
    """Compile a release's functions, without importing its package."""
    scope: dict[str, Any] = {"torch": torch, "F": torch.nn.functional, "Any": Any}
    for file, name in FUNCTIONS[release]:
        tree = ast.parse((folder / file).read_text(encoding="utf-8"))
        found = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node.name == name
        ]
        assert len(found) == 1, f"{file} must hold one {name}"
        node = found[0]
        node.decorator_list = []
        node.returns = None
        for argument in (*node.args.args, *node.args.kwonlyargs):
            argument.annotation = None
        code = compile(ast.Module(body=[node], type_ignores=[]), file, "exec")
        exec(code, scope)  # noqa: S102 - reviewed functions of the named releases
    scope["verl_F"] = SimpleNamespace(**{n: scope.get(n) for n in ("masked_sum", "masked_mean")})
    return scope


def make_inputs() -> dict[str, list[Any]]:
    """Make logits and log-probabilities of ragged rows; equal at each call.

    Row 1 is short; the mask of row 2 has a gap; row 3 has no teacher.
    """
    rng = np.random.default_rng(22)
    rows, tokens, size = 4, 5, 7
    mask = np.arange(tokens)[None] < np.array([5, 2, 5, 4])[:, None]
    mask[2, 3] = False
    policy = 1.5 * rng.normal(size=(rows, tokens, size))
    ids = rng.integers(size, size=(rows, tokens))
    shape = (rows, tokens)
    return {
        "policy": policy.tolist(),
        "teacher": (policy + rng.normal(size=policy.shape)).tolist(),
        "ids": ids.tolist(),
        "moved": (0.3 * rng.normal(size=shape)).tolist(),
        "gap": (0.2 * rng.normal(size=shape)).tolist(),
        "advantages": (rng.normal(size=shape) * mask).tolist(),
        "mask": mask.astype(int).tolist(),
        "has_teacher": [1, 1, 1, 0],
    }


def _tensors(inputs: dict[str, list[Any]]) -> dict[str, Tensor]:
    x = {name: torch.tensor(value, dtype=torch.float64) for name, value in inputs.items()}
    own = torch.log_softmax(x["policy"], -1)
    ids = x["ids"].long()
    log_probs = own.gather(-1, ids[..., None])[..., 0]
    old = log_probs - x["moved"]
    return x | {"ids": ids, "mask": x["mask"].long(), "old": old, "behavior": old - x["gap"]}


def _chosen(x: dict[str, Tensor], logits: Tensor) -> Tensor:
    return torch.log_softmax(logits, -1).gather(-1, x["ids"][..., None])[..., 0]


def jsd_loss(run: dict[str, Any], x: dict[str, Tensor], logits: Tensor, setting: Any) -> Tensor:
    """Compute TRL's or OPSD's `generalized_jsd_loss`, the mean over the mask's tokens."""
    labels = torch.where(x["mask"].bool(), x["ids"], -100)
    extra = {"top_k": setting["top_k"]} if "top_k" in setting else {}
    return run["generalized_jsd_loss"](
        logits,
        x["teacher"],
        labels=labels,
        beta=setting["beta"],
        temperature=setting.get("temperature", 1.0),
        **extra,
    )


def trl_sdpo_loss(
    run: dict[str, Any], x: dict[str, Tensor], logits: Tensor, setting: Any
) -> Tensor:
    """Compute TRL's per-token SDPO loss, and its mean over the mask's tokens."""
    loss = run["compute_topk_self_distillation_loss"](
        logits,
        x["teacher"],
        distillation_topk=setting["top_k"],
        distillation_alpha=setting["beta"],
        distillation_add_tail=setting["tail"],
    )
    return (loss * x["mask"]).sum() / x["mask"].sum()


def sdpo_loss(run: dict[str, Any], x: dict[str, Tensor], logits: Tensor, setting: Any) -> Tensor:
    """Compute SDPO's loss, with both ratios, over the rows that have a teacher."""
    own, taught = torch.log_softmax(logits, -1), torch.log_softmax(x["teacher"], -1)
    index = own.topk(setting["top_k"], dim=-1).indices
    config = SimpleNamespace(
        full_logit_distillation=True,
        distillation_topk=setting["top_k"],
        distillation_add_tail=setting["tail"],
        alpha=setting["beta"],
        is_clip=RATIO_CAP,
    )
    loss, _ = run["compute_self_distillation_loss"](
        student_log_probs=_chosen(x, logits),
        teacher_log_probs=_chosen(x, x["teacher"]),
        response_mask=x["mask"].double(),
        self_distillation_config=config,
        old_log_probs=x["old"],
        student_topk_log_probs=own.gather(-1, index),
        teacher_topk_log_probs=taught.gather(-1, index),
        self_distillation_mask=x["has_teacher"],
        rollout_is_weights=(x["old"] - x["behavior"]).exp().clamp(max=CAP),
    )
    return loss


def trl_clipped(run: dict[str, Any], x: dict[str, Tensor], logits: Tensor, setting: Any) -> Tensor:
    """Compute TRL's GRPO loss with an advantage for each token."""
    log_probs = _chosen(x, logits)
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
        args=SimpleNamespace(delta=DUAL, steps_per_generation=1, use_bias_correction_kl=False),
        aux_loss_enabled=False,
        beta=0.0,
        current_gradient_accumulation_steps=1,
        epsilon_low=LOW,
        epsilon_high=HIGH,
        importance_sampling_level="token",
        loss_type=setting["trl"],
        model=SimpleNamespace(training=True),
        off_policy_mask_threshold=None,
        top_entropy_quantile=1.0,
        use_vllm=False,
        vllm_importance_sampling_correction=False,
    )
    zeros = torch.zeros(len(log_probs), 1, dtype=torch.long)
    return run["_compute_loss"](
        trainer,
        None,
        {
            "prompt_ids": zeros,
            "prompt_mask": zeros + 1,
            "completion_ids": x["ids"],
            "completion_mask": x["mask"],
            "advantages": x["advantages"],
            "old_per_token_logps": x["old"],
            "num_items_in_batch": x["mask"].sum(),
        },
    )


class _VerlConfig(SimpleNamespace):
    def get(self, name: str, default: Any) -> Any:
        return getattr(self, name, default)


def verl_clipped(run: dict[str, Any], x: dict[str, Tensor], logits: Tensor, setting: Any) -> Tensor:
    """Compute verl's clipped loss with an advantage for each token."""
    run["AlgoConfig"] = tuple
    loss, _ = run["compute_policy_loss_vanilla"](
        old_log_prob=x["old"],
        log_prob=_chosen(x, logits),
        advantages=x["advantages"],
        response_mask=x["mask"].double(),
        loss_agg_mode=setting["verl"],
        config=_VerlConfig(
            clip_ratio=LOW,
            clip_ratio_low=LOW,
            clip_ratio_high=HIGH,
            clip_ratio_c=DUAL,
            global_batch_info={},
        ),
    )
    return loss


def our_distilled(x: dict[str, Tensor], logits: Tensor, setting: Any, release: str) -> Tensor:
    """Compute our loss of a setting of `DISTILLED`."""
    from reason_env.agents.learning import DistillationConfig, LossConfig
    from reason_env.agents.learning.aggregate import LossTotals
    from reason_env.agents.learning.distillation import divergence
    from reason_env.agents.learning.loss import policy_loss

    is_sdpo = release == "sdpo"
    config = LossConfig(
        surrogate="distill",
        distillation=DistillationConfig(
            **setting["ours"], ratio_cap=RATIO_CAP if is_sdpo else None
        ),
        importance_weight_cap=CAP if is_sdpo else None,
    )
    temperature = setting.get("temperature", 1.0)
    own, taught = ((z / temperature).log_softmax(-1) for z in (logits, x["teacher"]))
    assert config.distillation is not None
    found = divergence(own.flatten(0, 1), taught.flatten(0, 1), config.distillation)
    mask = x["mask"] * x["has_teacher"][:, None].long() if is_sdpo else x["mask"]
    return policy_loss(
        _chosen(x, logits),
        x["old"],
        torch.ones_like(x["old"]),
        mask,
        config=config,
        totals=LossTotals.of(mask),
        behavior_log_probs_BT=x["behavior"],
        divergence_BT=found.view(mask.shape),
    ).loss


def our_clipped(x: dict[str, Tensor], logits: Tensor, setting: Any, release: str) -> Tensor:
    """Compute our clipped loss with an advantage for each token."""
    from reason_env.agents.learning import LossConfig
    from reason_env.agents.learning.aggregate import LossTotals
    from reason_env.agents.learning.loss import policy_loss

    return policy_loss(
        _chosen(x, logits),
        x["old"],
        x["advantages"],
        x["mask"],
        config=LossConfig(
            clip_low=LOW,
            clip_high=HIGH,
            dual_clip=DUAL,
            aggregation=setting["ours"],
            importance_weight_cap=None,
        ),
        totals=LossTotals.of(x["mask"]),
    ).loss


THEIRS = {"trl": jsd_loss, "opsd": jsd_loss, "trl_sdpo": trl_sdpo_loss, "sdpo": sdpo_loss}


def cases() -> dict[str, tuple[str, dict[str, Any]]]:
    """List case -> release and setting."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, setting in DISTILLED.items():
        for release in setting.get("releases", ("trl", "opsd")):
            found[f"{name}/{release}"] = (release, setting)
    for name, setting in CLIPPED.items():
        found |= {f"clipped_{name}/{release}": (release, setting) for release in ("trl", "verl")}
    return found


def _value_and_gradient(loss: Callable[[Tensor], Tensor], x: dict[str, Tensor]) -> dict[str, Any]:
    logits = x["policy"].clone().requires_grad_()
    value = loss(logits)
    (gradient,) = torch.autograd.grad(value, logits)
    return {"loss": value.item(), "gradient": gradient.tolist()}


def write(path: Path, folders: dict[str, Path]) -> None:
    """Compute every case with the releases' functions and write the fixture."""
    inputs = make_inputs()
    x = _tensors(inputs)
    run = {release: functions_of(release, folder) for release, folder in folders.items()}
    clipped = {"trl": trl_clipped, "verl": verl_clipped}
    losses: dict[str, Any] = {}
    for case, (release, setting) in cases().items():
        theirs = clipped[release] if case.startswith("clipped_") else THEIRS[release]
        own = run[release.partition("_")[0]]
        losses[case] = _value_and_gradient(
            lambda logits, f=theirs, own=own, setting=setting: f(own, x, logits, setting), x
        )
    path.write_text(json.dumps({"inputs": inputs, "losses": losses}, separators=(",", ":")) + "\n")


def run(case: str) -> dict[str, Any]:
    """Compute our numbers of a case, and read the written ones."""
    frozen = json.loads(FIXTURE.read_text())
    x = _tensors(frozen["inputs"])
    release, setting = cases()[case]
    ours = our_clipped if case.startswith("clipped_") else our_distilled
    return {
        "ours": _value_and_gradient(lambda logits: ours(x, logits, setting, release), x),
        "theirs": frozen["losses"][case],
    }


def main() -> None:
    """Write the fixture, or compare with it."""
    parser = argparse.ArgumentParser(description="compare with released code")
    parser.add_argument("--write", action="store_true", help="run the releases")
    for release in FUNCTIONS:
        parser.add_argument(f"--{release}", type=Path, help="folder of its checkout")
    args = parser.parse_args()
    if args.write:
        write(FIXTURE, {release: getattr(args, release) for release in FUNCTIONS})
        return
    for case in cases():
        row = run(case)
        off = np.abs(np.array(row["ours"]["gradient"]) - np.array(row["theirs"]["gradient"])).max()
        print(f"{case:32s} {row['ours']['loss']:.9f} {row['theirs']['loss']:.9f} {off:.1e}")


if __name__ == "__main__":
    main()
