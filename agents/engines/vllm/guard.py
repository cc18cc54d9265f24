"""Runs an engine's command and lets nothing of it outlive the trainer. Standard library only.

Run as a program: `python guard.py GRACE_S FD COMMAND...`, in a session of its own, with a pipe
as standard input that the trainer keeps open. Where the trainer closes it, or dies in whatever way,
the pipe ends: the command is asked to stop (SIGTERM), and after GRACE_S seconds its whole process
group is killed. Where the command ends by itself, what it left behind is killed at once. FD is the
socket that the command inherits, which this process must not hold too, or its end would never be
seen; -1 for none.
"""

import os
import signal
import subprocess
import sys
import threading


def main() -> None:
    """Runs the command to its end, or to the trainer's."""
    grace_s, descriptor, command = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    inherited = () if descriptor < 0 else (descriptor,)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=inherited)
    if descriptor >= 0:
        os.close(descriptor)

    def stop_with_the_trainer() -> None:
        while os.read(0, 1024):
            pass
        child.terminate()
        try:
            child.wait(timeout=grace_s)
        except subprocess.TimeoutExpired:
            os.killpg(0, signal.SIGKILL)

    threading.Thread(target=stop_with_the_trainer, daemon=True).start()
    status = child.wait()
    os.write(2, f"the engine's process ended with status {status}\n".encode())
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
