"""When a response so far states its answer: a box or a `####` line, nothing weaker."""

from reason_env.verify import GradeOptions, extract_answer

COMMITMENTS = GradeOptions(markers=("####",))
COMMITMENT_SIGNS = ("####", "\\boxed", "\\fbox")
"""A response without any of these commits to nothing."""
_SIGN_BEGINNINGS = tuple(sign[:size] for sign in COMMITMENT_SIGNS for size in range(1, len(sign)))


def commits(response: str) -> bool:
    r"""Whether a response so far states its answer by a box or a `####` line.

    Phrases such as "the final answer is" count when a whole response is graded, but do not end an
    episode: prose uses them before the end.

    >>> commits("so it is 36\n"), commits("#### 36\n"), commits("the final answer is 36.\n")
    (False, True, False)
    """
    return extract_answer(response, COMMITMENTS) is not None


def may_commit(response: str) -> bool:
    r"""Whether this text can be part of a committed answer, alone or with what follows.

    If it cannot, any later commitment has its own sign.

    >>> may_commit("so it is 36\n"), may_commit("#### \n"), may_commit("12 \\"), may_commit("2 x\n")
    (False, True, True, False)
    """
    return any(sign in response for sign in COMMITMENT_SIGNS) or response.endswith(_SIGN_BEGINNINGS)
