"""The quality of a campaign's votes as plain values, ready for JSON."""

from dataclasses import asdict
from typing import Any

from app.quality import Controls, PersonQuality, Quality, Share


def quality_view(quality: Quality) -> dict[str, Any]:
    """The quality of a campaign's votes; `controls` is null for those who may not see them."""
    return {
        "agreement": asdict(quality.agreement),
        "people": [_person(person) for person in quality.people],
        "disagreements": [
            {
                "number": gap.number,
                "votes": [{"user": person, "outcome": outcome} for person, outcome in gap.votes],
            }
            for gap in quality.disagreements
        ],
        "aspects": [{"name": found.name, **asdict(found.agreement)} for found in quality.aspects],
        "controls": None if quality.controls is None else _controls(quality.controls),
    }


def _person(person: PersonQuality) -> dict[str, Any]:
    return {
        "name": person.name,
        "votes": person.votes,
        "median_seconds": person.median_seconds,
        "first_side": _share(person.first_side),
        "longer": _share(person.longer),
        "agrees": _share(person.agrees),
    }


def _controls(controls: Controls) -> dict[str, Any]:
    return {
        "people": [
            {
                "name": person.name,
                "checks_passed": _with_interval(person.passed),
                "repeats_consistent": _with_interval(person.consistent),
            }
            for person in controls.people
        ],
        "failed": [
            {
                "user": result.person,
                "kind": result.kind.value,
                "number": result.number,
                "question": result.question,
                "seconds": result.seconds,
            }
            for result in controls.failed
        ],
    }


def _share(share: Share) -> dict[str, Any]:
    return {"count": share.count, "of": share.of, "rate": share.rate}


def _with_interval(share: Share) -> dict[str, Any]:
    low, high = share.interval or (None, None)
    return {**_share(share), "low": low, "high": high}
