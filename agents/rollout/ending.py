"""When a sampled response is over for the environment, so that an engine stops there.

Without it an engine goes on to its end token or its limit, and the environment drops what follows
an answer, a stop or the last step: models that are prompted by examples then sample mostly what
nobody reads. These rules act when a step closes, so that only then is anything checked.
"""

from collections.abc import Sequence

from reason_env.codec import may_end_step
from reason_env.env import COMMITMENT_SIGNS, commits
from reason_env.state import EpisodeRules, ReasonState, is_over, transition
from reason_env.verdict import Outcome, Verdict


def _not_graded(response: str, reference: object) -> Verdict:
    return Verdict(Outcome.ERROR, None, "not graded yet")


class EpisodeEnd:
    r"""Whether an episode that continues a state is over; an engine's `EndRule`.

    >>> from reason_env import ByteCodec, Problem
    >>> problem = Problem(problem_id="t/train/0", question="?", answer="24")
    >>> state = ReasonState(problem=problem, codec=ByteCodec()).extend(b"12*2=24\n", "reset")
    >>> rule = EpisodeEnd(state, EpisodeRules())
    >>> rule.may_end(ord("4")), rule.may_end(ord("\n"))
    (False, True)
    >>> rule.ends(b"so it is 24\n"), rule.ends(b"#### 24\n")
    (False, True)
    """

    def __init__(self, state: ReasonState, rules: EpisodeRules) -> None:
        self._state, self._rules = state, rules
        begin = state.step_ends[-1] if state.step_ends else 0
        self._open_step = state.response[begin:]
        self._signs = (*rules.stops, *(COMMITMENT_SIGNS if rules.stop_at_answer else ()))

    def may_end(self, token_id: int) -> bool:
        """Whether the token may close a step."""
        return may_end_step(self._state.codec, token_id)

    def ends(self, token_ids: Sequence[int]) -> bool:
        """Whether the episode is over after these tokens."""
        codec, rules = self._state.codec, self._rules
        text = codec.decode((*self._open_step, *token_ids))
        most_steps = len(self._state.step_ends) + text.count(codec.step_delimiter)
        if most_steps < rules.max_steps and not any(sign in text for sign in self._signs):
            return False
        ended = transition(
            self._state, token_ids, rules=rules, grade=_not_graded, has_answer=commits
        )
        return is_over(ended, rules)
