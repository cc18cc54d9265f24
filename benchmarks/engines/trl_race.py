"""Whole GRPO iterations: this project against TRL 1.16, in turns in one process.

    make race-trl
    .venv-trl/bin/python -m benchmarks.engines.trl_race --settings smollm2 --repeats 3

Both sides begin with the same weights and have the same prompts, reward, group size, response
length, loss (GRPO's advantages, clip 0.2 to 0.28, mean over all tokens, no KL), AdamW, rate and
largest gradient norm; both give the entropy. `ours` is `iterate`, grading, environment, metrics and
the comparison of sampler and trainer included, at its defaults. `trl` is a step of
`GRPOTrainer.train` from the end of the last one, with its log; its micro-batch is given in rows.

Every response has its full length: TRL gets `min_new_tokens`, the small model gives its end token a
probability below 1e-9, and SmolLM2 samples it so seldom that the seconds are divided by the tokens
that were sampled. Rewards are the share of different characters in a response, so that every group
has signal.

Each repeat gives a pair; the ratio is that of its pair. `cpu` is processor time, which other
programs disturb less. The first pairs warm up and do not count.
"""

import argparse
import importlib
import json
import statistics
import tempfile
import time
from bisect import bisect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium as gym
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from benchmarks.engines.small_model import small_model
from reason_env.agents.engines import PRECISIONS
from reason_env.agents.learning import LearnerConfig, LossConfig
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.policy import load_model
from reason_env.agents.train import Session, TrainConfig, build_session, iterate, prepare
from reason_env.codec import HuggingFaceCodec
from reason_env.env import EnvConfig, reason_env_of

GROUP_SIZE = 8
LEARNING_RATE = 1e-5
CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHI+-=\n>?"
ENDING = "\n>"
"""What the template "ours" puts after a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One race."""

    model: str
    num_prompts: int
    prompt_tokens: int
    response_tokens: int
    trl_rows: int
    """Rows of TRL's micro-batch."""
    micro_batch_tokens: int = 4096
    """Distinct tokens of ours."""

    @property
    def num_rows(self) -> int:
        """Responses of an iteration."""
        return self.num_prompts * GROUP_SIZE


SETTINGS: dict[str, Setting] = {
    "small-16": Setting(
        model="small", num_prompts=4, prompt_tokens=16, response_tokens=64, trl_rows=32
    ),
    "small-256": Setting(
        model="small", num_prompts=4, prompt_tokens=256, response_tokens=64, trl_rows=32
    ),
    "smollm2": Setting(
        model="smollm2", num_prompts=16, prompt_tokens=150, response_tokens=32, trl_rows=8
    ),
}


def reward_of(text: str) -> float:
    """Return the share of different characters."""
    return len(set(text)) / max(1, len(text))


