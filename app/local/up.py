"""The foreground part of `hypo up`: migrate, start, report, watch, stop."""

import json
import os
import signal
import sys
import threading
from types import FrameType

from app import demo as demo_data
from app import migrate
from app.cli.progress import BackgroundFollow, console, results_table
from app.local.supervisor import Supervisor
from app.settings import Settings, get_settings


def run_up(settings: Settings, *, host: str, port: int, demo: bool, as_json: bool = False) -> None:
    """Run everything until Ctrl-C or SIGTERM.

    Raises:
        Refused: when it cannot start. Children already started are stopped.
    """
    os.environ["HYPO_HOME"] = str(settings.root)
    get_settings.cache_clear()
    supervisor = Supervisor(get_settings(), host, port)
    _stop_on_signals(supervisor)
    follower: BackgroundFollow | None = None
    try:
        settings.root.mkdir(parents=True, exist_ok=True)
        migrate.upgrade()
        supervisor.start()
        if as_json:
            console.file = sys.stderr
            print(json.dumps({"url": supervisor.url, "pid": os.getpid()}), flush=True)
        console.print(f"HyPO Studio is up: [bold]{supervisor.url}[/]   (Ctrl-C stops it)")
        if demo:
            follower = _start_demo(supervisor)
        supervisor.watch()
    finally:
        if follower is not None:
            follower.stop()
        if supervisor.children:
            console.print("Stopping ...")
        supervisor.stop()


def _stop_on_signals(supervisor: Supervisor) -> None:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        supervisor.request_stop()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)


def _start_demo(supervisor: Supervisor) -> BackgroundFollow:
    run_ids = demo_data.ensure_experiment()

    def tell() -> None:
        console.print()
        console.print(results_table(run_ids))
        console.print()
        console.print(f"The charts      {supervisor.url}/run?id={run_ids[-1]}", soft_wrap=True)
        runs = ",".join(map(str, run_ids))
        console.print(f"Side by side    {supervisor.url}/compare?runs={runs}", soft_wrap=True)
        console.print("The app stays up until Ctrl-C.")

    follower = BackgroundFollow(run_ids, tell)
    follower.start()
    return follower
