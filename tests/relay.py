"""A TCP relay to a real server that can be cut, frozen, made to lose a reply, and reopened."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class Relay:
    """Listens on a local port and forwards data while it is open."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._listener: socket.socket | None = None
        self._ends: list[socket.socket] = []
        self._flowing = threading.Event()
        self._flowing.set()
        self._unanswered = b""
        self._losing: set[socket.socket] = set()
        self.port = 0
        self.open()

    def open(self) -> None:
        """Accept connections, on the same port as before."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """Close every connection and refuse new ones."""
        listener, self._listener = self._listener, None
        self._break([listener] if listener else [])
        self._flowing.set()

    def freeze(self) -> None:
        """Act as a hung server: accept connections and bytes, but never reply."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Resume; data sent meanwhile is delivered now."""
        self._flowing.set()

    def lose_the_reply_to(self, said: bytes) -> None:
        """Close every connection once the server has processed the next message with these bytes."""
        self._unanswered = said

    @property
    def has_lost(self) -> bool:
        """Whether the reply was lost."""
        return not self._unanswered

    def _break(self, others: list[socket.socket]) -> None:
        ends, self._ends = [*others, *self._ends], []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = self._connect()
                self._ends += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                if source in self._losing:
                    self._losing.clear()
                    self._break([])
                    return
                if self._unanswered and self._unanswered in data:
                    self._unanswered = b""
                    self._losing.add(target)
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
