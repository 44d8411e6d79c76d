"""`hypo campaigns`: start campaigns, follow them, pause, extend, close."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from app import answers, campaign_prompts, campaigns, given_answers
from app.campaigns import NewCampaign, Overview
from app.cli.adjudication import adjudicate_command, disagreements_command
from app.cli.campaign_edit import edit_command
from app.cli.campaign_options import (
    AnswersOption,
    CampaignId,
    CheckpointOption,
    CountOption,
    DatasetOption,
    EndpointOption,
    FormOption,
    GuidelinesOption,
    OnlyAnsweredOption,
    OrderOption,
    PromptsOption,
    RunOption,
    TopPOption,
    read_guidelines,
)
from app.cli.output import (
    BeforeId,
    JsonFlag,
    counted,
    print_json,
    print_table,
    require_worker,
    say,
    say_more,
    warn,
)
from app.cli.quality import quality_command
from app.cli.waiting import WorkerWatch
from app.dispatch import GENERATE_QUEUE
from app.errors import InvalidInput, Refused
from app.local.running import read_running
from app.presence import worker_missing
from app.settings import get_settings
from app.store import datasets
from app.store.campaign_items import CampaignPrompt, GivenAnswers
from app.store.conversations import ContenderChoice, Decoding
from app.store.db import read_session
from app.store.enums import CampaignForm, CampaignOrder, CampaignStatus, TaskStatus
from app.views import campaign_view

cli = typer.Typer(help="Campaigns: many prompts, judged by several people.", no_args_is_help=True)


RepeatsOption = Annotated[
    float, typer.Option(min=0, max=0.5, help="Repeats per comparison of a person: 0.1 is one for every ten.")
]
ChecksOption = Annotated[float, typer.Option(min=0, max=0.5, help="Attention checks per comparison.")]


AspectsOption = Annotated[
    list[str] | None,
    typer.Option("--aspect", help="What to ask besides, such as helpful; may be repeated, up to five."),
]
AdjudicatorsOption = Annotated[
    list[str] | None,
    typer.Option("--adjudicator", help="Who may decide disagreements besides you; may be repeated."),
]


@cli.command("new")
def new_command(
    run: RunOption = None,
    checkpoint: CheckpointOption = None,
    reference: Annotated[bool, typer.Option(help="Let the base model answer as well.")] = True,
    endpoint: EndpointOption = None,
    dataset: DatasetOption = None,
    count: CountOption = 50,
    prompts: PromptsOption = None,
    answers_of: AnswersOption = None,
    only_answered: OnlyAnsweredOption = False,
    samples: Annotated[int, typer.Option(min=1, max=16, help="How often each prompt is asked.")] = 1,
    votes: Annotated[int, typer.Option(min=1, max=50, help="How many people judge each comparison.")] = 1,
    form: FormOption = CampaignForm.PAIRS,
    order: OrderOption = CampaignOrder.INFORMATIVE,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 128,
    temperature: Annotated[float, typer.Option(min=0, help="0 always takes the most likely token.")] = 0.7,
    top_p: TopPOption = 1.0,
    guidelines: GuidelinesOption = None,
    ask_reason: Annotated[bool, typer.Option("--ask-reason", help="Ask voters for a reason.")] = False,
    voter: Annotated[
        list[str] | None, typer.Option("--voter", help="Who may vote; may be repeated. Default: everybody.")
    ] = None,
    aspect: AspectsOption = None,
    adjudicator: AdjudicatorsOption = None,
    repeats: RepeatsOption = 0.0,
    checks: ChecksOption = 0.0,
    name: Annotated[str, typer.Option(help="Name of the campaign.")] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="Random seed; by default a new one.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Start a campaign: models answer many prompts ahead of time, and people judge the answers blind."""
    choices = answers.contenders_of_runs(run or [], with_reference=reference, checkpoint_ids=checkpoint or [])
    choices += answers.contenders_of_endpoints(endpoint or [])
    given = [_read_answers(named) for named in answers_of or ()]
    campaign_id = campaigns.create(
        NewCampaign(
            name=name,
            choices=choices,
            prompts=_read_prompts(dataset, count, prompts, choices, given),
            answers=given,
            only_answered=only_answered,
            decoding=Decoding(max_new_tokens, temperature, top_p),
            samples=samples,
            votes_wanted=votes,
            form=form,
            order=order,
            guidelines="" if guidelines is None else read_guidelines(guidelines),
            ask_reason=ask_reason,
            voters=voter or (),
            aspects=aspect or (),
            adjudicators=adjudicator or (),
            repeat_share=repeats,
            check_share=checks,
            seed=seed,
        )
    )
    for missing in filter(None, map(worker_missing, campaigns.overview(campaign_id).queues)):
        warn(f"The answers wait: {missing}")
    _show(campaign_id, as_json=as_json)