class TextReward(gym.Wrapper[Any, Any, Any, Any]):
    """Replaces the environment's reward by that of the race."""

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step, and give the reward of the whole response."""
        observation, _, terminated, truncated, info = self.env.step(action)
        inner = reason_env_of(self.env)
        reward = reward_of(inner.codec.decode(inner.state.response))
        return observation, reward, terminated, truncated, info


def write_small_model(directory: Path) -> None:
    """Write the small model with a tokenizer of single characters."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    names = ["<pad>", "<eos>", "<bos>", *CHARACTERS]
    tokenizer = Tokenizer(
        models.WordLevel({name: at for at, name in enumerate(names)}, unk_token="<pad>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        padding_side="left",
    ).save_pretrained(directory)
    model = small_model(len(names))
    with torch.no_grad():
        # A channel that is large after every token, and speaks against the end token.
        embedding = model.model.embed_tokens.weight
        embedding[:, 0] = 0.5
        embedding[1, 0] = -2.0
    model.save_pretrained(directory)


def write_model(name: str, directory: Path) -> None:
    """Write the model and its tokenizer where both sides load it."""
    if name == "small":
        write_small_model(directory)
        return
    model, codec = load_model(name)
    model.save_pretrained(directory)
    assert isinstance(codec, HuggingFaceCodec), "a pretrained model has a tokenizer of its own"
    codec.tokenizer.save_pretrained(directory)


def questions(setting: Setting, codec: HuggingFaceCodec, count: int) -> list[str]:
    """Write questions whose prompts have exactly the setting's length in tokens."""
    generator = torch.Generator().manual_seed(1)
    found: list[str] = []
    for _ in range(count):
        drawn = torch.randint(10, 99, (setting.prompt_tokens,), generator=generator).tolist()
        text = "".join(f"{number}a+" for number in drawn)
        if setting.model != "small":
            text = " ".join(f"A box holds {number} red balls." for number in drawn)
        # The number of tokens hardly ever falls with a character more.
        about = bisect(
            range(len(text)),
            setting.prompt_tokens,
            key=lambda size: len(codec.encode_prompt(text[:size] + ENDING)),
        )
        size = next(
            size
            for size in range(about, 0, -1)
            if len(codec.encode_prompt(text[:size] + ENDING)) == setting.prompt_tokens
        )
        found.append(text[:size])
    return found


def train_config(setting: Setting, model: Path, problems: Path, precision: str) -> TrainConfig:
    """Build our side's config."""
    return TrainConfig(
        method=GRPOConfig(group_size=GROUP_SIZE, loss=LossConfig(clip_high=0.28)),
        env=EnvConfig(
            problems=str(problems),
            template="ours",
            max_tokens=setting.response_tokens,
            stop_at_answer=False,
        ),
        learner=LearnerConfig(
            learning_rate=LEARNING_RATE, micro_batch_tokens=setting.micro_batch_tokens
        ),
        model=str(model),
        precision=precision,
        problems_per_iteration=setting.num_prompts,
    )


def build_ours(config: TrainConfig) -> Session:
    """Build our side."""
    session = build_session(config)
    session.env = TextReward(session.env)
    prepare(session)
    return session


def build_trl(setting: Setting, model: Path, texts: list[str], precision: str, steps: int) -> Any:
    """Build TRL's trainer."""
    from datasets import Dataset

    trl = importlib.import_module("trl")
    args = trl.GRPOConfig(
        output_dir=str(model.parent / "trl"),
        use_cpu=True,
        bf16=precision == "bf16-mixed",
        gradient_checkpointing=False,
        per_device_train_batch_size=setting.trl_rows,
        gradient_accumulation_steps=setting.num_rows // setting.trl_rows,
        num_generations=GROUP_SIZE,
        max_completion_length=setting.response_tokens,
        generation_kwargs={"min_new_tokens": setting.response_tokens},
        temperature=1.0,
        beta=0.0,
        loss_type="dapo",
        epsilon=0.2,
        epsilon_high=0.28,
        num_iterations=1,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        max_steps=steps,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=0,
    )

    def reward(completions: list[str], **_: Any) -> list[float]:
        return [reward_of(text) for text in completions]

    return trl.GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(model, padding_side="left"),
        reward_funcs=reward,
        args=args,
        train_dataset=Dataset.from_list([{"prompt": text + ENDING} for text in texts]),
    )


@dataclass(slots=True)
class Clock:
    """Seconds, and those of the processor, since the last reading."""

    wall: float = 0.0
    cpu: float = 0.0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin now."""
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Return what has passed."""
        return {
            "wall": time.perf_counter() - self.wall,
            "cpu": time.process_time() - self.cpu,
        }


