"""``python -m benchmarks.app.judges``: five people judge a campaign at once through the API of a served app.

Each holds three comparisons, as the Label page does, and sends a vote as soon as the last one is stored.
Afterwards every comparison must have exactly the votes that it wanted, from different people, and each
acknowledged vote must be there. Then the campaign's board and its quality are read once.
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from benchmarks.app.home import new_home
from benchmarks.app.voters import served, share

HELD = 3
CHOICES = ("A", "B", "B", "tie", "both bad")
BOARD_LIMIT_SECONDS = 1.0


@dataclass(slots=True)
class Judged:
    """The responses to the judges, in seconds, and their comparison with the database."""

    taken: list[float] = field(default_factory=list)
    voted: list[float] = field(default_factory=list)
    acknowledged: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    took: float = 0.0
    wanted: int = 0
    lost: int = 0
    doubled: int = 0
    counted: int = 0
    board: float = 0.0
    quality: float = 0.0

    @property
    def kept(self) -> bool:
        wrong = self.errors or self.lost or self.doubled
        complete = len(self.voted) == self.counted == self.wanted
        return complete and not wrong and self.board <= BOARD_LIMIT_SECONDS

    def lines(self) -> list[str]:
        """The result as a table."""
        rows = [("take 3 comparisons", self.taken), ("vote", self.voted)]
        return [
            f"{len(self.voted):,} of {self.wanted:,} votes by {len(self.acknowledged)} people at once, "
            f"{len(self.voted) / self.took:.0f} a second: "
            f"{len(self.errors)} errors, {self.lost} lost, {self.doubled} doubled",
            *(f"{what}: p50 {_ms(times, 0.5)} ms, p95 {_ms(times, 0.95)} ms" for what, times in rows),
            f"board of {self.counted:,} votes: {self.board:.2f} s; quality: {self.quality:.2f} s",
        ]


def _ms(times: list[float], part: float) -> str:
    return f"{1000 * share(times, part):.0f}"


def run(*, prompts: int, people: int, votes_wanted: int = 1) -> Judged:
    """Let people judge a new campaign of three contenders to its end.

    The database is the settings'; it is migrated and may be empty.
    """
    from app.store import tokens
    from app.store.db import write_session
    from benchmarks.app import campaign

    campaign_id = campaign.of_base_models(prompts, contenders=3, votes_wanted=votes_wanted)
    with write_session() as session:
        known = {
            f"judge-{number}": tokens.create(f"judge-{number}", session=session)[1]
            for number in range(people)
        }
    judged = Judged(wanted=3 * prompts * votes_wanted)
    with served() as url:
        asyncio.run(_judge(url, campaign_id, known, judged))
    _compare(judged, campaign_id)
    return judged


async def _judge(url: str, campaign_id: int, people: dict[str, str], judged: Judged) -> None:
    began = time.perf_counter()
    limits = httpx.Limits(keepalive_expiry=2)  # below the server's five seconds
    async with httpx.AsyncClient(base_url=f"{url}/api/v1", limits=limits, timeout=60) as client:
        await asyncio.gather(
            *(_one(client, campaign_id, name, token, judged) for name, token in people.items())
        )
        judged.took = time.perf_counter() - began
        reader = {"Authorization": f"Bearer {next(iter(people.values()))}"}
        (await client.post(f"/campaigns/{campaign_id}/names", headers=reader)).raise_for_status()
        for what in ("board", "quality"):
            began = time.perf_counter()
            answer = await client.get(f"/campaigns/{campaign_id}/{what}", headers=reader)
            answer.raise_for_status()
            setattr(judged, what, time.perf_counter() - began)
            if what == "board":
                judged.counted = answer.json()["games"]


async def _one(client: httpx.AsyncClient, campaign_id: int, name: str, token: str, judged: Judged) -> None:
    """Judge until nothing is left, with the next comparisons requested beside each vote."""
    dice, headers = random.Random(name), {"Authorization": f"Bearer {token}"}
    slots = await _take(client, campaign_id, headers, judged)
    while slots:
        body = {"choice": dice.choice(CHOICES), "seconds": 5.0}
        key = {**headers, "Idempotency-Key": f"{name}-{slots[0]}"}
        sent = time.perf_counter()
        answer = await client.put(f"/slots/{slots[0]}/vote", json=body, headers=key)
        if answer.is_success:
            judged.voted.append(time.perf_counter() - sent)
            judged.acknowledged[name] += 1
        else:
            judged.errors.append(answer.text)
        slots = await _take(client, campaign_id, headers, judged)


async def _take(
    client: httpx.AsyncClient, campaign_id: int, headers: dict[str, str], judged: Judged
) -> list[int]:
    sent = time.perf_counter()
    answer = await client.post(f"/campaigns/{campaign_id}/slots?count={HELD}", headers=headers)
    judged.taken.append(time.perf_counter() - sent)
    answer.raise_for_status()
    return [slot["id"] for slot in answer.json()["slots"]]


def _compare(judged: Judged, campaign_id: int) -> None:
    """Compare the acknowledged votes with the rows."""
    from sqlalchemy import select

    from app.store.db import read_session
    from app.store.models import Comparison, Label, User

    with read_session() as session:
        rows = session.execute(
            select(Label.comparison_id, User.name)
            .join(User, Label.user_id == User.id)
            .join(Comparison, Label.comparison_id == Comparison.id)
            .where(Comparison.campaign_id == campaign_id)
        ).all()
    stored = Counter(name for _, name in rows)
    judged.lost = sum((judged.acknowledged - stored).values())
    judged.doubled = len(rows) - len({tuple(row) for row in rows}) + max(0, len(rows) - judged.wanted)


def main(arguments: list[str]) -> int:
    """Simulate judges on a new database. The exit status is 1 if a limit or a check fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.app.judges", description=__doc__)
    parser.add_argument("--url", default="", help="a PostgreSQL database to use; else SQLite")
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=334, help="each has three comparisons")
    options = parser.parse_args(arguments)
    with new_home(options.url):
        judged = run(prompts=options.prompts, people=options.people)
    print("\n".join(judged.lines()))
    for said in judged.errors[:3]:
        print(said, file=sys.stderr)
    return 0 if judged.kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
