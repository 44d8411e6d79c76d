"""What every process of the app does as it starts: keep its files private, and hold the supervisor's pipe."""

import os
import signal
import sys
import threading


def keep_private() -> None:
    """Let nobody but this user read what the process writes."""
    os.umask(0o077)


def watch_parent() -> None:
    """Watch standard input in the background if a supervisor started this process; SIGTERM at its end."""
    if os.environ.get("HYPO_WATCH_PARENT") != "1":
        return
    threading.Thread(target=_watch, name="parent-watch", daemon=True).start()


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 1):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
