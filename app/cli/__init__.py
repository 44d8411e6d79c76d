"""The command `hypo`, a file a group of commands."""

from app.cli.main import main

__all__ = ["main"]
