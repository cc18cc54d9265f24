import re
from importlib.util import find_spec

import pytest

from reason_env.agents.integrations.installed import check_installed
from reason_env.cli.serve import Serve
from reason_env.errors import ConfigError
from reason_env.serving import ServingConfig


@pytest.mark.skipif(find_spec("openenv") is not None, reason="openenv is here: make test")
def test_serve_without_openenv_names_the_extra(command):
    code, _, error = command("serve", "--problems", "chain")
    assert code == 2
    assert "openenv must have openenv and uvicorn installed, got no openenv" in error
    assert "pip install 'reason-env[openenv]'" in error


def test_packages_that_are_there_are_not_asked_for():
    check_installed("gymnasium", "numpy", extra="openenv")
    words = re.escape("x must have numpy and nosuch_a installed, got no nosuch_a; install")
    with pytest.raises(ConfigError, match=words):
        check_installed("numpy", "nosuch_a", extra="x")


def test_a_wrong_limit_is_refused_before_openenv_is_looked_for(command):
    code, _, error = command("serve", "--host", "0.0.0.0")
    assert code == 2
    assert "host must be of this machine alone where no token is asked for" in error
    assert "give token_file, or keep host 127.0.0.1" in error


def test_the_defaults_serve_this_machine_alone():
    serving = Serve().serving
    assert serving == ServingConfig()
    assert (serving.host, serving.token_file, serving.max_sessions) == ("127.0.0.1", None, 256)
