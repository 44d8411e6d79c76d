"""Invalid values of a call, in words of our own and in the caller's language."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from app.i18n import in_language
from app.i18n.language import speaking
from app.rest import validation


class Call(BaseModel):
    """Fields of the kinds that calls have."""

    count: Annotated[int, Field(ge=1, le=9)] = 1
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    blind: bool = False
    name: Annotated[str, Field(min_length=2, max_length=5)] = "ab"
    rows: Annotated[list[int], Field(min_length=1, max_length=2)] = [1]
    table: dict[str, int] = {}
    kind: Literal["one", "two"] = "one"


CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"count": 0}, "count: must be at least 1.", "count: нужно не меньше 1."),
    ({"count": 10}, "count: must be at most 9.", "count: нужно не больше 9."),
    ({"count": "x"}, "count: must be a whole number.", "count: нужно целое число."),
    ({"count": 1.5}, "count: must be a whole number.", "count: нужно целое число."),
    ({"share": 0}, "share: must be greater than 0.0.", "share: нужно больше 0.0."),
    ({"share": 1}, "share: must be less than 1.0.", "share: нужно меньше 1.0."),
    ({"share": "x"}, "share: must be a finite number.", "share: нужно конечное число."),
    ({"blind": "x"}, "blind: must be true or false.", "blind: нужно true или false."),
    ({"name": 5}, "name: must be a text.", "name: нужен текст."),
    ({"name": "a"}, "name: must have at least 2 characters.", "name: нужно не меньше 2 символов."),
    ({"rows": 5}, "rows: must be a list of values.", "rows: нужен список значений."),
    ({"rows": []}, "rows: must have at least 1 values.", "rows: нужно не меньше 1 значения."),
    ({"rows": [1, 2, 3]}, "rows: must not have more than 2 values.", "rows: можно не больше 2 значений."),
    ({"table": 5}, "table: must be an object with fields.", "table: нужен объект с полями."),
    ({"kind": "x"}, "kind: must be one of 'one', 'two'.", "kind: нужно одно из значений 'one', 'two'."),
]


@pytest.mark.parametrize(("given", "english", "russian"), CASES, ids=[case[1] for case in CASES])
def test_a_value_is_refused_in_the_callers_language(
    given: dict[str, Any], english: str, russian: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Call.model_validate(given)
    (error,) = caught.value.errors()
    said = validation.sentence(error, str(error["loc"][0]))
    assert said == english
    with speaking("ru"):
        assert in_language(said) == russian


def test_a_long_text_is_to_be_shortened() -> None:
    with pytest.raises(ValidationError) as caught:
        Call.model_validate({"name": "longer"})
    (error,) = caught.value.errors()
    assert validation.sentence(error, "name") == "name has more than 5 characters; shorten it."
