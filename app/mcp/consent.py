"""Ask a person for consent to a call that changes something.

A client that offers elicitation shows the person a question: in the middle of the call, or in protocol
2026-07-28 between two requests of it. Any other client gets an id that the tool `confirm` takes.
"""

from collections.abc import Mapping
from typing import Any, Final

from mcp.server import ServerRequestContext
from mcp.types import (
    CallToolRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
)
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from app.errors import Refused
from app.mcp.catalogue import Tool
from app.mcp.confirmations import Confirmations
from app.mcp.shortening import as_text, shortened

CONFIRM: Final = "confirm"
DECLINED: Final = "Nothing was done: the person did not agree."
_QUESTION: Final = "consent"
_NO_FIELDS: Final[dict[str, Any]] = {"type": "object", "properties": {}}
_MOST_SHOWN: Final = 2000
_NAMING: Final = ("id", "name", "version", "method", "status", "step", "total_steps", "rows")

Context = ServerRequestContext[Any, Any]


def offers_elicitation(ctx: Context) -> bool:
    """Whether the client can show a person a question."""
    capabilities = ctx.session.client_capabilities
    offered = capabilities.elicitation if capabilities else None
    return offered is not None and (offered.form is not None or offered.url is None)


async def asked_at_once(ctx: Context, question: str) -> bool | None:
    """A person's answer within the call, or None if the protocol or the client does not allow to ask so."""
    if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS or not offers_elicitation(ctx):
        return None
    if not ctx.session.can_send_request:
        return None
    answer = await ctx.session.elicit_form(question, _NO_FIELDS, ctx.request_id)
    return answer.action == "accept"


def asked_between(ctx: Context, question: str, confirmation_id: str) -> InputRequiredResult | None:
    """The question as the result of the call's first request, or None if the client does not take it."""
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS or not offers_elicitation(ctx):
        return None
    form = ElicitRequestFormParams(message=question, requested_schema=_NO_FIELDS)
    return InputRequiredResult(
        input_requests={_QUESTION: ElicitRequest(params=form)}, request_state=confirmation_id
    )


def agreed(params: CallToolRequestParams, confirmations: Confirmations, user: str) -> bool:
    """Whether the person agreed to a call that comes back with the answer to `asked_between`.

    Raises:
        Refused: the question was never asked about this call, was answered already, or is too old.
    """
    waiting = confirmations.take(params.request_state or "", user)
    if (waiting.tool, waiting.arguments) != (params.name, params.arguments or {}):
        raise Refused("The consent was given for another call; call the tool again.")
    answer = (params.input_responses or {}).get(_QUESTION)
    return isinstance(answer, ElicitResult) and answer.action == "accept"


def two_steps(question: str, confirmation_id: str) -> dict[str, str]:
    """The result for a client without elicitation."""
    return {
        "done": "nothing yet",
        "would_do": question,
        "confirmation_id": confirmation_id,
        "next": f"Show this to the person. If they agree, call {CONFIRM} with this confirmation_id within "
        "ten minutes.",
    }


def question_of(tool: Tool, arguments: Mapping[str, Any], about: Any) -> str:
    """What a call would do, for a person.

    Args:
        about: the object that the call acts on, as the API describes it, or None.
    """
    lines = [f"{tool.title}: {tool.text.splitlines()[0]}"]
    if isinstance(about, Mapping):
        named = ", ".join(f"{key} {about[key]}" for key in _NAMING if about.get(key) not in (None, ""))
        lines.append(f"Acts on: {named}.")
    given = as_text(shortened(dict(arguments)))
    shown = given if len(given) <= _MOST_SHOWN else f"{given[:_MOST_SHOWN]} ..."
    return "\n".join([*lines, f"Arguments: {shown}"])