@cli.command("list")
def list_command(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of campaigns to list.")] = 100,
    before: BeforeId = None,
    as_json: JsonFlag = False,
) -> None:
    """List campaigns, newest first; --before continues where a list ended."""
    found = campaigns.overviews(limit=limit + 1, before=before)
    views = [campaign_view(overview) for overview in found[:limit]]
    if as_json:
        print_json(views)
        return
    print_table(
        ["id", "name", "state", "prompts", "contenders", "answers", "votes", "owner"],
        (
            (
                view["id"],
                view["name"],
                view["status"],
                view["progress"]["prompts"],
                ", ".join(contender["name"] for contender in view["contenders"]),
                f"{view['progress']['answered']}/{view['progress']['answers']}",
                f"{view['progress']['votes']}/{view['progress']['votes_wanted']}",
                view["owner"],
            )
            for view in views
        ),
        empty="No campaigns yet; `hypo campaigns new --help` says how to start one.",
    )
    say_more(views, more=len(found) > limit)


@cli.command("show")
def show_command(
    campaign: CampaignId,
    follow: Annotated[
        bool, typer.Option("--follow", help="Wait until all answers are written, and show their progress.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show one campaign: answers written, votes by pair and by person."""
    if follow:
        _follow(campaign, quiet=as_json or not sys.stderr.isatty())
    _show(campaign, as_json=as_json)


@cli.command("pause")
def pause_command(campaign: CampaignId, as_json: JsonFlag = False) -> None:
    """Pause a campaign: nobody gets new comparisons until it is resumed."""
    campaigns.set_status(campaign, CampaignStatus.PAUSED)
    _changed(campaign, "is paused", as_json=as_json)


@cli.command("resume")
def resume_command(campaign: CampaignId, as_json: JsonFlag = False) -> None:
    """Resume a paused campaign."""
    campaigns.set_status(campaign, CampaignStatus.OPEN)
    _changed(campaign, "is open", as_json=as_json)


@cli.command("close")
def close_command(
    campaign: CampaignId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Close a campaign for good; answers and votes stay."""
    if not yes and not as_json:
        typer.confirm(f"Close campaign {campaign} for good?", abort=True, err=True)
    campaigns.set_status(campaign, CampaignStatus.CLOSED)
    _changed(campaign, "is closed", as_json=as_json)


@cli.command("extend")
def extend_command(
    campaign: CampaignId,
    votes: Annotated[
        int | None, typer.Option(min=1, max=50, help="How many people judge each comparison from now on.")
    ] = None,
    dataset: DatasetOption = None,
    count: CountOption = 50,
    prompts: PromptsOption = None,
    aspect: Annotated[
        list[str] | None, typer.Option("--aspect", help="Ask this besides from here on; may be repeated.")
    ] = None,
    repeats: Annotated[float | None, typer.Option(min=0, max=0.5, help="Repeats from here on.")] = None,
    checks: Annotated[
        float | None, typer.Option(min=0, max=0.5, help="Attention checks from here on.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask for more votes on each comparison, add prompts, or change how often controls come."""
    edits = {"votes_wanted": votes, "repeat_share": repeats, "check_share": checks}
    given: dict[str, Any] = {name: value for name, value in edits.items() if value is not None}
    if aspect:
        given["aspects"] = [*campaigns.overview(campaign).campaign.aspects, *aspect]
    if not given and dataset is None and prompts is None:
        raise InvalidInput(
            "Give --votes, --aspect, --repeats, --checks, --dataset or --prompts.", field="votes"
        )
    if dataset is not None or prompts is not None:
        more = _read_prompts(dataset, count, prompts, campaigns.overview(campaign).choices)
        campaigns.add_prompts(campaign, more)
    if given:
        campaigns.edit(campaign, **given)
    _changed(campaign, "is extended", as_json=as_json)


cli.command("edit")(edit_command)
cli.command("quality")(quality_command)
cli.command("disagreements")(disagreements_command)
cli.command("adjudicate")(adjudicate_command)


# --- reading and printing --------------------------------------------------------------------


def _read_prompts(
    dataset: str | None,
    count: int,
    prompts: Path | None,
    choices: list[ContenderChoice],
    given: Sequence[GivenAnswers] = (),
) -> list[CampaignPrompt]:
    if given and dataset is None and prompts is None:
        return given_answers.prompts_of(given)
    if (dataset is None) == (prompts is None):
        raise InvalidInput("Give either --dataset or --prompts.", field="prompts")
    if prompts is not None:
        if not prompts.is_file():
            raise InvalidInput(f"{prompts} is not a file.", field="prompts")
        return campaign_prompts.of_file(prompts, prompts.name)
    with read_session() as session:
        dataset_id = datasets.resolve(str(dataset), session=session).id
    return campaign_prompts.of_dataset(dataset_id, count=count, choices=choices)


def _read_answers(named: str) -> GivenAnswers:
    """The answers of `NAME=FILE`, or of a file that names the contender."""
    name, equals, file = named.partition("=")
    path = Path(named if Path(named).is_file() or not equals else file)
    if not path.is_file():
        raise InvalidInput(f"{path} is not a file.", field="answers")
    return given_answers.of_file(path, path.name, name="" if str(path) == named else name)


def _follow(campaign_id: int, *, quiet: bool) -> None:
    """Wait until all answers are written.

    Raises:
        Refused: when there is no worker to write them.
    """
    from app.cli.progress import follow_answers

    queues = campaigns.overview(campaign_id).queues
    for queue in queues:
        require_worker(queue)
    watch = WorkerWatch(queues[0] if queues else GENERATE_QUEUE)
    if not quiet:
        follow_answers(campaign_id, stopped=lambda: watch.gone)
    while quiet and _unwritten(campaign_id) and not watch.gone:
        time.sleep(0.5)
    if _unwritten(campaign_id):
        raise Refused(f"The worker is gone and no other one has started. The answers wait: {watch.sentence}")


def _unwritten(campaign_id: int) -> int:
    return campaigns.overview(campaign_id).progress.unwritten


def _changed(campaign_id: int, what: str, *, as_json: bool) -> None:
    if as_json:
        _show(campaign_id, as_json=True)
    else:
        say(f"Campaign {campaign_id} {what}.")


def _show(campaign_id: int, *, as_json: bool) -> None:
    overview = campaigns.overview(campaign_id)
    view = campaign_view(overview)
    if as_json:
        print_json(view)
        return
    say(f"Campaign {campaign_id}: {view['name']}, {view['status']}")
    say(f"Contenders: {', '.join(contender['name'] for contender in view['contenders'])}")
    for sentence in _sentences(overview):
        say(sentence)
    for failure in overview.progress.failures:
        warn(failure)
    _print_votes(view["progress"])
    if overview.campaign.status is CampaignStatus.OPEN:
        running = read_running(get_settings())
        say(f"Vote on the page {running.url + '/' if running else ''}label?campaign={campaign_id}")


def _sentences(overview: Overview) -> list[str]:
    """The progress of answers, comparisons and votes."""
    progress, tasks = overview.progress, overview.progress.tasks
    said = f"{progress.written} of {progress.answers} answers to {progress.prompts} prompts are written"
    if progress.failed_answers:
        said += f", {progress.failed_answers} failed"
    if progress.unwritten and progress.seconds_left is not None:
        said += f", about {max(1, round(progress.seconds_left / 60))} min left"
    found = [f"{said}.", f"{progress.votes} of {progress.votes_wanted} votes are in."]
    if tasks.get(TaskStatus.IDENTICAL):
        alike = counted(tasks[TaskStatus.IDENTICAL], "comparison")
        found.append(f"Identical answers, which need no vote: {alike}.")
    return found


def _print_votes(progress: dict[str, Any]) -> None:
    if len(progress["pairs"]) > 1:
        rows = [
            (f"{pair['first']} / {pair['second']}", pair["votes"], pair["wanted"])
            for pair in progress["pairs"]
        ]
        print_table(["pair", "votes", "wanted"], rows, empty="")
    if progress["people"]:
        people = [
            (
                person["name"],
                person["votes"],
                person["skipped"],
                None if person["median_seconds"] is None else f"{person['median_seconds']:.1f}",
            )
            for person in progress["people"]
        ]
        print_table(["person", "votes", "skipped", "median seconds"], people, empty="")
