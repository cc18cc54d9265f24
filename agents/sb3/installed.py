"""Says what to install where Stable-Baselines3 is missing."""

from importlib.util import find_spec

from reason_env.errors import ConfigError


def check_installed(*packages: str) -> None:
    """Check that packages can be imported.

    Raises:
        ConfigError: One of them is not installed.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"agents of Stable-Baselines3 must have {' and '.join(packages)} installed, got no "
            f"{' and no '.join(missing)}; install the extra: pip install 'reason-env[sb3]'"
        )
