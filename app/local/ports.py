"""Checks of this machine's ports."""

import socket

from app.errors import Refused


def free_port(host: str, port: int) -> int:
    """Check that a port can be listened on; 0 picks a free one.

    Raises:
        Refused: the port cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Refused(
                f"Port {port} on {host} cannot be used ({error.strerror}); choose another with --port, "
                "or --port 0 for a free one."
            ) from error
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Whether a server listens on this loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
