"""Says which extra to install where another project's package is missing."""

from importlib.util import find_spec

from reason_env.errors import ConfigError


def check_installed(*packages: str, extra: str) -> None:
    """Check that packages can be imported.

    Raises:
        ConfigError: One of them is not installed.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{extra} must have {' and '.join(packages)} installed, got no "
            f"{' and no '.join(missing)}; install the extra in an environment of its own: "
            f"pip install 'reason-env[{extra}]'"
        )
