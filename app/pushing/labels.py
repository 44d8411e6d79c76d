"""Votes as a dataset repository."""

import tempfile
from pathlib import Path
from typing import Final

from app.errors import InvalidInput, Refused
from app.exports.labels import export_labels, manifest_text
from app.exports.layouts import LabelFormat
from app.exports.options import Options
from app.exports.writers import FileType
from app.pushing.dataset_card import dataset_card
from app.pushing.hub import Pushed, Target, checked_repo_id, push_folder
from app.store import campaigns, users
from app.store.db import read_session
from app.store.label_queries import VoteFilter

TELL_NAMES: Final = frozenset({LabelFormat.ARENA, LabelFormat.ARGILLA, LabelFormat.RAW})
"""Formats that tell which model wrote which answer."""


def push_labels(
    repo_id: str,
    *,
    format: LabelFormat = LabelFormat.TRL,
    file_type: FileType = FileType.JSONL,
    only: VoteFilter | None = None,
    leave_out_cut: bool = False,
    merge: bool = False,
    licence: str = "",
    public: bool = False,
    update: bool = False,
) -> Pushed:
    """Push an export of votes with its manifest and a dataset card. Voters are pseudonyms.

    Raises:
        InvalidInput: for an invalid id or option.
        Refused: when no vote becomes a row, when the file would tell voters of an open campaign what is
            hidden from them, and as `push_folder`.
    """
    target = Target(checked_repo_id(repo_id, "dataset"), "dataset", public=public, update=update)
    if file_type is FileType.CSV:
        raise InvalidInput("The hub takes jsonl or parquet; a CSV changes some texts.", field="file_type")
    only = only or VoteFilter()
    if public or format in TELL_NAMES:
        refuse_open_campaigns(only)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        exported, manifest = export_labels(
            format,
            file_type,
            folder=folder,
            only=only,
            viewer=users.LOCAL,
            options=Options(leave_out_cut=leave_out_cut, merge=merge),
            licence=licence,
        )
        if not exported.rows:
            raise Refused(f"No vote becomes a row of {format.value}, so there is nothing to push.")
        (folder / "manifest.json").write_text(manifest_text(manifest), encoding="utf-8")
        name = target.repo_id.rpartition("/")[2]
        (folder / "README.md").write_text(dataset_card(name, manifest, licence), encoding="utf-8")
        return push_folder(folder, target, f"{exported.rows} rows of {format.value} votes")


def refuse_open_campaigns(only: VoteFilter) -> None:
    """Check that no campaign in the export can still be voted in.

    Raises:
        Refused: names an open campaign.
    """
    with read_session() as session:
        still_open = campaigns.voted_in_and_not_closed(session=session)
    for campaign in still_open:
        if only.campaign_id in (None, campaign.id):
            raise Refused(
                f"Campaign {campaign.id} is not closed, and its voters could read there what is hidden from "
                "them. Close it, choose another with --campaign, or push trl or kto to a private repository."
            )
