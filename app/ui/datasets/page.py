"""The datasets page. `datasets` adds and lists; `datasets?id=N` shows one version."""

from pathlib import Path
from typing import Any

import gradio as gr

from app.errors import AppError, NotFound
from app.held_out_share import one_sided
from app.imports import AddedDataset, FileLook, UnknownFormat, add_dataset, look_into
from app.imports.hub import add_from_hub
from app.imports.service import DEFAULT_HELD_OUT, MOST_HELD_OUT
from app.lengths import token_lengths
from app.preflight import check_pairs
from app.security import files
from app.settings import get_settings
from app.store import datasets
from app.store.db import read_session, write_session
from app.store.enums import Split
from app.text import clean_text
from app.tokens import token_counter
from app.ui import events, formatting, length_charts, query, widgets
from app.ui.datasets import mapping as dataset_mapping
from app.ui.datasets import view as dataset_view
from app.ui.widgets import Html
from hypo_engine.errors import DataError

PAIRS_A_PAGE = 10
LINES_A_PAGE = 50
_BUSY: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": 2}


def build() -> None:
    """Layout, then wiring."""
    header = gr.HTML()
    message = gr.HTML()
    with gr.Column(visible=False) as overview:
        with gr.Row():
            with gr.Column(scale=3):
                file = gr.File(
                    label="JSON, CSV, Excel, Parquet, Arrow, or a zip",
                    type="filepath",
                    height=150,
                )
                with gr.Row():
                    hub = gr.Textbox(
                        label="Or a Hugging Face id",
                        placeholder="trl-lib/ultrafeedback_binarized",
                        info="Fetched from the hub when you add it; needs a network.",
                        scale=2,
                        min_width=280,
                    )
                    split_name = gr.Textbox(
                        label="Split",
                        placeholder="train",
                        info="Of a zip or hub dataset that has several.",
                        max_length=100,
                        scale=1,
                        min_width=200,
                    )
            with gr.Column(scale=2):
                name = gr.Textbox(label="Name", info="A name that exists gets a new version.", max_length=100)
                held_out = gr.Slider(
                    0,
                    MOST_HELD_OUT,
                    value=DEFAULT_HELD_OUT,
                    step=0.01,
                    label="Held-out share",
                    info="Kept for evaluation, split by prompt: no prompt is on both sides.",
                )
                add = gr.Button("Add dataset", variant="primary")
        mapping = dataset_mapping.MappingFields()
        look = gr.HTML()
        found = gr.HTML()
    with gr.Column(visible=False) as detail:
        facts = gr.HTML()
        with gr.Tabs():
            with gr.Tab("Pairs", id="pairs"):
                with gr.Row(elem_classes="hy-filters"):
                    split = gr.Dropdown(
                        [
                            ("all", ""),
                            ("training", Split.TRAIN.value),
                            ("held out", Split.HELD_OUT.value),
                            ("voted on", Split.VOTED.value),
                        ],
                        value="",
                        label="Side",
                        scale=0,
                    )
                    search = gr.Textbox(label="Search", placeholder="words in prompt or answers", scale=1)
                    page = gr.Number(1, label="Page", precision=0, minimum=1, scale=0, min_width=110)
                pages = gr.HTML()
                pairs = gr.HTML()
            with gr.Tab("Left out", id="left-out"):
                line_page = gr.Number(1, label="Page", precision=0, minimum=1, scale=0, min_width=110)
                left_out = gr.HTML()
            with gr.Tab("Check", id="check"):
                check = gr.HTML()
            with gr.Tab("Lengths", id="lengths"):
                lengths = gr.HTML()
        with gr.Row(elem_classes="hy-buttons"):
            delete = gr.Button("Delete this version", size="md", min_width=170, scale=0)
            yes = gr.Button(
                "Yes, delete it", variant="stop", size="md", min_width=150, scale=0, visible=False
            )
            no = gr.Button("No, keep it", size="md", min_width=120, scale=0, visible=False)

    # wiring
    events.on_load(show, None, [header, overview, found, detail, facts]).then(
        show_pairs, [split, search, page], [pairs, pages], **events.QUIET
    ).then(show_left_out, line_page, left_out, **events.QUIET).then(
        show_check, None, check, **events.QUIET
    ).then(show_lengths, None, lengths, **events.QUIET)
    gr.on(
        [file.change, split_name.submit],
        look_at,
        [file, name, split_name],
        [look, name, *mapping.outputs],
        **events.QUIET,
    )
    gr.on(
        mapping.changes(),
        look_through,
        [file, split_name, *mapping.inputs],
        [look, *mapping.groups, *mapping.wins],
        trigger_mode="always_last",
        **events.QUIET,
    )
    add.click(
        add_from_page,
        [file, hub, name, held_out, split_name, *mapping.inputs],
        [message, found, file, hub, name, split_name, *mapping.outputs],
        show_progress_on=add,
        **_BUSY,
    )
    gr.on([split.input, search.submit], lambda: 1, None, page, **events.QUIET).then(
        show_pairs, [split, search, page], [pairs, pages], **events.QUIET
    )
    page.change(show_pairs, [split, search, page], [pairs, pages], **events.QUIET)
    line_page.change(show_left_out, line_page, left_out, **events.QUIET)
    delete.click(lambda: ask(True), None, [delete, yes, no], **events.QUIET)
    no.click(lambda: ask(False), None, [delete, yes, no], **events.QUIET)
    yes.click(delete_version, None, message, **events.QUIET)


