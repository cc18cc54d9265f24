"""The MDP as values: states, the pure transition, prompts, guidance and cuts."""

from reason_env.state.chat import chat_ids
from reason_env.state.cuts import (
    checked_fraction,
    checker_cut,
    entropy_cut,
    last_cut,
    step_bounds,
    steps_of_fraction,
    uniform_cut,
    with_reference_prefix,
    with_response_of,
)
from reason_env.state.guidance import (
    MAX_MISTAKE_CHARS,
    answer_guidance,
    localisation_guidance,
    mistakes_guidance,
    next_step_guidance,
    num_shortened,
    partial_solution_guidance,
    solution_guidance,
    text_guidance,
)
from reason_env.state.parts import (
    Guidance,
    TokenSource,
    expand_sources,
    source_runs,
    verdict_from_json,
    verdict_to_json,
)
from reason_env.state.prompt import GUIDANCE_TEXTS, Example, PromptTemplate
from reason_env.state.reason_state import ReasonState
from reason_env.state.templates import (
    AUTO,
    PRESETS,
    Template,
    chosen_name,
    read_template,
)
from reason_env.state.transition import (
    EpisodeRules,
    before_stop,
    graded,
    is_over,
    is_truncated,
    transition,
)

__all__ = [
    "AUTO",
    "GUIDANCE_TEXTS",
    "MAX_MISTAKE_CHARS",
    "PRESETS",
    "EpisodeRules",
    "Example",
    "Guidance",
    "PromptTemplate",
    "ReasonState",
    "Template",
    "TokenSource",
    "answer_guidance",
    "before_stop",
    "chat_ids",
    "checked_fraction",
    "checker_cut",
    "chosen_name",
    "entropy_cut",
    "expand_sources",
    "graded",
    "is_over",
    "is_truncated",
    "last_cut",
    "localisation_guidance",
    "mistakes_guidance",
    "next_step_guidance",
    "num_shortened",
    "partial_solution_guidance",
    "read_template",
    "solution_guidance",
    "source_runs",
    "step_bounds",
    "steps_of_fraction",
    "text_guidance",
    "transition",
    "uniform_cut",
    "verdict_from_json",
    "verdict_to_json",
    "with_reference_prefix",
    "with_response_of",
]
