"""A campaign's board: only its votes count, and only those whose names the reader may see."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app import campaigns, labelling
from app.cli.main import cli
from app.ranking import Ranking, read_ranking
from app.store import label_queries
from app.store.db import read_session
from app.store.enums import Choice
from app.store.label_queries import VoteFilter
from tests.app import campaign_setup

pytestmark = pytest.mark.usefixtures("engine")


def judge(campaign_id: int, *, better: int) -> None:
    """Vote on everything; `better` is the position of the contender that always wins."""
    while offers := labelling.take(campaign_id, count=3).offers:
        for offer in offers:
            best = next(
                place for place, text in enumerate(offer.answers) if text.startswith(f"Answer {better} ")
            )
            labelling.vote(offer.slot_id, "AB"[best])


def board(campaign_id: int | None = None) -> Ranking:
    with read_session() as session:
        return read_ranking(session=session, viewer="local", campaign_id=campaign_id)


def test_a_board_counts_the_votes_of_its_campaign_alone() -> None:
    choices = campaign_setup.choices(2)
    prompts = [[f"{part} {number}?" for number in range(12)] for part in ("Why", "How")]
    first, second = (campaign_setup.ready(choices=choices, prompts=part) for part in prompts)
    judge(first, better=0)
    judge(second, better=1)
    for campaign_id in (first, second):
        campaigns.show_names(campaign_id)
    boards = [board(first), board(second), board()]
    assert [found.games for found in boards] == [12, 12, 24]
    assert [found.prompts for found in boards] == [12, 12, 24]
    assert boards[0].names[boards[0].order[0]] == "Reference"
    assert boards[1].names[boards[1].order[0]] != "Reference"
    assert boards[2].board.counts.sum() == 48


def test_a_board_waits_for_the_names() -> None:
    campaign_id = campaign_setup.ready()
    judge(campaign_id, better=1)
    assert (board(campaign_id).games, board(campaign_id).hidden) == (0, 2)
    campaigns.show_names(campaign_id)
    assert (board(campaign_id).games, board(campaign_id).hidden) == (2, 0)


def test_the_command_prints_a_campaigns_board() -> None:
    campaign_id = campaign_setup.ready()
    judge(campaign_id, better=1)
    campaigns.show_names(campaign_id)
    found = CliRunner().invoke(cli, ["board", "--campaign", str(campaign_id)])
    assert found.exit_code == 0
    assert "Reference" in found.output
    table = CliRunner().invoke(cli, ["board", "--campaign", str(campaign_id), "--csv", "against"])
    assert [line.split(",")[7] for line in table.output.splitlines()] == ["against", "Reference"]
    both = CliRunner().invoke(cli, ["board", "--csv", "matrix", "--json"])
    assert both.exit_code != 0
    missing = CliRunner().invoke(cli, ["board", "--campaign", "99"])
    assert missing.exit_code != 0


def test_votes_are_listed_and_exported_by_campaign(tmp_path: Path) -> None:
    first, second = campaign_setup.ready(), campaign_setup.ready(prompts=["Three?"])
    judge(first, better=1)
    judge(second, better=0)
    campaigns.show_names(second)
    with read_session() as session:
        only = VoteFilter(campaign_id=second, blind=True)
        assert len(label_queries.votes(session=session, only=only, viewer="local")) == 1
        assert label_queries.count(session=session, only=VoteFilter(campaign_id=first))[Choice.BEST] == 2
    for number, (campaign_id, chosen) in enumerate([(first, 1), (second, 0)]):
        file = tmp_path / f"{number}.jsonl"
        options = ["--campaign", str(campaign_id), "--blind", "--output", str(file)]
        assert CliRunner().invoke(cli, ["labels", "export", *options]).exit_code == 0
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        assert len(rows) == 2 - number
        assert all(row["chosen"][-1]["content"].startswith(f"Answer {chosen}") for row in rows)
