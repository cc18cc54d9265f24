"""The place in a token list, with the bounds that every parsing function shares."""

from reason_env.verify.parsing.normalizing import UnreadableError

MAX_DEPTH = 48
"""Nested groups; deeper text is unreadable, long before Python's own recursion limit."""


class Cursor:
    """A token list, a position in it and the open groups."""

    __slots__ = ("bars", "depth", "position", "tokens")

    def __init__(self, tokens: list[str]) -> None:
        """Starts before the first token."""
        self.tokens = tokens
        self.position = 0
        self.depth = 0
        self.bars = 0

    def peek(self, ahead: int = 0) -> str:
        """Returns a token to come, or an empty string after the last one."""
        try:
            return self.tokens[self.position + ahead]
        except IndexError:
            return ""

    def take(self) -> str:
        """Returns the next token and moves on."""
        token = self.peek()
        self.position += 1
        return token

    def accept(self, token: str) -> bool:
        """Takes the next token if it is this one."""
        if self.peek() == token:
            self.position += 1
            return True
        return False

    def expect(self, token: str) -> None:
        """Takes exactly this token."""
        if not self.accept(token):
            raise UnreadableError(f"no {token!r}")

    def enter(self) -> None:
        """Counts one more open group."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnreadableError("too deep")

    def leave(self) -> None:
        """Counts one group less."""
        self.depth -= 1

    @property
    def is_done(self) -> bool:
        """True after the last token."""
        return self.position >= len(self.tokens)