def _dataset_id(request: gr.Request | None) -> int | None:
    ids = query.ids(request, "id")
    return ids[0] if ids else None


def show(request: gr.Request) -> tuple[Any, ...]:
    """The list, or the one version that the address names."""
    dataset_id = _dataset_id(request)
    if dataset_id is None:
        header = widgets.page_header(
            "Datasets", "Pairs of answers to the same prompt, one preferred. A dataset never changes."
        )
        return header, gr.update(visible=True), dataset_list(), gr.update(visible=False), ""
    with read_session() as session:
        try:
            dataset = datasets.get(dataset_id, session=session)
        except NotFound:
            gone = widgets.empty_state(
                "There is no such dataset",
                f"No dataset has the id {dataset_id}.",
                widgets.link_button("All datasets", "datasets", primary=True),
            )
            header = widgets.page_header("Dataset not found") + gone
            return header, gr.update(visible=False), "", gr.update(visible=False), ""
        missing = one_sided(dataset, session=session)
        facts = dataset_view.dataset_facts(
            dataset,
            datasets.split_counts(dataset_id, session=session),
            datasets.lengths(dataset_id, session=session),
            datasets.versions_of(dataset.name, session=session),
        )
    if missing:
        facts += widgets.notice(missing, "warning")
    actions = [widgets.link_button("All datasets", "datasets")]
    if dataset.deleted_at is None:
        actions.append(widgets.link_button("Launch a run on it", "launch", primary=True, dataset=dataset.id))
    state = " It was deleted; runs that used it still show it." if dataset.deleted_at else ""
    lead = f"Version {dataset.version}, {formatting.count(dataset.rows, 'pair')}.{state}"
    header = widgets.page_header(dataset.name, lead, *actions)
    return header, gr.update(visible=False), "", gr.update(visible=True), facts


def dataset_list() -> Html:
    """All datasets as they are now."""
    with read_session() as session:
        return dataset_view.dataset_list(datasets.find(session=session))


def show_pairs(split: str, search: str | None, page: float | None, request: gr.Request) -> tuple[Html, Html]:
    """A page of pairs, and how many pages there are."""
    dataset_id = _dataset_id(request)
    if dataset_id is None:
        return widgets.NOTHING, widgets.NOTHING
    side, wanted = Split(split) if split else None, clean_text(search or "").strip()
    offset = (_page(page) - 1) * PAIRS_A_PAGE
    with read_session() as session:
        total = datasets.count_pairs(dataset_id, session=session, split=side, search=wanted)
        rows = datasets.page_of_pairs(
            dataset_id, session=session, offset=offset, limit=PAIRS_A_PAGE, split=side, search=wanted
        )
    words = f"{formatting.count(total, 'pair')}, {formatting.count(-(-total // PAIRS_A_PAGE), 'page')}"
    shown = dataset_view.pair_list(rows, token_counter(get_settings()))
    return shown, Html('<p class="hy-note">{}</p>').format(words)


def show_left_out(page: float | None, request: gr.Request) -> Html:
    """A page of the rows that became no pair."""
    dataset_id = _dataset_id(request)
    if dataset_id is None:
        return widgets.NOTHING
    offset = (_page(page) - 1) * LINES_A_PAGE
    with read_session() as session:
        lines = datasets.page_of_left_out(dataset_id, session=session, offset=offset, limit=LINES_A_PAGE)
    if not lines and offset:
        return widgets.notice("There are no more.")
    return dataset_view.left_out_list(lines)


def show_check(request: gr.Request) -> Html:
    """What to know before training on the pairs."""
    dataset_id = _dataset_id(request)
    if dataset_id is None:
        return widgets.NOTHING
    with read_session() as session:
        account = datasets.account_of(dataset_id, session=session)
        return dataset_view.preflight(check_pairs(datasets.iter_pairs(dataset_id, session=session)), account)


