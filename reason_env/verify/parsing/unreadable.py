"""What parsing raises where a text is no answer that it can read."""


class UnreadableError(ValueError):
    """The text is not in the grammar of answers."""


class UnknownCommandError(UnreadableError):
    """The text may be well formed, but has a command or environment unknown to the reader."""
