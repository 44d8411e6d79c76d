"""Contenders whose answers are uploaded: their files, their names, and whether other prompts are left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import gradio as gr

from app import given_answers
from app.i18n import _
from app.store.campaign_items import CampaignPrompt, GivenAnswers
from app.store.conversations import MAX_CONTENDERS

FIELDS: Final = ("answer_files", "answer_names", "only_answered")


def lay_out() -> tuple[gr.Accordion, dict[str, Any], gr.HTML]:
    """Lay out the fields; return the section, the fields by name, and the place of their message."""
    with gr.Accordion(_("Answers from files"), open=False, elem_id="campaign-answers") as section:
        files = gr.File(
            label=_("JSONL, JSON, CSV, Parquet or Excel with columns prompt and answer; a contender each"),
            type="filepath",
            file_count="multiple",
            height=130,
            elem_id="campaign-answer-files",
        )
        names = gr.Textbox(
            label=_("Names of these contenders"),
            info=_("One a line, in the order of the files. Empty: the files' names."),
            lines=1,
            max_lines=MAX_CONTENDERS,
            max_length=1000,
            elem_id="campaign-answer-names",
        )
        only = gr.Checkbox(
            label=_("Ask only the prompts that the files answer"), elem_id="campaign-only-answered"
        )
        message = gr.HTML(visible=False, elem_classes="hy-panel-message")
    return section, dict(zip(FIELDS, (files, names, only), strict=True)), message


@dataclass(frozen=True, slots=True)
class GivenFiles:
    """The values of the fields, as a browser sent them."""

    files: Sequence[str] | None
    names: str | None
    only_answered: bool | None

    @property
    def count(self) -> int:
        return len(self.files or ())

    def read(self) -> list[GivenAnswers]:
        """The contenders of the files.

        Raises:
            InvalidInput: for a file without answers, or with a row that cannot be read.
        """
        files = list(self.files or ())[:MAX_CONTENDERS]
        names = (self.names or "").splitlines()[: len(files)]
        return [_read(file, name.strip()) for file, name in zip_longest(files, names, fillvalue="")]

    def prompts(self) -> list[CampaignPrompt]:
        """The prompts of the first file.

        Raises:
            InvalidInput: as `read`.
        """
        return given_answers.prompts_of(self.read())


NO_FILES: Final = GivenFiles(None, None, None)


@lru_cache(maxsize=8)
def _read(file: str, name: str) -> GivenAnswers:
    """Read a file once: each upload has a path of its own."""
    path = Path(file)
    return given_answers.of_file(path, path.name, name=name)
