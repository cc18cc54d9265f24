"""The named ablations: what each runs, over how many seeds, and how it is drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from reason_env.agents.tabular.ablations import cpi, exploration, figures, resets, scherrer
from reason_env.agents.tabular.ablations.rows import Row
from reason_env.errors import UnknownNameError, did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One ablation as a value; `run` is pure, so seeds may run anywhere and in any order."""

    about: str
    run: Callable[[int], list[Row]]
    """Seed -> rows."""
    draw: figures.Draw
    num_seeds: int


def garnet_name(num_states: int, reading: str = "value") -> str:
    """Returns the name of the setting of a size and a reading of Scherrer's noise.

    >>> garnet_name(50), garnet_name(100, "constant")
    ('garnet_50', 'garnet_100_constant')
    """
    return f"garnet_{num_states}" + ("" if reading == "value" else f"_{reading}")


SETTINGS: dict[str, Setting] = {
    "step_size": Setting(
        about="realised gain beside the bounds, over step sizes",
        run=cpi.step_size,
        draw=figures.step_size,
        num_seeds=50,
    ),
    "restart": Setting(
        about="the gap at which CPI stops, by restart distribution and its mismatch",
        run=cpi.restart,
        draw=figures.restart,
        num_seeds=10,
    ),
    "coverage": Setting(
        about="random resets against the oracle, over p: samples and gain",
        run=resets.coverage,
        draw=figures.coverage,
        num_seeds=8,
    ),
    "localisation": Setting(
        about="what a reset is worth when the named step is off by -4..+4",
        run=resets.localisation,
        draw=figures.localisation,
        num_seeds=5,
    ),
    "chain": Setting(
        about="who escapes Kakade and Langford's chain, in how many transitions",
        run=exploration.chain,
        draw=figures.chain,
        num_seeds=8,
    ),
    "curriculum": Setting(
        about="PSDP as a reverse curriculum on the combination lock",
        run=exploration.curriculum,
        draw=figures.curriculum,
        num_seeds=20,
    ),
    **{
        garnet_name(num_states, reading): Setting(
            about=f"Scherrer's nine cells of {num_states} states; the noise read as {reading!r}",
            run=partial(scherrer.cells, num_states=num_states, reading=reading),
            draw=figures.garnet,
            num_seeds=30,
        )
        for reading in scherrer.READINGS
        for num_states in (scherrer.NUM_STATES if reading in ("value", "constant") else (50,))
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
