"""`hypo campaigns quality`: how far the voters of a campaign agree, and their habits."""

from typing import Annotated

import typer

from app.cli.output import JsonFlag, print_json, print_table, say
from app.evidence import Agreement
from app.quality import PersonControls, PersonQuality, Share, read_quality
from app.quality_view import quality_view
from app.store.db import read_session
from app.store.enums import SlotKind

COLUMNS = ("person", "votes", "median seconds", "others agree", "prefers first side", "prefers longer")


def quality_command(
    campaign: Annotated[int, typer.Argument(min=1, max=2**31 - 1, help="The campaign's number.")],
    as_json: JsonFlag = False,
) -> None:
    """Show how far a campaign's voters agree, and their habits; it tells nothing about the models."""
    with read_session() as session:
        found = read_quality(campaign, session=session)
    if as_json:
        print_json(quality_view(found))
        return
    print_table(COLUMNS, map(_row, found.people), empty="Nobody has voted in this campaign yet.")
    if found.agreement.rate is not None:
        say(_agreement(found.agreement))
    for aspect in found.aspects:
        if aspect.agreement.rate is not None:
            say(f"{aspect.name}: {_agreement(aspect.agreement)}")
    if found.disagreements:
        numbers = ", ".join(str(gap.number) for gap in found.disagreements)
        say(f"People differ on the comparisons {numbers}.")
    if found.controls is not None and found.controls.people:
        print_table(CONTROL_COLUMNS, map(_controls, found.controls.people), empty="")
        for result in found.controls.failed:
            say(f"{result.person} {FAILED[result.kind]} comparison {result.number}.")


def _agreement(found: Agreement) -> str:
    """How many pairs of votes agree, and Krippendorff's alpha."""
    said = f"{100 * (found.rate or 0):.0f}% of {found.pairs:,} pairs of votes on the same answers agree."
    if found.alpha is None:
        return said
    bounds = "" if found.low is None else f" (95% interval {found.low:.2f} to {found.high:.2f})"
    return f"{said}\nKrippendorff's alpha is {found.alpha:.2f}{bounds}."


CONTROL_COLUMNS = ("person", "attention checks passed", "repeats judged alike")
FAILED = {
    SlotKind.CHECK: "did not pass the attention check on",
    SlotKind.REPEAT: "judged differently the second time:",
}


def _controls(person: PersonControls) -> list[object]:
    return [person.name, _rate(person.passed), _rate(person.consistent)]


def _rate(share: Share) -> str | None:
    if share.interval is None:
        return None
    low, high = share.interval
    return f"{share.count} of {share.of} ({100 * low:.0f} to {100 * high:.0f}%)"


def _row(person: PersonQuality) -> list[object]:
    return [
        person.name,
        person.votes,
        None if person.median_seconds is None else f"{person.median_seconds:.1f}",
        _share(person.agrees),
        _share(person.first_side),
        _share(person.longer),
    ]


def _share(share: Share) -> str | None:
    return None if share.rate is None else f"{100 * share.rate:.0f}% of {share.of:,}"
