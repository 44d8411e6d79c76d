"""`hypo endpoints`: list the configured endpoints, and ask each for one word."""

import os
from typing import Annotated

import typer

from app.cli.output import JsonFlag, print_json, print_table
from app.endpoints import Asked, Client, Endpoint, configured
from app.errors import AppError, Refused

QUESTION = Asked([{"role": "user", "content": "Reply with one word."}], 16, 0.0, 1.0, 0)


def endpoints(
    check: Annotated[
        bool, typer.Option("--check", help="Send one short request to each; exits with 1 if one fails.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """List the endpoints of HYPO_ENDPOINTS, and whether their keys are set here."""
    found = [(one, _state(one, check=check)) for one in configured()]
    if as_json:
        print_json([{**one.model_dump(), "state": state} for one, state in found])
    else:
        print_table(
            ["name", "model", "address", "state"],
            ((one.name, one.model, one.base_url, state) for one, state in found),
            empty="No endpoints; HYPO_ENDPOINTS names the file that lists them.",
        )
    failed = [one.name for one, state in found if check and state != "replies"]
    if failed:
        raise Refused(f"No reply from {', '.join(failed)}.")


def _state(endpoint: Endpoint, *, check: bool) -> str:
    """In a word, whether requests can be sent; a sentence if a check failed."""
    if not check:
        name = endpoint.api_key_env
        return "no key needed" if not name else "key is set" if os.environ.get(name) else f"{name} is not set"
    client = Client(endpoint)
    try:
        client.complete(QUESTION)
    except AppError as error:
        return str(error)
    finally:
        client.close()
    return "replies"
