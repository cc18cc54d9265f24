"""Run commands as a user does, in this process."""

import pytest

from reason_env import cli


def run_command(capsys, *words):
    """Run one command; return exit status, standard output and standard error."""
    status = 0
    try:
        cli.main(list(words))
    except SystemExit as stop:
        status = stop.code or 0
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def command(capsys):
    """Call with words; returns exit status, standard output and standard error."""
    return lambda *words: run_command(capsys, *words)


@pytest.fixture
def refused(capsys):
    """Call with the words of a command that must fail; returns its one-line error."""

    def call(*words):
        status, _, error = run_command(capsys, *words)
        assert status == 2, error
        lines = error.strip().splitlines()
        assert len(lines) == 1, lines
        assert "Traceback" not in error
        return lines[0]

    return call
