"""What `ReasonEnv` reports about a state: the info dict, the outcome, the rendered text."""

from typing import Any

from reason_env.state import EpisodeRules, PromptTemplate, ReasonState, is_truncated
from reason_env.verdict import Verdict


def outcome_name(state: ReasonState, rules: EpisodeRules) -> str:
    """The word "open" or "truncated", or the value of the verdict's `Outcome`."""
    if state.verdict is not None:
        return state.verdict.outcome.value
    return "truncated" if is_truncated(state, rules) else "open"


def verdict_fields(verdict: Verdict | None) -> tuple[bool, str, str]:
    """The info's "success", "extracted" and "reason"."""
    if verdict is None:
        return False, "", ""
    return verdict.is_correct, verdict.extracted or "", verdict.reason


def info_of(state: ReasonState, rules: EpisodeRules, prompt: PromptTemplate) -> dict[str, Any]:
    """The info of a reset to `state` or of a step that ends in it."""
    success, extracted, reason = verdict_fields(state.verdict)
    return {
        "problem_id": state.problem.problem_id,
        "level": state.problem.level,
        "outcome": outcome_name(state, rules),
        "success": success,
        "extracted": extracted,
        "reason": reason,
        "num_tokens": len(state.response),
        "num_steps": state.num_steps,
        "privileged_context": prompt.guidance_text(state),
    }


def render_text(state: ReasonState, rules: EpisodeRules) -> str:
    """Question, guidance, numbered steps and verdict as text."""
    lines = [f"[{state.problem.problem_id}] {state.problem.question}"]
    lines += [f"  ({piece.kind}) {', '.join(piece.pieces)}" for piece in state.guidance]
    lines += [f"{index:>3}  {step.rstrip()}" for index, step in enumerate(state.steps, 1)]
    reason = "" if state.verdict is None else state.verdict.reason
    lines.append(f"     {outcome_name(state, rules)}" + (f": {reason}" if reason else ""))
    return "\n".join(lines)
