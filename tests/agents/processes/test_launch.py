import os
import signal
import sys
import threading
import time

import pytest

from reason_env.agents.processes import launch
from reason_env.errors import ConfigError, ProcessError

MODULE = sys.modules[launch.__module__]


def python(text):
    return ["-c", f"import os, signal, sys, time\nrank = int(os.environ['RANK'])\n{text}"]


def test_each_process_knows_its_number_their_number_and_where_they_meet(tmp_path):
    text = f"""
found = [os.environ[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "REASON_ENV_MEETING")]
open({str(tmp_path)!r} + "/" + found[0], "w").write(" ".join(found))
"""
    assert launch(3, python(text)) == 0
    found = [(tmp_path / str(rank)).read_text().split() for rank in range(3)]
    assert [row[:3] for row in found] == [["0", "0", "3"], ["1", "1", "3"], ["2", "2", "3"]]
    assert len({row[3] for row in found}) == 1
    assert not os.path.exists(os.path.dirname(found[0][3]))


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("sys.exit(5 if rank == 0 else 0)", 5),
        ("sys.exit(5 if rank == 0 else 3)", 5),
        ("sys.exit(3 if rank == 1 else 0)", 1),
        ("os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else None", 1),
    ],
)
def test_the_status_is_that_of_the_first_process_or_1_if_another_failed(text, status):
    assert launch(2, python(text)) == status


def test_processes_that_hang_after_another_one_failed_are_asked_to_end_and_then_killed(monkeypatch):
    monkeypatch.setattr(MODULE, "GRACE_S", 0.3)
    began = time.monotonic()
    asked = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))"
    assert launch(2, python(f"{asked}\ntime.sleep(60) if rank == 0 else sys.exit(3)")) == 7
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    with pytest.raises(ProcessError, match=r"first process .* by SIGKILL; .* --devices 2"):
        launch(2, python(f"{deaf}\ntime.sleep(60) if rank == 0 else sys.exit(3)"))
    assert time.monotonic() - began < 30


def test_a_first_process_that_is_killed_is_reported():
    text = "os.kill(os.getpid(), signal.SIGKILL) if rank == 0 else time.sleep(0.1)"
    with pytest.raises(ProcessError, match="the first process must live as long as the run, got"):
        launch(2, python(text))


def test_ctrl_c_ends_the_first_process_in_order_and_not_the_others(tmp_path):
    # The other one waits for the first, as followers do.
    text = f"""
path = {str(tmp_path / "over")!r}
if rank == 0:
    def end(*_):
        open(path, "w").close()
        sys.exit(130)
    signal.signal(signal.SIGTERM, end)
    open(path + "ready", "w").close()
    time.sleep(60)
deadline = time.monotonic() + 60
while not os.path.exists(path) and time.monotonic() < deadline:
    time.sleep(0.01)
"""

    def interrupt():
        while not (tmp_path / "overready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    # What a script starts in the background ignores interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    assert launch(2, python(text)) == 130
    thread.join()
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("world", ["1", "2"])
def test_one_process_and_processes_among_others_start_none(monkeypatch, world):
    monkeypatch.setenv("WORLD_SIZE", world)
    number = 1 if world == "1" else 4
    with pytest.raises(ConfigError, match=rf"devices must be at least 2 .*, got {number}; run"):
        launch(number, python(""))


def test_processes_do_not_use_more_threads_than_there_are_cores(monkeypatch, tmp_path):
    path = str(tmp_path / "threads")
    text = f"open({path!r} + str(rank), 'w').write(os.environ['OMP_NUM_THREADS'])"
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert launch(2, python(text)) == 0
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert (tmp_path / "threads1").read_text() == "3"
    assert launch(2, python(text)) == 0
    assert (tmp_path / "threads0").read_text() == "5"
