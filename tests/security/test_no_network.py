"""The guard of the tests bites: in this process, in children, and where the error is caught."""

import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ELSEWHERE = "192.0.2.1"  # documentation's address: nobody has it


def attempts(record):
    """Takes what was recorded, so that the guard does not fail this test."""
    found = record.read_text().splitlines()
    record.write_text("")
    return found


@pytest.mark.parametrize(
    "connect",
    [
        lambda: socket.create_connection((ELSEWHERE, 80), timeout=1),
        lambda: socket.socket().connect((ELSEWHERE, 80)),
        lambda: socket.socket().connect_ex((ELSEWHERE, 80)),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (ELSEWHERE, 53)),
        lambda: socket.getaddrinfo("huggingface.co", 443),
        lambda: socket.gethostbyname("huggingface.co"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_connection_to_another_machine_is_refused_and_recorded(connect, no_network):
    with pytest.raises(PermissionError, match="tests use no network, got socket"):
        connect()
    assert len(attempts(no_network)) == 1


def test_an_attempt_whose_error_is_caught_is_recorded_too(no_network):
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen("http://example.org")
    (line,) = attempts(no_network)
    assert line == "socket.getaddrinfo 'example.org'"


@pytest.mark.parametrize("path", [["-c"], ["-X", "utf8", "-c"]])
def test_child_processes_are_guarded(path, no_network):
    code = f"import socket; socket.socket().connect(('{ELSEWHERE}', 80))"
    done = subprocess.run(
        [sys.executable, *path, code], capture_output=True, text=True, check=False
    )
    assert "PermissionError: tests use no network" in done.stderr
    assert attempts(no_network) == [f"socket.connect ('{ELSEWHERE}', 80)"]


def test_child_processes_run_the_sitecustomize_of_their_environment_too(tmp_path, no_network):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.from_own_site = 'own'\n")
    code = (
        "import socket, sys; print(sys.from_own_site); "
        f"socket.socket().connect(('{ELSEWHERE}', 80))"
    )
    places = os.environ["PYTHONPATH"], str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "own\n", done.stderr
    assert "PermissionError: tests use no network" in done.stderr
    assert len(attempts(no_network)) == 1


def test_this_machine_may_be_connected_to():
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "localhost")):
        with socket.socket(family) as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            with socket.create_connection((host, server.getsockname()[1]), timeout=5):
                pass
    one, other = socket.socketpair()
    with one, other:
        one.sendall(b"x")
        assert other.recv(1) == b"x"


def test_a_test_that_leaves_an_attempt_behind_fails(tmp_path):
    (tmp_path / "test_bad.py").write_text(
        "import contextlib, socket\n"
        "def test_that_looks_up_a_name():\n"
        "    with contextlib.suppress(OSError):\n"
        "        socket.gethostbyname('example.org')\n"
    )
    tests = Path(__file__).parents[1]
    shutil.copy(tests / "conftest.py", tmp_path)
    shutil.copytree(tests / "no_network", tmp_path / "no_network")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "AssertionError: socket.gethostbyname 'example.org'" in done.stdout