def show_lengths(request: gr.Request) -> Html:
    """How many tokens the pairs have, and what limits would keep."""
    dataset_id = _dataset_id(request)
    if dataset_id is None:
        return widgets.NOTHING
    found = token_lengths(dataset_id, "demo")
    if found is None:
        return widgets.notice(
            "Token lengths are shown once the demo model is unpacked, which its first use does."
        )
    return length_charts.distribution(found, "the demo model")


def _page(value: float | None) -> int:
    return min(max(int(value or 1), 1), 10**6)


def look_at(file: str | None, name: str, split: str = "") -> tuple[Any, ...]:
    """What a chosen file is: its format and first pairs, and the columns to choose from."""
    if not file:
        return (widgets.NOTHING, gr.skip(), *dataset_mapping.hidden())
    path = Path(file)
    try:
        found = look_into(path, split=split.strip())
        if found.format is None and (guess := _guess(path, split, found.proposal)):
            shown = dataset_view.guessed(guess)
        else:
            shown = dataset_view.look(found)
    except AppError as error:
        return (widgets.error_banner(str(error)), gr.skip(), *dataset_mapping.hidden())
    suggested = name or path.name.partition(".")[0][:100]
    recognised = dataset_view.format_title(found.format.name) if found.format else ""
    return (shown, suggested, *dataset_mapping.offered(found.columns, found.proposal, recognised=recognised))


def _guess(path: Path, split: str, proposal: dict[str, Any]) -> FileLook | None:
    """The file read through what is proposed, where that is enough to read it."""
    try:
        return look_into(path, mapping=proposal, split=split.strip())
    except AppError:
        return None


def look_through(file: str | None, split: str, *fields: Any) -> tuple[Any, ...]:
    """The first pairs as the mapping's fields say, whenever one of them changes."""
    groups = dataset_mapping.shown_for(fields[0])
    if not file:
        return (gr.skip(), *groups, gr.skip(), gr.skip())
    try:
        mapping = dataset_mapping.given(fields)
        if mapping is None and fields[0] != dataset_mapping.RECOGNISED:
            return (widgets.NOTHING, *groups, gr.skip(), gr.skip())
        found = look_into(Path(file), mapping=mapping, split=split.strip())
    except (AppError, DataError) as error:
        return (widgets.notice(str(error), "warning"), *groups, gr.skip(), gr.skip())
    return (dataset_view.look(found), *groups, *dataset_mapping.values_of(found.format))


def add_from_page(
    file: str | None, hub: str, name: str, held_out: float, split: str = "", *fields: Any
) -> tuple[Any, ...]:
    """Add the file, or the hub id; a refusal keeps everything in its field."""
    try:
        mapping = dataset_mapping.given(fields) if fields else None
        done = _add(file, hub, name, held_out, split.strip(), mapping)
    except UnknownFormat as error:
        offered = dataset_mapping.offered(error.columns, error.proposal, recognised="")
        return (widgets.error_banner(str(error)), *_kept(), *offered)
    except (AppError, DataError) as error:
        return (widgets.error_banner(str(error)), *_kept(), *dataset_mapping.untouched())
    return (dataset_view.added(done), dataset_list(), None, "", "", "", *dataset_mapping.hidden())


def _kept() -> tuple[Any, ...]:
    return tuple(gr.skip() for _ in range(5))


def _add(
    file: str | None, hub: str, name: str, held_out: float, split: str, mapping: dict[str, Any] | None
) -> AddedDataset:
    if not file and not hub.strip():
        raise DataError("Choose a file, or write a hub id.")
    if not file:
        return add_from_hub(repo_id=hub, name=name, mapping=mapping, held_out=held_out, split=split)
    added = add_dataset(path=Path(file), name=name, mapping=mapping, held_out=held_out, split=split)
    files.discard(Path(file))
    return added


def ask(asking: bool) -> tuple[Any, Any, Any]:
    """The delete button, or the question in its place."""
    return gr.update(visible=not asking), gr.update(visible=asking), gr.update(visible=asking)


def delete_version(request: gr.Request) -> Html:
    """Delete the version that the address names, unless a run needs it."""
    dataset_id = _dataset_id(request)
    try:
        with write_session() as session:
            dataset = datasets.delete(dataset_id or 0, session=session)
            words = f"Deleted {dataset.name} version {dataset.version}."
    except AppError as error:
        return widgets.error_banner(str(error))
    return widgets.notice(Html('<span data-next="datasets">{}</span>').format(words), "good")
