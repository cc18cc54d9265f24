"""The methods, by name: one file each, one line here."""

from reason_env.agents.methods.expo import ExPO, ExPOConfig
from reason_env.agents.methods.grpo import GRPO, GRPOConfig
from reason_env.agents.methods.lte import LTE, LTEConfig
from reason_env.agents.methods.pope import POPE, POPEConfig
from reason_env.agents.methods.protocol import Fits, Method
from reason_env.agents.methods.rrpo import RRPO, RRPOConfig
from reason_env.agents.methods.srpo import SRPO, SRPOConfig
from reason_env.problem import StepChecker

MethodConfig = GRPOConfig | RRPOConfig | SRPOConfig | POPEConfig | LTEConfig | ExPOConfig
"""The union of all methods' configs; `kind` tells them apart."""

METHODS: dict[str, type[MethodConfig]] = {
    "grpo": GRPOConfig,
    "rrpo": RRPOConfig,
    "srpo": SRPOConfig,
    "pope": POPEConfig,
    "lte": LTEConfig,
    "expo": ExPOConfig,
}
"""Name on the command line -> the config class."""


def build_method(
    config: MethodConfig, checker: StepChecker | None = None, fits: Fits | None = None
) -> Method:
    """Returns the method that a config describes.

    Args:
        config: One of the union.
        checker: The problems' step checker, for methods that can use one.
        fits: Whether an episode can begin at a state; None where everything fits.
    """
    method = _method(config, checker)
    if fits is not None:
        method.fits = fits
    return method


def _method(
    config: MethodConfig, checker: StepChecker | None
) -> GRPO | RRPO | SRPO | POPE | LTE | ExPO:
    match config:
        case SRPOConfig():
            return SRPO(config, checker)
        case RRPOConfig():
            return RRPO(config)
        case POPEConfig():
            return POPE(config)
        case LTEConfig():
            return LTE(config)
        case ExPOConfig():
            return ExPO(config)
        case GRPOConfig():
            return GRPO(config)


__all__ = [
    "GRPO",
    "LTE",
    "METHODS",
    "POPE",
    "RRPO",
    "SRPO",
    "ExPO",
    "ExPOConfig",
    "GRPOConfig",
    "LTEConfig",
    "Method",
    "MethodConfig",
    "POPEConfig",
    "RRPOConfig",
    "SRPOConfig",
    "build_method",
]
