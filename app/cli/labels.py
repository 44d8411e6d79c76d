"""`hypo labels`: list, export and push votes."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from app import answers
from app.cli.output import BeforeId, JsonFlag, print_json, print_table, say, say_more
from app.cli.pushing import PublicFlag, RepoArgument, UpdateFlag, YesFlag, agree, report
from app.errors import InvalidInput
from app.exports.labels import Exported, export_labels, manifest_text
from app.exports.layouts import LabelFormat
from app.exports.options import Options
from app.exports.writers import FileType
from app.pushing.labels import push_labels
from app.store import label_queries, users
from app.store.db import read_session
from app.store.judging import LETTERS
from app.store.label_queries import VoteFilter
from app.text import MAX_ID
from app.views import answers_view, vote_view

COLUMNS = ("id", "user", "choice", "best", "worst", "blind")
NamesFlag = Annotated[
    bool,
    typer.Option(
        "--names", help="Show all names; your later votes on these comparisons do not count as blind."
    ),
]

CampaignOption = Annotated[
    int | None, typer.Option("--campaign", min=1, max=MAX_ID, help="Only votes of this campaign.")
]
RunOption = Annotated[
    int | None, typer.Option("--run", min=1, max=MAX_ID, help="Only votes in which this run took part.")
]
BlindFlag = Annotated[bool, typer.Option("--blind", help="Only votes that were cast blind.")]
FormatOption = Annotated[
    LabelFormat,
    typer.Option(
        help="trl: pairs for training; kto: single answers; arena: LMArena's columns; argilla: records; "
        "raw: everything."
    ),
]
FileTypeOption = Annotated[
    FileType | None, typer.Option(help="jsonl, csv or parquet; by default the file's extension decides.")
]
WholeFlag = Annotated[
    bool, typer.Option("--whole", help="trl, kto: leave out answers that were cut at the length limit.")
]
MergeFlag = Annotated[
    bool,
    typer.Option(
        "--merge", help="trl: one row for each comparison, with votes, weight, margin and soft_label."
    ),
]
PeopleFlag = Annotated[bool, typer.Option("--people", help="Write the voters' names instead of pseudonyms.")]
AdjudicatedFlag = Annotated[
    bool,
    typer.Option(
        "--adjudicated", help="trl: adjudicated verdicts of --campaign in place of the votes there."
    ),
]

cli = typer.Typer(help="Votes on comparisons.", no_args_is_help=True)


@cli.command("list")
def list_command(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Maximum number of votes to list.")] = 200,
    before: BeforeId = None,
    campaign: CampaignOption = None,
    run: RunOption = None,
    blind: BlindFlag = False,
    names: NamesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """List votes, newest first; names stay hidden where you may still judge blind.

    --before continues where a list ended.
    """
    if names:
        answers.show_all_names()
    with read_session() as session:
        only = VoteFilter(campaign_id=campaign, run_id=run, blind=blind)
        found = label_queries.votes(
            session=session, only=only, limit=limit + 1, before=before, viewer=users.LOCAL
        )
    shown = found[:limit]
    answers.record_shown(shown)
    views = [vote_view(vote) for vote in shown]
    if as_json:
        print_json(views)
        return
    print_table(
        [*COLUMNS, "question"],
        (
            ["hidden" if view[key] is None and view["names_hidden"] else view[key] for key in COLUMNS]
            + [" ".join(view["question"].split())[:60]]
            for view in views
        ),
        empty="No votes yet; ask several models on the compare page and vote.",
    )
    say_more(views, more=len(found) > limit)


@cli.command("vote")
def vote_command(
    comparison: Annotated[int, typer.Argument(help="The comparison's number, as printed by hypo chat.")],
    choice: Annotated[str, typer.Argument(help="A to D for the best answer, tie, or 'both bad'.")],
    worst: Annotated[str, typer.Option(help="The worst answer; required with more than two answers.")] = "",
    reason: Annotated[str, typer.Option(help="Your reason, as text.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Vote on a comparison, or change your vote, and show who answered."""
    label = answers.vote(comparison, choice, worst=worst, reason=reason)
    with read_session() as session:
        view = vote_view(label_queries.details(label.id, session=session))
    if as_json:
        print_json(view)
        return
    say(
        f"Vote {view['id']} is stored{', blind' if view['blind'] else ', not blind: you had seen the names'}."
    )
    for letter, name in zip(LETTERS, view["shown"], strict=False):
        say(f"{letter} is {name}.")


