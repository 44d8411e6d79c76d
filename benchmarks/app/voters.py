"""``python -m benchmarks.app.voters``: a hundred people vote concurrently through the API of a served app.

Each has a token, reads for a second, votes, sometimes changes the vote, and sometimes repeats a request, like
a program that got no response. Afterwards the database must contain exactly one vote per person and
comparison: the last acknowledged one.
"""

import argparse
import asyncio
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx

from benchmarks.app.home import new_home

LIMIT_SECONDS = 0.5
"""Limit of the 95th percentile of the time per vote."""

START_SECONDS = 180
"""Patience with the start of the web app, on a busy machine."""

SHARE_CHANGED, SHARE_REPEATED = 0.1, 0.05
CHOICES = ("A", "B", "tie", "both bad")


def share(times: list[float], part: float) -> float:
    """Quantile of times; infinite if there are none."""
    ordered = sorted(times) or [float("inf")]
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


@dataclass(slots=True)
class Outcome:
    """The responses to the voters, and their comparison with the database."""

    seconds: list[float] = field(default_factory=list)
    voted: dict[tuple[int, str], str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    took: float = 0.0
    lost: int = 0
    doubled: int = 0

    def share(self, part: float) -> float:
        """Quantile of the response times, in seconds."""
        return share(self.seconds, part)

    @property
    def kept(self) -> bool:
        return self.share(0.95) <= LIMIT_SECONDS and not (self.errors or self.lost or self.doubled)

    def line(self) -> str:
        """The result in one line."""
        times = ", ".join(f"p{part * 100:.0f} {1000 * self.share(part):.0f} ms" for part in (0.5, 0.95, 0.99))
        return (
            f"{len(self.seconds):,} votes at {len(self.seconds) / self.took:.0f} a second: {times}; "
            f"{len(self.errors)} errors, {self.lost} lost, {self.doubled} doubled"
        )


def run(*, voters: int, seconds: float, pause: float) -> Outcome:
    """Simulate voters on an app with the settings' database, which is migrated and may be empty.

    Args:
        pause: mean seconds between a voter's votes; 0 sends each vote right after the previous response.
    """
    comparisons, people = prepare(voters, count=max(10, round(seconds)))
    with served() as url:
        outcome = asyncio.run(_vote(url, comparisons, people, seconds=seconds, pause=pause))
    _compare(outcome, comparisons)
    return outcome


def prepare(voters: int, *, count: int) -> tuple[list[int], dict[str, str]]:
    """Create answered comparisons and users with tokens. Returns the ids, and the tokens by name."""
    from app.store import comparisons, conversations, tokens
    from app.store.conversations import ContenderChoice, Decoding
    from app.store.db import write_session
    from app.store.enums import GenerationStatus

    choices = [ContenderChoice(base_model="one"), ContenderChoice(base_model="two")]
    ids: list[int] = []
    with write_session() as session:
        for number in range(count):
            talk = conversations.start(
                choices, session=session, user="asker", blind=True, seed=number, decoding=Decoding()
            )
            comparison = comparisons.ask(talk.id, f"Question {number}?", session=session)
            for answer in comparisons.answers(comparison.id, session=session):
                answer.status, answer.text = GenerationStatus.FINISHED, f"Answer {answer.position}."
            ids.append(comparison.id)
        people = {
            f"person-{number}": tokens.create(f"person-{number}", session=session)[1]
            for number in range(voters)
        }
    return ids, people


@contextmanager
def served() -> Iterator[str]:
    """Serve the web app in a separate process on a free port, and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "app.main", "--port", str(port)])
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(url, process)
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/healthz").is_success:
                return
        time.sleep(0.2)
    raise RuntimeError("The web app did not start.")


async def _vote(
    url: str, comparisons: list[int], people: dict[str, str], *, seconds: float, pause: float
) -> Outcome:
    outcome = Outcome()
    # a connection is not used again when the server, which waits five seconds, may be closing it
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=2)
    async with httpx.AsyncClient(base_url=f"{url}/api/v1", limits=limits, timeout=60) as client:
        began = time.perf_counter()
        voters = [
            _one_voter(client, name, token, comparisons, outcome, end=began + seconds, pause=pause)
            for name, token in people.items()
        ]
        await asyncio.gather(*voters)
    outcome.took = time.perf_counter() - began
    return outcome


async def _one_voter(
    client: httpx.AsyncClient,
    name: str,
    token: str,
    comparisons: list[int],
    outcome: Outcome,
    *,
    end: float,
    pause: float,
) -> None:
    dice = random.Random(name)
    order = dice.sample(comparisons, len(comparisons))
    await asyncio.sleep(dice.uniform(0, pause))
    number = 0
    while not number or time.perf_counter() < end:
        again = bool(number) and dice.random() < SHARE_CHANGED
        comparison = order[(number - 1 if again else number) % len(order)]
        number += not again
        key = f"{name}-{number}-{again}-{dice.random()}"
        headers = {"Authorization": f"Bearer {token}"}
        body, repeated = {"choice": dice.choice(CHOICES)}, dice.random() < SHARE_REPEATED
        if repeated:
            headers["Idempotency-Key"] = key
        for _ in range(2 if repeated else 1):
            sent = time.perf_counter()
            answer = await client.put(f"/comparisons/{comparison}/vote", json=body, headers=headers)
            outcome.seconds.append(time.perf_counter() - sent)
            if answer.is_success:
                outcome.voted[comparison, name] = body["choice"]
            else:
                outcome.errors.append(answer.text)
        await asyncio.sleep(pause * dice.uniform(0.5, 1.5))


def _compare(outcome: Outcome, comparisons: list[int]) -> None:
    """Compare the acknowledged votes with the rows."""
    from sqlalchemy import select

    from app.store.db import read_session
    from app.store.models import Label, User

    with read_session() as session:
        rows = session.execute(
            select(Label.comparison_id, User.name, Label.choice, Label.best_id, Label.shown)
            .join(User, Label.user_id == User.id)
            .where(Label.comparison_id.in_(comparisons))
        ).all()
    words = {"tie": "tie", "all_bad": "both bad"}
    stored: dict[tuple[int, str], str] = {}
    for comparison, name, choice, best_id, shown in rows:
        outcome.doubled += (comparison, name) in stored
        stored[comparison, name] = words.get(choice.value) or "AB"[shown.index(best_id)]
    outcome.lost = sum(stored.get(place) != choice for place, choice in outcome.voted.items())
    outcome.doubled += len(stored.keys() - outcome.voted.keys())


def main(arguments: list[str]) -> int:
    """Simulate voters on a new database. The exit status is 1 if the limit or a check fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.app.voters", description=__doc__)
    parser.add_argument("--url", default="", help="a PostgreSQL database to use; else SQLite")
    parser.add_argument("--voters", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=1.0, help="mean seconds between a person's votes")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(arguments)
    with new_home(options.url):
        outcome = run(voters=options.voters, seconds=options.seconds, pause=options.pause)
    if options.json:
        shares = {f"p{round(part * 100)}": outcome.share(part) for part in (0.5, 0.95, 0.99)}
        print(json.dumps({"votes": len(outcome.seconds), "seconds": outcome.took, **shares}))
    else:
        print(outcome.line())
    for said in outcome.errors[:3]:
        print(said, file=sys.stderr)
    return 0 if outcome.kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
