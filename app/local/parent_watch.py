"""Parent watch of the supervisor's children: a child exits when its supervisor has ended."""

import os
import signal
import sys
import threading


def watch_parent() -> None:
    """Start a thread that sends this process SIGTERM once its supervisor, if any, closes standard input."""
    if os.environ.get("HYPO_WATCH_PARENT") != "1":
        return
    threading.Thread(target=_watch, name="parent-watch", daemon=True).start()


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 1):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
