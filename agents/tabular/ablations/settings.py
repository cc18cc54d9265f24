"""The ablations by name: the function that runs each, its number of seeds, and its figure."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from reason_env.agents.tabular.ablations import cpi, exploration, figures, resets, scherrer
from reason_env.agents.tabular.ablations.rows import Row
from reason_env.errors import UnknownNameError, did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One ablation; `run` is pure, so seeds may run in any process and any order."""

    about: str
    run: Callable[[int], list[Row]]
    """Seed -> rows."""
    draw: figures.Draw
    num_seeds: int


def garnet_name(num_states: int, reading: str = "value") -> str:
    """Return the name of the setting with this size and this reading of Scherrer's noise.

    >>> garnet_name(50), garnet_name(100, "constant")
    ('garnet_50', 'garnet_100_constant')
    """
    return f"garnet_{num_states}" + ("" if reading == "value" else f"_{reading}")


SETTINGS: dict[str, Setting] = {
    "step_size": Setting(
        about="realised gain and its lower bounds, over step sizes",
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
        about="the value of a reset that misses the improvable step by -4..+4 steps",
        run=resets.localisation,
        draw=figures.localisation,
        num_seeds=5,
    ),
    "chain": Setting(
        about="transitions to escape Kakade and Langford's chain, by restart distribution",
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
            about=f"Scherrer's nine cells with {num_states} states and noise {reading!r}",
            run=partial(scherrer.cells, num_states=num_states, reading=reading),
            draw=figures.garnet,
            num_seeds=30,
        )
        for reading in scherrer.READINGS
        for num_states in (scherrer.NUM_STATES if reading in ("value", "constant") else (50,))
    },
}


def setting(name: str) -> Setting:
    """Look up a setting by name.

    Raises:
        UnknownNameError: There is no such setting; the message suggests the nearest name.
    """
    if name not in SETTINGS:
        raise UnknownNameError(
            f"no tabular setting {name!r} among {len(SETTINGS)}{did_you_mean(name, SETTINGS)}"
        )
    return SETTINGS[name]
