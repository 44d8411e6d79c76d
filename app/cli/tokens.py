"""`hypo tokens`: create, list and revoke tokens for programs that call the REST API."""

from typing import Annotated, Any

import typer

from app.cli.output import JsonFlag, print_json, print_table, say, stdout, warn
from app.errors import InvalidInput
from app.settings import get_settings
from app.store import tokens
from app.store.db import read_session, write_session
from app.store.models import ApiToken

cli = typer.Typer(help="Tokens for programs that call the REST API.", no_args_is_help=True)


@cli.command("create")
def create_command(
    user: Annotated[str, typer.Option(help="The token's user; votes cast with it are this user's.")],
    name: Annotated[str, typer.Option(help="Purpose of the token, such as the program's name.")] = "",
    expires: Annotated[
        float | None, typer.Option(metavar="DAYS", help="Days until it expires; by default it never does.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Create a token and print it once; only its hash is stored."""
    logins = [login for login, _ in get_settings().logins()]
    if logins and user.strip() not in logins:
        raise InvalidInput(
            f"{user!r} has no login (HYPO_AUTH), so the app would refuse the token. "
            f"The logins are: {', '.join(logins)}.",
            field="user",
        )
    with write_session() as session:
        token, secret = tokens.create(user, session=session, label=name, expires_days=expires)
    if as_json:
        print_json({**_view(token, user.strip()), "token": secret})
        return
    stdout.print(secret, markup=False)
    warn("The token is shown only once. Programs send it as `Authorization: Bearer TOKEN`.")


@cli.command("list")
def list_command(
    user: Annotated[str | None, typer.Option(help="Only this user's tokens.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List tokens, newest first; the tokens themselves are not stored."""
    with read_session() as session:
        views = [_view(token, name) for token, name in tokens.listed(session=session, user=user)]
    if as_json:
        print_json(views)
        return
    columns = ("id", "user", "name", "state", "created_at", "expires_at", "last_used_at")
    print_table(
        [column.replace("_at", "").replace("_", " ") for column in columns],
        ([_short(view[column]) for column in columns] for view in views),
        empty="No tokens yet; `hypo tokens create --user NAME` makes one.",
    )


@cli.command("revoke")
def revoke_command(
    token_id: Annotated[
        int, typer.Argument(min=1, max=2**31 - 1, help="The token's number, as printed by hypo tokens list.")
    ],
    as_json: JsonFlag = False,
) -> None:
    """Revoke a token: the next call with it is refused."""
    with write_session() as session:
        tokens.revoke(token_id, session=session)
    print_json({"revoked": token_id}) if as_json else say(f"Token {token_id} is revoked.")


def _view(token: ApiToken, user: str) -> dict[str, Any]:
    times = {
        name: None if (at := getattr(token, name)) is None else at.isoformat()
        for name in ("created_at", "expires_at", "last_used_at", "revoked_at")
    }
    return {"id": token.id, "user": user, "name": token.label, "state": tokens.state(token), **times}


def _short(value: object) -> object:
    return value[:16].replace("T", " ") if isinstance(value, str) and value[10:11] == "T" else value
