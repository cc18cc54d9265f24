"""The position in a token list, and the limits that every parsing function shares."""

from reason_env.verify.parsing.unreadable import UnreadableError

MAX_DEPTH = 48
"""Most nested groups; deeper text is unreadable, long before Python's recursion limit."""


class Cursor:
    """A token list, the position in it, and the number of open groups."""

    __slots__ = ("bars", "depth", "position", "tokens")

    def __init__(self, tokens: list[str]) -> None:
        """Start before the first token."""
        self.tokens = tokens
        self.position = 0
        self.depth = 0
        self.bars = 0

    def peek(self, ahead: int = 0) -> str:
        """Return the next token, or one further ahead; an empty string after the last."""
        try:
            return self.tokens[self.position + ahead]
        except IndexError:
            return ""

    def take(self) -> str:
        """Consume and return the next token."""
        token = self.peek()
        self.position += 1
        return token

    def accept(self, token: str) -> bool:
        """Consume the next token if it is `token`; return whether it was."""
        if self.peek() == token:
            self.position += 1
            return True
        return False

    def expect(self, token: str) -> None:
        """Consume `token`.

        Raises:
            UnreadableError: Another token comes next.
        """
        if not self.accept(token):
            raise UnreadableError(f"no {token!r}")

    def enter(self) -> None:
        """Count one more open group.

        Raises:
            UnreadableError: There are more than `MAX_DEPTH`.
        """
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnreadableError("too deep")

    def leave(self) -> None:
        """Count one open group less."""
        self.depth -= 1

    @property
    def is_done(self) -> bool:
        """True if no token is left."""
        return self.position >= len(self.tokens)
