"""The watch that a child of the supervisor keeps on it: the child ends when the supervisor has."""

import os
import signal
import sys
import threading


def watch_parent() -> None:
    """Watch standard input in the background if a supervisor started this process; SIGTERM at its end."""
    if os.environ.get("HYPO_WATCH_PARENT") != "1":
        return
    threading.Thread(target=_watch, name="parent-watch", daemon=True).start()


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 1):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