def race(
    setting: Setting,
    directory: Path,
    *,
    ours: str,
    trl: str,
    repeats: int,
    warm_up: int,
    on_pair: Callable[[dict[str, Any]], None],
) -> None:
    """Run both sides in turn; TRL's loop is the outer one."""
    from transformers import TrainerCallback

    model = directory / "model"
    write_model(setting.model, model)
    _, codec = load_model(str(model))
    assert isinstance(codec, HuggingFaceCodec), "both settings have a tokenizer of their own"
    texts = questions(setting, codec, setting.num_prompts * 4)
    problems = directory / "problems.jsonl"
    rows = [json.dumps({"problem": text, "answer": "7"}) for text in texts]
    problems.write_text("\n".join(rows), encoding="utf-8")
    session = build_ours(train_config(setting, model, problems, ours))
    trainer = build_trl(setting, model, texts, trl, warm_up + repeats)
    clock, lengths = Clock(), []
    generate = trainer._generate

    def counted(*args: Any) -> Any:
        found = generate(*args)
        lengths.append(sum(map(len, found[1])))
        return found

    trainer._generate = counted
    entropies: list[float] = []

    class Turn(TrainerCallback):
        """Runs our iteration after each of TRL's."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            theirs = clock.read()
            own = Clock()
            metrics = iterate(session).metrics
            seconds = own.read()
            entropies.append(float(metrics["update/entropy"] or 0))
            if len(entropies) > warm_up:
                parts = ("sampling_s", "learning_s", "mismatch_s", "grade_s", "iteration_s")
                on_pair(
                    {
                        "ours": seconds | {"tokens": metrics["rollout/sampled_tokens"]},
                        "trl": theirs | {"tokens": lengths[-1]},
                        "parts": {part: metrics[f"time/{part}"] for part in parts},
                        "active": metrics["update/active_rows_fraction"],
                    }
                )
            clock.restart()

    trainer.add_callback(Turn())
    clock.restart()
    trainer.train()
    print("TRL's entropy:", trainer.state.log_history[-2]["entropy"], "ours:", entropies[-1])


def spread(values: list[float]) -> str:
    """Write a median with its range."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} - {max(values):.3g})"


def table(name: str, pairs: list[dict[str, Any]]) -> Iterator[str]:
    """Write a setting's rows: ms a sampled token, and the ratio of each pair."""
    for kind in ("wall", "cpu"):
        own, theirs = (
            [1000 * pair[side][kind] / pair[side]["tokens"] for pair in pairs]
            for side in ("ours", "trl")
        )
        ratios = [b / a for a, b in zip(own, theirs, strict=True)]
        yield f"| {name} | {kind} | {spread(theirs)} | {spread(own)} | {spread(ratios)} |"


@contextmanager
def workplace(given: Path | None) -> Iterator[Path]:
    """Give a directory, for a time if none is given."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def main() -> None:
    """Print the table, and write the pairs as JSON if a path is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS)[:2], choices=SETTINGS)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    parser.add_argument("--trl-precision", default=None, choices=PRECISIONS)
    parser.add_argument("--warm-up", type=int, default=2, help="pairs that do not count")
    parser.add_argument("--trl-rows", type=int, default=None, help="rows of TRL's micro-batch")
    parser.add_argument("--micro-batch-tokens", type=int, default=4096, help="ours")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--directory", type=Path, default=None)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found: dict[str, list[dict[str, Any]]] = {}

    def note(name: str, pair: dict[str, Any]) -> None:
        found.setdefault(name, []).append(pair)
        print(json.dumps(pair), flush=True)

    for name in args.settings:
        setting = replace(
            SETTINGS[name],
            trl_rows=args.trl_rows or SETTINGS[name].trl_rows,
            micro_batch_tokens=args.micro_batch_tokens,
        )
        with workplace(args.directory) as directory:
            race(
                setting,
                directory,
                ours=args.precision,
                trl=args.trl_precision or args.precision,
                repeats=args.repeats,
                warm_up=args.warm_up,
                on_pair=lambda pair, name=name: note(name, pair),
            )
    print("| race | seconds | TRL, ms a token | ours | TRL / ours |")
    print("|---|---|---|---|---|")
    for name, pairs in found.items():
        for line in table(name, pairs):
            print(line)
    for name, pairs in found.items():
        parts = {
            part: round(statistics.median(pair["parts"][part] for pair in pairs), 4)
            for part in pairs[0]["parts"]
        }
        print(f"{name}: ours {parts}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
