"""Where the prompts of a campaign come from: a dataset's held-out pairs, a file, or pasted lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gradio as gr

from app import campaign_prompts
from app.errors import InvalidInput
from app.i18n import N_, _
from app.store import datasets
from app.store.campaign_items import CampaignPrompt
from app.store.conversations import ContenderChoice
from app.store.db import read_session
from app.ui import formatting
from app.ui.campaigns.answered import NO_FILES, GivenFiles
from app.ui.updates import Updates

DATASET, FILE, PASTED, ANSWERED = "dataset", "file", "pasted", "answered"
KINDS: Final = [
    (N_("Held-out prompts of a dataset"), DATASET),
    (N_("A file"), FILE),
    (N_("Pasted lines"), PASTED),
]
OF_ANSWERS: Final = (N_("Those of the answers' file"), ANSWERED)
"""The kind that a new campaign offers in addition."""

FIELDS: Final = ("source", "dataset", "count", "file", "pasted")
"""The fields' names, in the order in which handlers receive their values."""


@dataclass(frozen=True, slots=True)
class PromptSource:
    """The fields that name the prompts; only those of the chosen kind are visible."""

    source: gr.Radio
    of_dataset: gr.Row
    dataset: gr.Dropdown
    count: gr.Number
    file: gr.File
    pasted: gr.Textbox
    prompts_message: gr.HTML

    @property
    def inputs(self) -> list[Any]:
        return [getattr(self, name) for name in FIELDS]


def lay_out(prefix: str, label: str = "", kinds: Sequence[tuple[str, str]] = KINDS) -> PromptSource:
    """Lay out the fields.

    Args:
        prefix: start of the fields' element ids.
        label: the title above them, by default Prompts.
    """
    source = gr.Radio(
        [(_(title), kind) for title, kind in kinds],
        value=DATASET,
        label=label or _("Prompts"),
        elem_id=f"{prefix}-source",
    )
    with gr.Row(elem_classes="hy-grid hy-two") as of_dataset:
        with gr.Column(min_width=260, elem_classes="hy-field"):
            dataset = gr.Dropdown(
                [],
                label=_("Dataset"),
                info=_("No contender was trained on these prompts."),
                elem_id=f"{prefix}-dataset",
            )
        with gr.Column(min_width=160, elem_classes="hy-field"):
            count = gr.Number(50, precision=0, label=_("How many prompts"), elem_id=f"{prefix}-count")
    file = gr.File(
        label=_(
            "Text with one prompt a line, or JSON, JSONL or CSV with a column prompt, question or messages"
        ),
        type="filepath",
        height=130,
        visible=False,
        elem_id=f"{prefix}-file",
    )
    pasted = gr.Textbox(
        label=_("One prompt a line"),
        lines=6,
        max_lines=16,
        max_length=1_000_000,
        visible=False,
        elem_id=f"{prefix}-pasted",
    )
    message = gr.HTML(visible=False, elem_classes="hy-panel-message")
    return PromptSource(source, of_dataset, dataset, count, file, pasted, message)


def show_fields(kind: str) -> Updates:
    """Updates that show the fields of a kind."""
    return {
        "of_dataset": gr.update(visible=kind == DATASET),
        "file": gr.update(visible=kind == FILE),
        "pasted": gr.update(visible=kind == PASTED),
    }


@dataclass(frozen=True, slots=True)
class GivenPrompts:
    """The values of the fields, as a browser sent them."""

    source: str | None
    dataset: int | None
    count: float | None
    file: str | None
    pasted: str | None
    answered: GivenFiles = NO_FILES

    def read(self, choices: Sequence[ContenderChoice]) -> list[CampaignPrompt]:
        """The prompts themselves.

        Raises:
            InvalidInput: without prompts, or when a file cannot be read.
            NotFound: for a dataset that does not exist.
        """
        if self.source == ANSWERED:
            return self.answered.prompts()
        if self.source == FILE:
            return self._of_file()
        if self.source == PASTED:
            return campaign_prompts.of_lines(self.pasted or "")
        return campaign_prompts.of_dataset(self._dataset_id(), count=int(self.count or 0), choices=choices)

    @property
    def empty(self) -> bool:
        """Whether nothing was chosen or pasted yet."""
        if self.source == PASTED:
            return not (self.pasted or "").strip()
        if self.source == ANSWERED:
            return not self.answered.count
        return self.file is None if self.source == FILE else self.dataset is None

    def how_many(self) -> int:
        """The number of prompts, without drawing those of a dataset.

        Raises:
            InvalidInput: as `read`.
        """
        if self.source == ANSWERED and not self.answered.count:
            raise InvalidInput(_("Add a file of answers below the contenders."), field="prompts")
        if self.source != DATASET:
            return len(self.read(()))
        wanted = int(self.count or 0)
        if wanted < 1:
            raise InvalidInput(_("How many prompts? Give at least 1."), field="prompts")
        with read_session() as session:
            held_out = datasets.split_counts(self._dataset_id(), session=session).held_out
        if not held_out:
            raise InvalidInput(
                _("This dataset has no held-out prompts; choose another one, or paste prompts."),
                field="prompts",
            )
        return min(wanted, held_out)

    def _dataset_id(self) -> int:
        if self.dataset is None:
            raise InvalidInput(_("Choose a dataset, or paste prompts."), field="prompts")
        return int(self.dataset)

    def _of_file(self) -> list[CampaignPrompt]:
        if not self.file:
            raise InvalidInput(_("Choose a file."), field="prompts")
        path = Path(self.file)
        return campaign_prompts.of_file(path, path.name)


def first_choice(
    remembered: int | None, offered: Sequence[tuple[str, int]], *, runs: Sequence[int]
) -> int | None:
    """The dataset that the form opens with.

    It is that of the runs whose answers are to be judged, else the remembered one, else the newest with
    held-out prompts.
    """
    known = [identity for _name, identity in offered]
    with read_session() as session:
        trained_on = list(datasets.of_runs(runs, session=session))
        asking = [one.id for one in datasets.find(session=session) if one.held_out]
    wanted = [*trained_on, remembered, *asking, *known]
    return next((identity for identity in wanted if identity in known), None)


def offered_datasets() -> list[tuple[str, int]]:
    """The datasets, newest first."""
    with read_session() as session:
        found = datasets.find(session=session)
    return [(f"{one.name} v{one.version} ({formatting.count(one.rows, 'pair')})", one.id) for one in found]
