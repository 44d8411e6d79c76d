"""Signals that stop a training process at the end of a step, with a checkpoint. No torch here."""

import signal
from types import FrameType, TracebackType
from typing import Any, Self

from hypo_engine.errors import EngineError
from hypo_engine.reporting import Wish

_HANDLED = (signal.SIGTERM, signal.SIGINT)


class Stopped(EngineError):
    """A signal to this process, or to another one of the run, stopped the run.

    Attributes:
        exit_code: 128 plus the signal's number, as in shells: 143 for SIGTERM, 130 for Ctrl-C.
    """

    def __init__(self, received: signal.Signals | None, what_now: str) -> None:
        by = received.name if received else "another process of the run"
        super().__init__(f"Stopped by {by}. {what_now}")
        self.exit_code = 128 + (received or signal.SIGTERM)


class StopSignals:
    """In the block, SIGTERM and Ctrl-C become a wish to stop; a second one ends the process at once.

    Attributes:
        received: The received signal, or None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._receive) for number in _HANDLED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wish(self) -> Wish:
        """The wish that follows from the signal."""
        return Wish.CONTINUE if self.received is None else Wish.YIELD

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        for handled in _HANDLED:
            signal.signal(handled, signal.SIG_DFL)
