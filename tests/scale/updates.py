"""Update each method's learner in two processes and in one, and write how far they are apart.

Run by test_processes.py in two processes; the first writes a JSON object, a row for each case.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from reason_env.agents.engines import Context, SamplingConfig
from reason_env.agents.learning import POLICY, DistillationConfig, LearnerConfig
from reason_env.agents.methods import GRPOConfig, OPSDConfig, method_config, method_names
from reason_env.agents.policy import LoraConfig
from reason_env.agents.processes import ALONE, joined_processes
from reason_env.agents.rollout import TrainingSample
from reason_env.agents.runs import RunDir, save_checkpoint
from reason_env.agents.train import TrainConfig, build_session, follow
from reason_env.env import EnvConfig

UPDATES = 3
RELOADED = ("sdpo", "lora bf16-mixed opsd")
"""Cases whose checkpoints are loaded; sdpo has a moving average beside the moments."""
LEARNER = LearnerConfig(learning_rate=1e-4, updates_per_iteration=2, micro_batch_tokens=96)


def cases():
    """Name -> config: every method, and what changes how weights are trained."""
    env = EnvConfig(levels=(3, 4), max_tokens=64, size=8)
    plain = TrainConfig(method=GRPOConfig(), env=env, learner=LEARNER)
    found = {name: replace(plain, method=method_config(name)) for name in method_names()}
    return found | {
        "lora": replace(plain, lora=LoraConfig(rank=4)),
        "bf16-mixed": replace(plain, precision="bf16-mixed"),
        "lora bf16-mixed opsd": replace(
            plain, method=method_config("opsd"), lora=LoraConfig(rank=4), precision="bf16-mixed"
        ),
        "policy teacher": replace(
            plain,
            method=OPSDConfig(distillation=DistillationConfig(teacher=POLICY)),
        ),
        "checkpointing": replace(plain, learner=replace(LEARNER, gradient_checkpointing=True)),
    }


def samples(session, number, seed):
    """Make samples of different lengths, in all roles of the method, some without a signal."""
    rng, method, codec = np.random.default_rng(seed), session.method, session.policy.codec
    roles = ["base", *method.role_losses]
    has_teacher = session.learner.teachers is not None
    found = []
    for at in range(number):
        context = tuple(codec.encode(f"x={at % 3} y={at // 4}\n"))
        tokens = tuple(int(own) for own in rng.integers(97, 110, size=rng.integers(4, 40)))
        mask = tuple(place >= at % 3 for place in range(len(tokens)))
        chosen = ("chosen", "rejected")[at % 2] if method.pair_loss is not None else None
        found.append(
            TrainingSample(
                context_ids=context,
                token_ids=tokens,
                action_mask=mask,
                behavior_log_probs=tuple(-3.0 if own else 0.0 for own in mask),
                advantage=0.0 if at % 5 == 4 else float(rng.normal()),
                role=chosen or roles[at % len(roles)],
                group=f"g{at // 2}",
                teacher_context_ids=(*context, 65, 10) if has_teacher else None,
            )
        )
    return found


def weights(session):
    return [own.detach().clone() for own in session.policy.model.parameters()]


def trained(session, sizes):
    """Update on samples of each size; give the weights and the reports' metrics."""
    rng, metrics, old = np.random.default_rng(0), {}, []
    for seed, number in enumerate(sizes):
        report = session.learner.update(samples(session, number, seed), rng)
        metrics |= {f"{seed}/{name}": value for name, value in report.metrics.items()}
        scores = session.learner.old_log_probs
        old += [scores[row] for row in sorted(scores)]
    return weights(session), metrics, old


def farthest(one, other):
    return max((float((a - b).abs().max()) for a, b in zip(one, other, strict=True)), default=0.0)


def state_of(session):
    """Give all that a learner continues from: weights, moments, average, number of updates."""
    state = session.learner.state_dict()
    moments = [own[name] for own in state["optimizer"]["state"].values() for name in sorted(own)]
    number = torch.tensor(float(state["num_updates"]))
    return [*weights(session), *moments, *state.get("average", []), number]


