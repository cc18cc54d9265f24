"""Chains of the base policy with and without the answer in the prompt, and their likelihood."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reason_env.agents.engines import SamplingConfig
from reason_env.agents.probe import Subject
from reason_env.agents.rollout import Start
from reason_env.state import ReasonState, answer_guidance

Kind = Literal["explain", "plain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A sampled chain."""

    text: str
    """Its steps before the answer line, each with its delimiter."""
    is_right: bool
    """Whether it ended in the answer."""


def chains_of(
    subject: Subject, states: Sequence[ReasonState], kind: Kind, seed: int
) -> list[Chain]:
    """Sample one chain for each problem, in the order of `states`."""
    batch = subject.collect([_start(state, kind) for state in states], seed)
    by_key = {item.start.group: item for item in batch.trajectories}
    found = [by_key[state.problem.problem_id] for state in states]
    return [
        Chain(text=item.final_state.text.rpartition("#### ")[0], is_right=item.is_success)
        for item in found
    ]


def _start(state: ReasonState, kind: Kind) -> Start:
    shown = state
    if kind == "explain":
        piece = answer_guidance(state.problem)
        assert piece is not None, "a problem has an answer"
        shown = state.with_guidance(piece)
    return Start(
        state=shown, num_samples=1, learn_from=state, group=state.problem.problem_id, role="probe"
    )


def log_probs(subject: Subject, states: Sequence[ReasonState], texts: Sequence[str]) -> list[float]:
    """Return the mean log-probability a token of a text as the response to each problem, in nats.

    At temperature 1, without guidance. No text may be empty.
    """
    contexts = [subject.inner.prompt.token_ids(state) for state in states]
    completions = [subject.codec.encode(text) for text in texts]
    scores = subject.session.policy.score(contexts, completions, SamplingConfig())
    return [float(np.mean(score)) for score in scores]


def answer_log_probs(
    subject: Subject, states: Sequence[ReasonState], texts: Sequence[str]
) -> list[float]:
    """Return the log-probability of the answer line after each problem and text, in nats."""
    contexts = [
        subject.inner.prompt.token_ids(state) + subject.codec.encode(text)
        for state, text in zip(states, texts, strict=True)
    ]
    answers = [subject.codec.encode(f"#### {state.problem.answer}") for state in states]
    scores = subject.session.policy.score(contexts, answers, SamplingConfig())
    return [float(np.sum(score)) for score in scores]
