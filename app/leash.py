"""A child's end of the pipe to its supervisor: when it closes, the child leaves."""

import os
import signal
import sys
import threading


def hold_leash() -> None:
    """Watch standard input in the background if a supervisor started this process; SIGTERM at its end."""
    if os.environ.get("HYPO_LEASHED") != "1":
        return
    threading.Thread(target=_watch, name="leash", daemon=True).start()


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 1):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
