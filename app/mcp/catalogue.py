"""The tools: which operations of the REST API are offered, and what they take."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Schema = Mapping[str, Any]

DEFAULT_ITEMS: Final = 20
"""Items on a page of a tool, where the REST API has more."""

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_COMPONENTS: Final = "#/components/schemas/"


@dataclass(frozen=True, slots=True)
class Offer:
    """An operation that is offered as a tool.

    `about` is the reading operation that describes what a changing one acts on; a person who is asked for
    consent sees its answer. `without` lists fields that are left out of the items of a list.
    """

    changes: bool = False
    about: str = ""
    without: tuple[str, ...] = ()
    called: str = ""
    repeatable: bool = False


_LONG: Final = ("config", "metrics", "pairs_left_out")

OFFERS: Final[dict[str, Offer]] = {
    "list_datasets": Offer(without=("account",)),
    "get_dataset": Offer(),
    "list_pairs": Offer(),
    "list_left_out": Offer(),
    "list_leaks": Offer(),
    "list_pair_scorings": Offer(),
    "list_scored_pairs": Offer(),
    "held_out_prompt": Offer(called="get_held_out_prompt"),
    "list_presets": Offer(),
    "forecast_runs": Offer(),
    "list_runs": Offer(without=_LONG),
    "get_run": Offer(),
    "get_metrics": Offer(),
    "list_samples": Offer(),
    "list_events": Offer(),
    "list_checkpoints": Offer(),
    "list_generations": Offer(),
    "get_generation": Offer(),
    "get_answer_tokens": Offer(),
    "list_scored_texts": Offer(),
    "get_scored_text": Offer(),
    "list_campaigns": Offer(without=("guidelines", "voters")),
    "get_campaign": Offer(),
    "get_board": Offer(),
    "get_campaign_board": Offer(),
    "get_campaign_quality": Offer(),
    "list_disagreements": Offer(),
    "get_disagreement": Offer(),
    "list_judges": Offer(),
    "get_judge": Offer(),
    "get_judge_board": Offer(),
    "list_verdicts": Offer(),
    "list_run_judges": Offer(),
    "list_sample_verdicts": Offer(),
    "list_reports": Offer(),
    "get_report": Offer(),
    "get_lineage": Offer(),
    "list_conversations": Offer(),
    "get_conversation": Offer(),
    "get_comparison": Offer(),
    "list_votes": Offer(),
    "get_vote": Offer(),
    "list_workers": Offer(),
    "launch_runs": Offer(changes=True, about="get_dataset"),
    "clone_run": Offer(changes=True, about="get_run"),
    "cancel_run": Offer(changes=True, about="get_run", repeatable=True),
    "resume_run": Offer(changes=True, about="get_run"),
    "ask": Offer(changes=True, called="ask_models"),
    "follow_up": Offer(changes=True, about="get_conversation", called="ask_models_again"),
    "score_pairs": Offer(changes=True, about="get_dataset"),
    "score_answer": Offer(changes=True, about="get_generation"),
    "score_text": Offer(changes=True),
    "create_campaign": Offer(changes=True),
    "add_dataset_from_votes": Offer(changes=True),
    "create_report": Offer(changes=True),
    "start_judge": Offer(changes=True, about="get_campaign"),
    "start_run_judge": Offer(changes=True, about="get_run"),
    "stop_judge": Offer(changes=True, about="get_judge", repeatable=True),
    "resume_judge": Offer(changes=True, about="get_judge"),
}
"""Every tool by the name of its operation. None deletes anything, votes, or shows hidden names."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool, and where the arguments of its operation go."""

    name: str
    text: str
    offer: Offer
    method: str
    path: str
    in_path: tuple[str, ...]
    in_query: tuple[str, ...]
    in_body: tuple[str, ...]
    schema: Schema

    @property
    def title(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ").capitalize()

    @property
    def needed(self) -> tuple[str, ...]:
        """The arguments without a default."""
        return tuple(self.schema.get("required", ()))


def tools_of(api: Schema) -> dict[str, Tool]:
    """The tools of an API, by name, from its OpenAPI schema.

    Raises:
        KeyError: an offered operation does not exist.
    """
    found = {said["operationId"]: (path, method, said) for path, method, said in _operations(api)}
    tools = [_tool(*found[operation], offer, api) for operation, offer in OFFERS.items()]
    return {tool.name: tool for tool in tools}


def _operations(api: Schema) -> Iterator[tuple[str, str, Schema]]:
    for path, item in api["paths"].items():
        for method in _METHODS:
            if method in item:
                yield path, method, item[method]


def _tool(path: str, method: str, said: Schema, offer: Offer, api: Schema) -> Tool:
    given = [one for one in said.get("parameters", ()) if one["in"] in ("path", "query")]
    fields = {one["name"]: _field(one) for one in given}
    needed = [one["name"] for one in given if one.get("required")]
    body = _body(said, api)
    if shared := fields.keys() & body.get("properties", {}).keys():
        raise KeyError(f"{said['operationId']} takes {sorted(shared)[0]} in two places.")
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {**fields, **body.get("properties", {})},
        "required": [*needed, *body.get("required", ())],
        "additionalProperties": False,
    }
    return Tool(
        name=offer.called or said["operationId"],
        text=said.get("description", "").strip(),
        offer=offer,
        method=method.upper(),
        path=path,
        in_path=tuple(one["name"] for one in given if one["in"] == "path"),
        in_query=tuple(one["name"] for one in given if one["in"] == "query"),
        in_body=tuple(body.get("properties", {})),
        schema=_self_contained(schema, api),
    )


def _field(parameter: Schema) -> dict[str, Any]:
    """The schema of a parameter, with its description, and with fewer items on a page."""
    field = {**parameter["schema"]}
    if "description" in parameter:
        field["description"] = parameter["description"]
    if parameter["name"] == "limit":
        field["default"] = DEFAULT_ITEMS
    return field


def _body(said: Schema, api: Schema) -> Schema:
    content = said.get("requestBody", {}).get("content", {})
    schema: Schema = content.get("application/json", {}).get("schema", {})
    return _resolved(schema["$ref"], api) if "$ref" in schema else schema


def _resolved(reference: str, api: Schema) -> Schema:
    found: Schema = api["components"]["schemas"][reference.removeprefix(_COMPONENTS)]
    return found


def _self_contained(schema: Schema, api: Schema) -> Schema:
    """The schema with the components that it refers to, directly or through others, in `$defs`."""
    kept: dict[str, Any] = {}
    waiting = list(_references(schema))
    while waiting:
        name = waiting.pop().removeprefix(_COMPONENTS)
        if name not in kept:
            kept[name] = _resolved(name, api)
            waiting += _references(kept[name])
    moved: Schema = _moved({**schema, "$defs": kept} if kept else schema)
    return moved


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def _moved(part: Any) -> Any:
    """Copy a schema with its references pointing to `$defs`, and without generated titles."""
    if isinstance(part, list):
        return [_moved(value) for value in part]
    if not isinstance(part, Mapping):
        return part
    if isinstance(part.get("$ref"), str):
        return {**part, "$ref": part["$ref"].replace(_COMPONENTS, "#/$defs/")}
    return {
        key: {name: _moved(value) for name, value in inner.items()} if key in _BY_NAME else _moved(inner)
        for key, inner in part.items()
        if not (key == "title" and isinstance(inner, str))
    }


_BY_NAME: Final = ("properties", "$defs")
"""Keywords whose keys are names, among which `title` may be a field."""
