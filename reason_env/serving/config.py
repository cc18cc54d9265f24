"""ServingConfig: who may use a server of environments, and how much of it."""

import ipaddress
import math
from dataclasses import dataclass
from pathlib import Path

from reason_env.errors import ConfigError, shown

LEAST_MESSAGE_BYTES = 1024
LEAST_TOKEN_CHARS = 16
LAST_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingConfig:
    """Address and limits of a server.

    >>> ServingConfig(host="0.0.0.0")
    Traceback (most recent call last):
        ...
    reason_env.errors.ConfigError: host must be of this machine alone where no token is asked for, \
got '0.0.0.0'; give token_file, or keep host 127.0.0.1
    """

    host: str = "127.0.0.1"
    """Address to listen at; one that other machines reach needs a token_file."""
    port: int = 8000
    """Port to listen at; 0 for any free one."""
    token_file: Path | None = None
    """File that holds the token which every request must carry; None to serve this machine alone,
    without a token."""
    max_sessions: int = 256
    """Sessions at the same time; a further one is refused."""
    max_message_bytes: int = 1_048_576
    """Largest message, bytes; a larger one ends its connection."""
    idle_s: float = 600.0
    """Seconds without a message after which a session ends."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= LAST_PORT:
            raise ConfigError(f"port must lie in 0..{LAST_PORT}, got {self.port!r}")
        if self.max_sessions < 1:
            raise ConfigError(f"max_sessions must be at least 1, got {self.max_sessions!r}")
        if self.max_message_bytes < LEAST_MESSAGE_BYTES:
            raise ConfigError(
                f"max_message_bytes must be at least {LEAST_MESSAGE_BYTES}, got "
                f"{self.max_message_bytes!r}"
            )
        if not (math.isfinite(self.idle_s) and self.idle_s > 0):
            raise ConfigError(f"idle_s must be finite and above 0, got {self.idle_s!r}")
        if self.token_file is None and not is_loopback(self.host):
            raise ConfigError(
                "host must be of this machine alone where no token is asked for, got "
                f"{self.host!r}; give token_file, or keep host 127.0.0.1"
            )

    def token(self) -> str | None:
        """Read the token; None if none is asked for.

        Raises:
            ConfigError: The file cannot be read, or holds no token; it is never shown.
        """
        if self.token_file is None:
            return None
        try:
            text = self.token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"token_file must name a file of ASCII text, got {shown(str(self.token_file))}: "
                f"{type(error).__name__}; write one: openssl rand -hex 32 > token"
            ) from error
        if len(text) < LEAST_TOKEN_CHARS or not text.isprintable() or " " in text:
            raise ConfigError(
                f"token_file must hold one word of at least {LEAST_TOKEN_CHARS} characters, got "
                f"{len(text)} characters; write one: openssl rand -hex 32 > token"
            )
        return text


def is_loopback(host: str) -> bool:
    """Whether a name or address, without its port, is of this machine alone.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "a.example")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
