"""The text that ends a reasoning step, and the white space that does not count."""

from reason_env.errors import CodecError

BLANKS = " \t\n\r\v\f"
"""White space: the ASCII characters, each a single byte, so that it is found in bytes too."""
DELIMITERS = {"line": "\n", "paragraph": "\n\n"}
"""Step delimiters by name."""


def delimiter_of(given: str) -> str:
    r"""The step delimiter that is given by its name or as itself.

    >>> delimiter_of("paragraph"), delimiter_of(";")
    ('\n\n', ';')

    Raises:
        CodecError: It is empty.
    """
    if not given:
        raise CodecError(
            f"step_delimiter must be a text or one of {', '.join(DELIMITERS)}, got ''; use 'line'"
        )
    return DELIMITERS.get(given, given)
