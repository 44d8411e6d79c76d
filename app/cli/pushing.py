"""Options and messages of the commands that push to a hub."""

import sys
from typing import Annotated

import typer

from app.cli.output import print_json, say
from app.errors import Refused
from app.pushing.hub import Pushed

RepoArgument = Annotated[
    str, typer.Argument(help="The repository: OWNER/NAME, or NAME of the token's owner.", metavar="REPO")
]
PublicFlag = Annotated[
    bool, typer.Option("--public", help="Everybody may read it; by default the repository is private.")
]
UpdateFlag = Annotated[
    bool, typer.Option("--update", help="Add a commit to a repository that exists and has files.")
]
YesFlag = Annotated[bool, typer.Option("--yes", help="With --public: do not ask.")]


def agree(repo: str, *, public: bool, yes: bool) -> None:
    """Ask before something becomes public.

    Raises:
        Refused: nobody can be asked, or the person says no.
    """
    if not public or yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"Everybody could read {repo}; give --yes as well if that is meant.")
    if not typer.confirm(f"Everybody will be able to read {repo}. Push?", err=True):
        raise Refused("Nothing was pushed.")


def report(pushed: Pushed, *, as_json: bool) -> None:
    """Print where the commit is."""
    if as_json:
        print_json(
            {
                "repo": pushed.repo_id,
                "address": pushed.address,
                "commit": pushed.commit,
                "commit_address": pushed.commit_address,
                "public": pushed.public,
                "files": list(pushed.files),
            }
        )
        return
    say(f"Pushed to {pushed.address} ({'public' if pushed.public else 'private'}).")
    say(f"Commit {pushed.commit}: {pushed.commit_address}")
