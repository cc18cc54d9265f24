"""The named ablations: what each runs, over how many seeds, and how it is drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from reason_env.agents.tabular import ablations, figures, scherrer
from reason_env.agents.tabular.ablations import Row
from reason_env.errors import UnknownNameError, did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One ablation as a value; `run` is pure, so seeds may run anywhere and in any order."""

    about: str
    run: Callable[[int], list[Row]]
    """Seed -> rows."""
    draw: figures.Draw
    num_seeds: int


SETTINGS: dict[str, Setting] = {
    "step_size": Setting(
        about="realised gain beside the bounds, over step sizes",
        run=ablations.step_size,
        draw=figures.step_size,
        num_seeds=50,
    ),
    "restart": Setting(
        about="the gap at which CPI stops, by restart distribution and its mismatch",
        run=ablations.restart,
        draw=figures.restart,
        num_seeds=10,
    ),
    "coverage": Setting(
        about="random resets against the oracle, over p: samples and gain",
        run=ablations.coverage,
        draw=figures.coverage,
        num_seeds=8,
    ),
    "localisation": Setting(
        about="what a reset is worth when the named step is off by -4..+4",
        run=ablations.localisation,
        draw=figures.localisation,
        num_seeds=5,
    ),
    "chain": Setting(
        about="who escapes Kakade and Langford's chain, in how many transitions",
        run=ablations.chain,
        draw=figures.chain,
        num_seeds=8,
    ),
    "curriculum": Setting(
        about="PSDP as a reverse curriculum on the combination lock",
        run=ablations.curriculum,
        draw=figures.curriculum,
        num_seeds=20,
    ),
    **{
        f"garnet_{num_states}": Setting(
            about=f"Scherrer's comparison, nine cells with {num_states} states",
            run=partial(scherrer.cells, num_states=num_states),
            draw=figures.garnet,
            num_seeds=30,
        )
        for num_states in scherrer.NUM_STATES
    },
}


def setting(name: str) -> Setting:
    """Returns the setting of that name.

    Raises:
        UnknownNameError: There is none; the message has the nearest one.
    """
    if name not in SETTINGS:
        raise UnknownNameError(
            f"no tabular setting {name!r} among {len(SETTINGS)}{did_you_mean(name, SETTINGS)}"
        )
    return SETTINGS[name]
