"""The names of models and where they come from, in the present language."""

from typing import Final

from app.i18n import N_, _
from app.store.contenders import REFERENCE, origin
from app.store.models import Contender

_REFERENCE: Final = N_("Reference")
_WITHOUT_MODEL: Final = (N_("run deleted"), N_("from a file"))
"""What `origin` says of contenders without a base model."""


def contender_name(contender: Contender) -> str:
    """A contender's name; the reference's is translated, the names of runs stay as they were given."""
    return model_name(contender.method, contender.name)


def model_name(method: str, name: str) -> str:
    """A model's name, as `contender_name`."""
    if method == REFERENCE and name.startswith(_REFERENCE):
        return _(_REFERENCE) + name.removeprefix(_REFERENCE)
    return name


def origin_words(method: str, base_model: str, run_id: int | None) -> str:
    """Where the answers of a contender without a run come from, in a few words."""
    found = origin(method, base_model, run_id)
    return _(found) if found in _WITHOUT_MODEL else found
