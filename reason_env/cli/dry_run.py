"""`reason-env train METHOD --dry-run`: what a run would cost, before it begins. Writes nothing."""

from dataclasses import replace

from rich.text import Text

from reason_env.agents.learning import learning_rate_line
from reason_env.agents.policy import lora_line
from reason_env.agents.runs import model_directory
from reason_env.agents.train import (
    AgentSession,
    Estimate,
    Memory,
    TrainConfig,
    estimate,
    estimate_agent,
    session_of,
)
from reason_env.cli.flags import out
from reason_env.cli.tables import counted, duration_text, size_text


def show_estimate(config: TrainConfig) -> None:
    """Measure a few samples and one update of a run, and print what the whole would cost."""
    is_default = config.learner.learning_rate is None
    session = session_of(replace(config, model=model_directory(config.model)))
    out.print(Text(session.config.env.template_line(session.policy.codec)))
    line = learning_rate_line(session.config.learner, session.policy.model, is_default=is_default)
    out.print(Text(line))
    if config.lora.is_on:
        out.print(Text(lora_line(session.policy.model, config.lora)))
    with out.status("measuring ..."):
        is_agent = isinstance(session, AgentSession)
        found = estimate_agent(session) if is_agent else estimate(session)
    for name, text in (*_memory_lines(found.memory), *_cost_lines(found, config)):
        out.print(Text(f"{name:<22} {text}"))


def _memory_lines(memory: Memory) -> list[tuple[str, str]]:
    lines = [
        ("weights", size_text(memory.weights)),
        ("gradients", size_text(memory.gradients)),
        ("optimizer", size_text(memory.optimizer)),
        ("reference policy", size_text(memory.reference) if memory.reference else "none"),
        ("KV cache, at most", size_text(memory.kv_cache)),
        ("activations", f"{size_text(memory.activations)} of a micro-batch"),
        ("process peak", size_text(memory.process_peak)),
    ]
    if memory.step_buffer:
        lines.insert(-1, ("step buffer", size_text(memory.step_buffer)))
    if memory.device_peak is not None:
        lines.append(("device peak", size_text(memory.device_peak)))
    return lines


def _cost_lines(found: Estimate, config: TrainConfig) -> list[tuple[str, str]]:
    updates = found.updates_per_iteration
    share = found.signal_fraction
    signal = "" if share is None else f"; {share:.0%} of the samples had a signal, all are counted"
    lines = [
        (
            "an iteration",
            f"{found.generated_tokens:,.0f} tokens generated, {found.trained_tokens:,.0f} trained, "
            f"{counted(round(found.prompts), 'prompt')}, {counted(updates, 'update')}",
        ),
        (
            "",
            f"{duration_text(found.iteration_s)}: sampling {duration_text(found.sampling_s)}, "
            f"update {duration_text(found.update_s)} (measured on {found.num_measured} of "
            f"{counted(found.num_problems, 'problem')}{signal})",
        ),
    ]
    if found.prepared_tokens:
        lines.append(
            (
                "before training",
                f"{found.prepared_tokens:,.0f} tokens, {duration_text(found.preparation_s)}",
            )
        )
    if found.num_evaluations:
        count = counted(found.num_evaluations, "evaluation")
        lines.append(("evaluation", f"{count} of {duration_text(found.evaluation_s)}"))
    lines.append(
        (
            "the run",
            f"{counted(found.iterations, 'iteration')}, "
            f"{counted(found.iterations * updates, 'update')}, {found.run_tokens:,.0f} tokens, "
            f"{duration_text(found.run_s)}",
        )
    )
    return lines + [("limit", text) for text in _limits(found, config)]


def _limits(found: Estimate, config: TrainConfig) -> list[str]:
    """What --max-generated-tokens and --max-minutes buy of the planned iterations."""
    texts: list[str] = []
    budget = config.max_generated_tokens
    if budget is not None:
        left = budget - found.prepared_tokens
        if left < found.generated_tokens:
            texts.append(
                f"--max-generated-tokens {budget:,} is less than one iteration and what comes "
                f"before it: at least {found.prepared_tokens + found.generated_tokens:,.0f}"
            )
        elif found.iterations < config.iterations:
            texts.append(
                f"--max-generated-tokens {budget:,} ends the run after {found.iterations} of "
                f"{counted(config.iterations, 'iteration')}"
            )
    if config.max_minutes is not None and found.run_s > 60 * config.max_minutes:
        room = 60 * config.max_minutes - found.preparation_s - found.evaluation_s
        number = max(1, min(found.iterations, int(room / max(found.iteration_s, 1e-9)) + 1))
        texts.append(
            f"--max-minutes {config.max_minutes:g} ends the run after about {number} of "
            f"{counted(config.iterations, 'iteration')}"
        )
    return texts
