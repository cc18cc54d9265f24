"""The row of conservative policy iteration: a test around any method's update."""

from typing import Final

from reason_env.agents.methods import Columns, Row

CPI_ROW: Final = Row(
    starts="those of any method (--restart), which are the restart distribution mu",
    context="the method's",
    paper='Kakade and Langford 2002, "Approximately Optimal Approximate Reinforcement Learning"; '
    "for networks arXiv 1906.09784, Deep Conservative Policy Iteration",
    differences=(
        "The step size is a number or follows the estimate; the mixture is distilled into the "
        "policy's weights, or interpolated. docs/cpi.md says which bound holds when.",
    ),
)
CPI_COLUMNS: Final = Columns(
    method="cpi",
    starts=CPI_ROW.starts,
    guidance="the method's",
    context=CPI_ROW.context,
    teacher=CPI_ROW.teacher,
    estimator="the candidate's advantage on fresh restarts, with an interval",
    update="the method's, as a mixture of some step size, if it passes the test",
)
