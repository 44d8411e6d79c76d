"""The address of the page: filters, order and place, as in `generations?text=summer&sort=tokens&id=7`."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import gradio as gr

from app.errors import InvalidInput
from app.i18n import N_, _
from app.store.enums import GenerationKind
from app.store.generation_filter import GenerationFilter, GenerationOrigin, GenerationSort
from app.store.search_words import MOST_CHARS
from app.text import MAX_ID, clean_text, read_id
from app.ui import query

ALL: Final = ""
_ANSWER: Final = (GenerationKind.ANSWER,)
KINDS: Final[dict[str, tuple[tuple[GenerationKind, ...], GenerationOrigin | None]]] = {
    "online": ((GenerationKind.ONLINE,), None),
    "eval": ((GenerationKind.EVAL,), None),
    "probe": ((GenerationKind.PROBE,), None),
    "chat": (_ANSWER, GenerationOrigin.CHAT),
    "campaign": (_ANSWER, GenerationOrigin.CAMPAIGN),
}
UP: Final = "-up"
"""The end of the name of an ascending order."""
NEWEST: Final = GenerationSort.NEWEST.value
SORTS: Final = [
    (N_("Newest first"), NEWEST),
    (N_("Oldest first"), NEWEST + UP),
    (N_("Most tokens"), "tokens"),
    (N_("Fewest tokens"), "tokens" + UP),
    (N_("Log-ratio, highest"), "log_ratio"),
    (N_("Log-ratio, lowest"), "log_ratio" + UP),
    (N_("Log-ratio per token, highest"), "token_log_ratio"),
    (N_("Log-ratio per token, lowest"), "token_log_ratio" + UP),
    (N_("Score, highest"), "score"),
    (N_("Score, lowest"), "score" + UP),
]
_STEPS: Final = re.compile(r"(\d{0,10})\s*(?:([-–])\s*(\d{0,10}))?")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the page is asked for, as the address and the fields say it."""

    text: str = ""
    prompt: str = ""
    run: str = ""
    kind: str = ALL
    steps: str = ""
    sort: str = NEWEST
    campaign: str = ""

    @classmethod
    def of_address(cls, request: gr.Request | None) -> "Asked":
        given = {name: clean_text(query.value(request, name))[: 2 * MOST_CHARS] for name in cls.__slots__}
        return cls(**given)._known()

    @classmethod
    def of_fields(
        cls, text: str, prompt: str, runs: Sequence[object], kind: str, steps: str, sort: str, campaign: str
    ) -> "Asked":
        ids = query.to_ids(",".join(map(str, runs or ())))
        words = [clean_text(str(given or "")) for given in (text, prompt)]
        numbers = clean_text(str(steps or ""))
        run = ",".join(map(str, ids))
        return cls(words[0], words[1], run, str(kind), numbers, str(sort), str(campaign or ""))._known()

    def _known(self) -> "Asked":
        """The same with known names of a kind and an order."""
        values = asdict(self)
        values["kind"] = self.kind if self.kind in KINDS else ALL
        values["sort"] = self.sort if self.sort in {value for _title, value in SORTS} else NEWEST
        return Asked(**values)

    @property
    def run_ids(self) -> list[int]:
        return query.to_ids(self.run)

    @property
    def order(self) -> tuple[GenerationSort, bool]:
        """What to sort by, and whether ascending."""
        return GenerationSort(self.sort.removesuffix(UP)), self.sort.endswith(UP)

    def only(self) -> GenerationFilter:
        """The filter.

        Raises:
            InvalidInput: for steps that are none.
        """
        kinds, origin = KINDS.get(self.kind, ((), None))
        first, last = _read_steps(self.steps)
        prompt_id = read_id(self.prompt[1:]) if self.prompt.startswith("#") else None
        return GenerationFilter(
            text=self.text,
            prompt_text="" if prompt_id is not None else self.prompt,
            prompt_id=prompt_id,
            run_ids=tuple(self.run_ids),
            kinds=kinds,
            first_step=first,
            last_step=last,
            origin=origin,
            campaign_id=read_id(self.campaign),
        )

    def query(self, **changed: Any) -> dict[str, Any]:
        """The query of an address that asks for the same, with changes."""
        given = asdict(self)
        if self.sort == NEWEST:
            given.pop("sort")
        return {**given, **changed}


def _read_steps(text: str) -> tuple[int | None, int | None]:
    """The first and the last step of a range, such as `20`, `20-50`, `20-` or `-50`."""
    found = _STEPS.fullmatch(text.strip())
    numbers = [] if found is None else [int(n) for n in (found[1], found[3] or "") if n]
    if found is None or (found[2] and not numbers) or any(number > MAX_ID for number in numbers):
        raise InvalidInput(_("Steps are a number or a range, such as 20 or 20-50."), field="steps")
    if not numbers:
        return None, None
    first = int(found[1]) if found[1] else None
    if not found[2]:
        return first, first
    return first, int(found[3]) if found[3] else None