def saved_by(run, iteration, session):
    run.write_metrics(iteration, {})
    return save_checkpoint(
        run, iteration, session.saved_policy, session.learner_state, session.progress
    )


def reloaded(config, processes, folder):
    """Save after updates of two processes, load in two and in one, save in one, load in two.

    Gives how far off what was loaded is, and how far apart one more update in one and in two ends.
    """
    with RunDir.create(folder, config, command=[], trackers=()) as run:
        together = build_session(config, processes=processes)
        trained(together, [10])
        saved = state_of(together)
        two = saved_by(run, 1, together)
        again = build_session(config, two, processes=processes)
        rows = {"two, two": farthest(state_of(again), saved)}
        alone = build_session(config, two)
        rows["two, one"] = farthest(state_of(alone), saved)
        one = saved_by(run, 2, alone)
    before = weights(alone)
    trained(alone, [6])
    back = build_session(config, one, processes=processes)
    rows["one, two"] = farthest(state_of(back), saved)
    trained(back, [6])
    return {
        "loaded": rows,
        "further": farthest(state_of(back), state_of(alone)),
        "moved": farthest(weights(alone), before),
        "files": sorted(path.relative_to(two).as_posix() for path in two.rglob("*.safetensors")),
    }


def learned_by(session):
    """Name all that an update depends on besides the samples: methods that share it train alike."""
    config, method = session.config, session.method
    losses = (method.loss, *method.role_losses.items(), method.pair_loss)
    return repr((losses, config.learner, config.lora, config.precision))


def compared(alone, processes, sizes):
    """Train alone and together; give the largest differences, and how far weights moved."""
    before = weights(alone)
    one, metrics, old = trained(alone, sizes)
    together = build_session(alone.config, processes=processes)
    two, others, old_too = trained(together, sizes)
    assert metrics.keys() == others.keys()
    rows = [
        (name, metrics[name], others[name])
        for name in metrics
        if abs(metrics[name] - others[name]) > 1e-4 * max(1.0, abs(metrics[name]))
    ]
    states = [alone.learner.state_dict(), together.learner.state_dict()]
    moments = [
        [own[name] for own in state["optimizer"]["state"].values() for name in sorted(own)]
        for state in states
    ]
    return {
        "apart": farthest(one, two),
        "moved": farthest(before, one),
        "old_apart": farthest(old, old_too),
        "moments_apart": farthest(*moments),
        "other_metrics": rows,
    }


def sampled(processes):
    """Sample by one process and by two; give whether tokens are equal, and how far log-probs."""
    config = cases()["grpo"]
    contexts = [
        Context(token_ids=(97 + at, 61, 49, 10), num_samples=1 + at % 3, max_new_tokens=12)
        for at in range(7)
    ]
    found = []
    for own in (ALONE, processes):
        policy = build_session(config, processes=own).policy
        calls = [policy.sample(contexts[:number], SamplingConfig(), seed=5) for number in (7, 1)]
        found.append(([item for call in calls for group in call for item in group], policy.engine))
    (one, engine), (two, shared) = found
    return {
        "equal": [item.token_ids for item in one] == [item.token_ids for item in two],
        "apart": max(
            abs(a - b)
            for x, y in zip(one, two, strict=True)
            for a, b in zip(x.log_probs, y.log_probs, strict=True)
        ),
        "counts": [
            [own.num_sampled_tokens, own.num_prefill_tokens + own.num_reused_tokens]
            for own in (engine, shared)
        ],
    }


def main():
    torch.set_num_threads(1)
    with joined_processes() as processes:
        if not processes.is_first:
            follow(processes)
            return
        known, rows = {}, {}
        for name, config in cases().items():
            alone = build_session(config)
            key = learned_by(alone)
            if key not in known:
                known[key] = compared(alone, processes, [10] * UPDATES)
            rows[name] = known[key]
        rows["uneven"] = compared(build_session(cases()["grpo"]), processes, [13, 1, 6])
        rows["sampled"] = sampled(processes)
        for name in RELOADED:
            folder = Path(sys.argv[1]).with_name(name)
            rows[f"reloaded {name}"] = reloaded(cases()[name], processes, folder)
    Path(sys.argv[1]).write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
