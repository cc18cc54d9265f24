"""Explanations of the given answer as training data: which are kept, and how each ends.

An explanation is trained as (explanation, answer) without the answer in the prompt, so its text
must end in the right answer. With the filter, explanations that end otherwise are dropped. Without
it, the reference answer replaces their own, as the paper appends the answer to what the policy
wrote; the tokens of the reference answer carry gradient too.

Source: arXiv 2507.02834, "Self-Explanation Policy Optimization". The filter, and where an own
answer begins, are our choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from reason_env.agents.methods.protocol import ReferenceIds
from reason_env.agents.rollout import TrainingSample, Trajectory, training_sample
from reason_env.env import may_commit
from reason_env.state import ReasonState
from reason_env.verify import GradeOptions, extract_answer

EXPLANATION = "/explanation"
"""Ends the group key of a problem's explanations."""
Explanations = Literal["self", "expert"]
BETRAYALS = ("given answer", "answer given", "provided answer", "answer provided", "the hint")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationRule:
    """Which explanations are trained."""

    filter_answers: bool
    """Drop explanations that do not end in the reference answer, or that betray it."""
    betrayals: Sequence[str]
    """Phrases (in any case) that betray that the answer was given."""
    reference_ids: ReferenceIds
    """Encodes a reference answer as a response, end token included."""
    grade_options: GradeOptions
    """Where an explanation states its own answer."""
    max_tokens: int | None
    """Most tokens of a trained response; None: no limit."""

    def sample(self, item: Trajectory) -> TrainingSample | None:
        """Make the sample of an explanation, with advantage 1; None if it is not to be trained."""
        if self.filter_answers:
            text = item.final_state.text.lower()
            is_betrayed = any(phrase.lower() in text for phrase in self.betrayals)
            return training_sample(item, 1.0) if item.is_success and not is_betrayed else None
        sample = training_sample(item, 1.0) if item.is_success else self._completed(item)
        if sample is None or self.max_tokens is None:
            return sample
        return sample if len(sample.token_ids) <= self.max_tokens else None

    def _completed(self, item: Trajectory) -> TrainingSample | None:
        """Replace the answer of an explanation by the reference; None if nothing is before it."""
        begin, whole = item.prefix_length, item.final_state
        end = _end_of_reasoning(whole, begin, self.grade_options)
        if end == begin:
            return None
        codec = whole.codec
        text = codec.decode(whole.response[:end])
        joint = "" if text.endswith(codec.step_delimiter) else codec.step_delimiter
        unsolved = replace(whole.problem, solution=())
        answer = self.reference_ids(ReasonState(problem=unsolved, codec=codec))
        added = (*codec.encode(joint), *answer)
        num_policy = end - begin
        return TrainingSample(
            context_ids=item.learn_prompt_ids,
            token_ids=whole.response[:end] + added,
            action_mask=(False,) * begin + (True,) * (num_policy + len(added)),
            behavior_log_probs=(0.0,) * begin
            + item.behavior_log_probs[:num_policy]
            + (0.0,) * len(added),
            advantage=1.0,
            role=item.start.role,
            group=item.start.group,
            # No policy sampled the end, so ratios to a sampler mean nothing here.
            source="reference",
            trajectory_id=item.trajectory_id,
        )


def _end_of_reasoning(state: ReasonState, begin: int, options: GradeOptions) -> int:
    """Count the response tokens before the state's own answer, or before its end token.

    Tokens are dropped from the end until the text after the start neither states an answer nor
    begins to.
    """
    end = len(state.response)
    while end > begin:
        text = state.codec.decode(state.response[begin:end])
        is_end_token = state.response[end - 1] in state.codec.end_ids
        if not (is_end_token or _states_answer(text, options)):
            break
        end -= 1
    return end if state.codec.decode(state.response[begin:end]).strip() else begin


def _states_answer(text: str, options: GradeOptions) -> bool:
    """Whether a text states an answer, or its last line begins to: `Answer`, `Answer: 1`."""
    line = text.rpartition("\n")[2].strip().lower()
    if line and any(line.startswith(own) or own.startswith(line) for own in options.markers):
        return True
    return extract_answer(text, options) is not None or may_commit(text)
