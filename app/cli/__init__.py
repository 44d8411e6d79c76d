"""The command `hypo`: one file for each group of commands."""

from app.cli.main import main

__all__ = ["main"]
