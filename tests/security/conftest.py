"""Run commands as tests/cli does."""

import importlib.util
from pathlib import Path

_place = Path(__file__).parents[1] / "cli" / "conftest.py"
_spec = importlib.util.spec_from_file_location("cli_conftest", _place)
assert _spec is not None
assert _spec.loader is not None
_cli = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_cli)
command, refused = _cli.command, _cli.refused
