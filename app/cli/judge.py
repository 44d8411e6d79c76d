"""`hypo judge`: automatic judges of a campaign, or of a run's evaluations."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app import judges, run_judges
from app.cli.board import print_board
from app.cli.output import JsonFlag, print_json, print_table, say, warn
from app.endpoints.judging import TEMPLATE
from app.errors import InvalidInput
from app.evidence import AgreementRate
from app.judge_kinds import DEFAULT_TOKENS
from app.judge_view import judge_view
from app.judges import JudgeReport
from app.presence import worker_missing
from app.quality import Share
from app.store.enums import VerdictStatus
from app.views import ranking_view

cli = typer.Typer(
    help="Automatic judges of campaigns and of runs' evaluations, apart from people's votes.",
    no_args_is_help=True,
)

JudgeId = Annotated[int, typer.Argument(min=1, max=2**31 - 1, help="The judge's number.")]
CampaignId = Annotated[int | None, typer.Argument(min=1, max=2**31 - 1, help="The campaign's number.")]
RunId = Annotated[
    int | None,
    typer.Option("--run", min=1, max=2**31 - 1, help="Instead of a campaign, the number of a run."),
]


@cli.command("start")
def start_command(
    campaign: CampaignId = None,
    run: RunId = None,
    endpoint: Annotated[
        str, typer.Option(help="The endpoint that judges. `hypo endpoints` lists them.")
    ] = "",
    scorer: Annotated[
        str,
        typer.Option(
            help="A scorer that judges instead: length, vader, run:NUMBER of a reward model, its folder or "
            "hub id, or a scorer of another package."
        ),
    ] = "",
    template: Annotated[
        Path | None,
        typer.Option(help="A file with the question and its placeholders. `hypo judge template` prints one."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the requests.")] = 0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest reply, in tokens.")] = DEFAULT_TOKENS,
    as_json: JsonFlag = False,
) -> None:
    """Let a model judge all pairs of a campaign's answers, each in both orders; or let a scorer do it.

    With --run, the samples of every evaluation are judged against the reference's, and the win rates become
    metrics of the run.
    """
    text = "" if template is None else _read(template)
    start, number = (judges.start, campaign) if run is None else (run_judges.start, run)
    judge_id = start(
        _one_of(campaign, run, number),
        endpoint,
        scorer=scorer,
        template=text,
        seed=seed,
        max_tokens=max_tokens,
    )
    _show(judge_id, as_json=as_json)


@cli.command("list")
def list_command(campaign: CampaignId = None, run: RunId = None, as_json: JsonFlag = False) -> None:
    """List the judges of a campaign, or with --run those of a run."""
    reports, number = (judges.reports, campaign) if run is None else (judges.reports_of_run, run)
    found = reports(_one_of(campaign, run, number))
    if as_json:
        print_json([judge_view(report) for report in found])
        return
    print_table(
        ["id", "judge", "model", "verdicts", "orders disagree", "agrees with people", "people agree"],
        (
            (
                report.judge.id,
                report.judge.name,
                report.judge.model,
                f"{report.verdicts - report.waiting}/{report.verdicts}",
                _percent(report.flips),
                _agreement(report.with_people),
                _agreement(report.among_people),
            )
            for report in found
        ),
        empty="No judges yet; `hypo judge start --help` says how to start one.",
    )


@cli.command("show")
def show_command(judge: JudgeId, as_json: JsonFlag = False) -> None:
    """Show a judge: its progress, its habits, its cost, and how it agrees with people."""
    _show(judge, as_json=as_json)


@cli.command("stop")
def stop_command(judge: JudgeId, as_json: JsonFlag = False) -> None:
    """Stop a judge; its verdicts stay."""
    judges.stop(judge)
    _show(judge, as_json=as_json)


@cli.command("resume")
def resume_command(judge: JudgeId, as_json: JsonFlag = False) -> None:
    """Continue a judge: what was stopped or failed, and answers that were written since."""
    judges.resume(judge)
    _show(judge, as_json=as_json)


@cli.command("delete")
def delete_command(judge: JudgeId, as_json: JsonFlag = False) -> None:
    """Delete a judge of a run, with its verdicts and win rates."""
    run_judges.delete(judge)
    if as_json:
        print_json({"deleted": judge})
    else:
        say(f"Judge {judge} is deleted.")


@cli.command("board")
def board_command(judge: JudgeId, as_json: JsonFlag = False) -> None:
    """Rank the contenders by a judge's verdicts, once you have seen the campaign's names."""
    ranking = judges.board(judge)
    if as_json:
        print_json(ranking_view(ranking))
    else:
        print_board(ranking)


@cli.command("template")
def template_command(as_json: JsonFlag = False) -> None:
    """Print the default question to a judge, to be changed."""
    if as_json:
        print_json({"template": TEMPLATE})
    else:
        say(TEMPLATE)


def _one_of(campaign: int | None, run: int | None, number: int | None) -> int:
    """The number of the campaign or of the run, of which one must be given."""
    if number is None or (campaign is not None and run is not None):
        raise InvalidInput("Give either the number of a campaign or --run with the number of a run.")
    return number


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}.", field="template") from error


def _show(judge_id: int, *, as_json: bool) -> None:
    report = judges.report(judge_id)
    missing = worker_missing(report.queue) if report.waiting else None
    if missing:
        warn(f"The verdicts wait: {missing}")
    if as_json:
        print_json(judge_view(report))
        return
    judge = report.judge
    whose = f"campaign {judge.campaign_id}" if judge.run_id is None else f"run {judge.run_id}"
    say(f"Judge {judge.id} of {whose}: {judge.name}, model {judge.model}")
    for sentence in _sentences(report):
        say(sentence)
    for failure in report.failures:
        warn(failure)


def _sentences(report: JudgeReport) -> list[str]:
    counts = report.counts
    said = [f"{report.verdicts - report.waiting} of {report.verdicts} verdicts are over."]
    named: dict[VerdictStatus, Any] = {
        VerdictStatus.UNPARSABLE: "No verdict in a reply",
        VerdictStatus.FAILED: "Failed",
        VerdictStatus.STOPPED: "Stopped",
    }
    said += [f"{what}: {counts[status]}." for status, what in named.items() if counts[status]]
    if report.flips.of:
        said.append(f"The two orders disagree: {_percent(report.flips)}.")
    if report.longer.of:
        said.append(f"Prefers the longer answer: {_percent(report.longer)}.")
    if report.cost.replies:
        cost = "unknown" if report.cost.cost is None else f"{report.cost.cost:.4f}"
        said.append(f"Replies: {report.cost.replies}, cost: {cost}.")
    if report.with_people.pairs:
        said.append(f"Agrees with people: {_agreement(report.with_people)}.")
    if report.among_people.pairs:
        said.append(f"People agree with each other: {_agreement(report.among_people)}.")
    return said


def _percent(share: Share) -> str:
    if share.rate is None or share.interval is None:
        return "–"
    low, high = share.interval
    return f"{100 * share.rate:.0f}% of {share.of} ({100 * low:.0f} to {100 * high:.0f}%)"


def _agreement(found: AgreementRate) -> str:
    if found.rate is None:
        return "–"
    bounds = "" if found.low is None else f" ({100 * found.low:.0f} to {100 * (found.high or 0):.0f}%)"
    return f"{100 * found.rate:.0f}% of {found.pairs}{bounds}"
