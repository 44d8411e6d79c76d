"""The state in the page's address: `pairs?dataset=3&scorings=5,7&show=wrong&split=train&q=words`."""

from dataclasses import dataclass, replace

import gradio as gr

from app.errors import NotFound
from app.i18n import _
from app.store.scored_pairs import Show
from app.text import read_id
from app.ui import query, widgets


@dataclass(frozen=True, slots=True)
class Address:
    """What the address asks for. Values are unchecked.

    Attributes:
        run: the run that is chosen in the form; 0 for none.
        after: the place where the page begins; empty for the first page.
        pair: the position of the pair that is open; None for none.
    """

    dataset: int
    scorings: tuple[int, ...] = ()
    show: str = Show.ALL
    split: str = ""
    search: str = ""
    run: int = 0
    after: str = ""
    pair: int | None = None

    @classmethod
    def of(cls, request: gr.Request | None) -> "Address":
        """Read the address.

        Raises:
            NotFound: it names no dataset.
        """
        datasets = query.ids(request, "dataset")
        if not datasets:
            raise NotFound(_("The address names no dataset."))
        position = query.value(request, "pair")
        return cls(
            dataset=datasets[0],
            scorings=tuple(query.ids(request, "scorings")),
            show=query.value(request, "show") or Show.ALL,
            split=query.value(request, "split"),
            search=query.value(request, "q"),
            run=next(iter(query.ids(request, "run")), 0),
            after=query.value(request, "after"),
            pair=0 if position == "0" else read_id(position),
        )

    def at(self, **changes: object) -> str:
        """The address with some values changed. Another order or filter begins on its first page."""
        wanted = replace(self, **{"after": "", "pair": None, **changes})  # type: ignore[arg-type]
        return widgets.url(
            "pairs",
            dataset=wanted.dataset,
            scorings=",".join(map(str, wanted.scorings)),
            show=wanted.show if wanted.show != Show.ALL else "",
            split=wanted.split,
            q=wanted.search,
            after=wanted.after,
            pair="" if wanted.pair is None else str(wanted.pair),
        )