@cli.command("withdraw")
def withdraw_command(
    vote: Annotated[int, typer.Argument(help="The vote's number, as printed by hypo labels list.")],
) -> None:
    """Withdraw a vote of yours; the history keeps it."""
    answers.withdraw(vote)
    say(f"Vote {vote} is withdrawn.")


@cli.command("names")
def names_command(
    comparison: Annotated[int, typer.Argument(help="The comparison's number, as printed by hypo chat.")],
    as_json: JsonFlag = False,
) -> None:
    """Show who answered, without voting; your later vote on it is not blind."""
    answers.show_names(comparison)
    view = answers_view(answers.look(comparison))
    if as_json:
        print_json(view)
        return
    for answer in view["answers"]:
        say(f"{answer['letter']} is {answer['name']}.")


@cli.command("export")
def export_command(
    output: Annotated[Path, typer.Option(help="The file to write.")],
    format: FormatOption = LabelFormat.TRL,
    file_type: FileTypeOption = None,
    whole: WholeFlag = False,
    merge: MergeFlag = False,
    people: PeopleFlag = False,
    licence: Annotated[str, typer.Option(help="The licence that the manifest states.")] = "",
    campaign: CampaignOption = None,
    run: RunOption = None,
    blind: BlindFlag = False,
    adjudicated: AdjudicatedFlag = False,
    names: NamesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Export votes to a file with a manifest beside it, and report how many were left out.

    The manifest OUTPUT.manifest.json has the filters, the counts, the columns and the file's hash.
    """
    if names:
        answers.show_all_names()
    kind = file_type or _by_ending(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".hypo-export-", dir=output.parent) as scratch:
        exported, manifest = export_labels(
            format,
            kind,
            folder=Path(scratch),
            only=VoteFilter(campaign_id=campaign, run_id=run, blind=blind, adjudicated=adjudicated),
            viewer=users.LOCAL,
            options=Options(leave_out_cut=whole, merge=merge, people=people),
            licence=licence,
        )
        exported.path.replace(output)
        beside = output.with_name(f"{output.name}.manifest.json")
        beside.write_text(manifest_text({**manifest, "file": output.name}), encoding="utf-8")
    if as_json:
        print_json({"output": str(output), "manifest": str(beside), **_counts(exported)})
    else:
        _say(exported, output)


@cli.command("push")
def push_command(
    repo: RepoArgument,
    format: FormatOption = LabelFormat.TRL,
    file_type: Annotated[FileType, typer.Option(help="jsonl or parquet.")] = FileType.JSONL,
    whole: WholeFlag = False,
    merge: MergeFlag = False,
    licence: Annotated[str, typer.Option(help="The licence, such as cc-by-4.0.")] = "",
    campaign: CampaignOption = None,
    run: RunOption = None,
    blind: BlindFlag = False,
    adjudicated: AdjudicatedFlag = False,
    public: PublicFlag = False,
    update: UpdateFlag = False,
    yes: YesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Push votes to the hub as a dataset, with a card and a manifest; voters are pseudonyms.

    The token comes from HF_TOKEN or the hub's own login, the hub's address from HF_ENDPOINT.
    """
    agree(repo, public=public, yes=yes)
    pushed = push_labels(
        repo,
        format=format,
        file_type=file_type,
        only=VoteFilter(campaign_id=campaign, run_id=run, blind=blind, adjudicated=adjudicated),
        leave_out_cut=whole,
        merge=merge,
        licence=licence,
        public=public,
        update=update,
    )
    report(pushed, as_json=as_json)


def _counts(exported: Exported) -> dict[str, object]:
    return {
        "rows": exported.rows,
        "left_out": exported.left_out,
        "cut": exported.cut,
        "names_hidden": exported.hidden,
    }


def _say(exported: Exported, output: Path) -> None:
    say(f"{exported.rows} rows written to {output}.")
    if exported.cut:
        say(
            f"{exported.cut} rows contain an answer that was cut at the length limit; for trl and kto, "
            "--whole leaves them out."
        )
    if exported.hidden:
        say(
            f"{exported.hidden} votes are without names, because you may still judge them blind. "
            "--names shows them."
        )
    for reason, count in exported.left_out.items():
        if count:
            say(f"{count} votes left out: {reason.replace('_', ' ')}.")


def _by_ending(output: Path) -> FileType:
    try:
        return FileType(output.suffix.lstrip(".").lower())
    except ValueError:
        raise InvalidInput(
            f"{output.name} does not end in .jsonl, .csv or .parquet; give --file-type.", field="file_type"
        ) from None
