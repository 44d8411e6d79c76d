"""Sentences about invalid values: pydantic's errors of the frequent kinds, in words of our own.

They name the field and repeat no value. An error of another kind keeps pydantic's words, in English.
"""

from collections.abc import Mapping
from typing import Any


def sentence(error: Mapping[str, Any], field: str) -> str:
    """Convert a pydantic error to a sentence that names the field."""
    said = str(error["msg"]).removeprefix("Value error, ").rstrip(".")
    if error["type"] == "json_invalid":
        return f"The body is not valid JSON: {error.get('ctx', {}).get('error', said)}."
    if field == "body":
        return "The body must be a JSON object, sent with Content-Type: application/json."
    if error["type"] == "missing":
        return f"{field} is missing."
    if error["type"] == "extra_forbidden":
        return f"{field} is not a field of this call; /api/v1/docs lists the fields."
    kind, ctx = error["type"], error.get("ctx", {})
    if kind == "string_too_long" or (kind == "too_long" and isinstance(error.get("input"), str)):
        return f"{field} has more than {ctx['max_length']} characters; shorten it."
    own = _of_kind(kind, field) or _with_bound(kind, field, ctx)
    return own or f"{field}: {said[:1].lower()}{said[1:]}."


def _of_kind(kind: str, field: str) -> str:
    if kind in ("int_type", "int_parsing", "int_from_float", "int_parsing_size"):
        return f"{field}: must be a whole number."
    if kind in ("float_type", "float_parsing", "finite_number"):
        return f"{field}: must be a finite number."
    if kind in ("bool_type", "bool_parsing"):
        return f"{field}: must be true or false."
    if kind in ("string_type", "string_unicode"):
        return f"{field}: must be a text."
    if kind == "list_type":
        return f"{field}: must be a list of values."
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return f"{field}: must be an object with fields."
    return ""


def _with_bound(kind: str, field: str, ctx: Mapping[str, Any]) -> str:
    if kind == "greater_than_equal":
        return f"{field}: must be at least {ctx['ge']}."
    if kind == "less_than_equal":
        return f"{field}: must be at most {ctx['le']}."
    if kind == "greater_than":
        return f"{field}: must be greater than {ctx['gt']}."
    if kind == "less_than":
        return f"{field}: must be less than {ctx['lt']}."
    if kind == "string_too_short":
        return f"{field}: must have at least {ctx['min_length']:,} characters."
    if kind == "too_long":
        return f"{field}: must not have more than {ctx['max_length']:,} values."
    if kind == "too_short":
        return f"{field}: must have at least {ctx['min_length']:,} values."
    if kind in ("enum", "literal_error"):
        known = ctx["expected"].replace(" or ", ", ")
        return f"{field}: must be one of {known}."
    return ""
