"""`reason-env pretrain`: trains the base model from scratch and writes its model card."""

import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from rich.text import Text

from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.pretraining import PretrainConfig, pretrain, recipe, write_card
from reason_env.agents.runs import FLAT
from reason_env.cli.flags import out, parsed, value_of
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError


def run(words: list[str]) -> None:
    """Train the base model, or that of another recipe, and write its card."""
    chosen = value_of("--recipe", words, "base")

    @dataclass(frozen=True, kw_only=True)
    class Pretrain:
        """Train a small model from scratch on noisy demonstrations, and write its model card."""

        recipe: str = chosen
        """Which model: base (six families), or one family alone: late, sealed. It sets the defaults
        of the other flags."""
        config: Annotated[PretrainConfig, FLAT] = field(default_factory=lambda: recipe(chosen))
        out: Path = Path("runs/base_model" if chosen == "base" else f"runs/{chosen}")
        """Model directory, in Hugging Face layout."""
        card_problems: int = 25
        """Problems per level to measure the card's pass rates on; 0: no card."""

    given = parsed(Pretrain, words, prog="pretrain")
    if given.out.exists() and any(given.out.iterdir()):
        raise ConfigError(f"--out must be a new directory, got {str(given.out)!r}; give another")
    total, began = given.config.num_batches, time.monotonic()
    with out.status("pretraining ...") as status:

        def on_batch(done: int, loss: float) -> None:
            if done % 50 == 0 or done == total:
                minutes = (time.monotonic() - began) / 60
                line = f"batch {done}/{total}  loss {loss:.4f} nats/token  {minutes:.1f} minutes"
                status.update(line)
                if done % 500 == 0 or done == total:
                    out.print(line, highlight=False)

        model = pretrain(given.config, on_batch=on_batch)
    policy = LanguageModelPolicy(model, ByteCodec())
    policy.save(given.out)
    out.print(Text(f"model: {given.out}"))
    if given.card_problems:
        with out.status("measuring pass@1 and pass@64 by level ..."):
            command = shlex.join(["reason-env", "pretrain", *words])
            write_card(policy, given.config, given.out, command, given.card_problems)
        out.print(Text(f"card: {given.out / 'README.md'}"))
