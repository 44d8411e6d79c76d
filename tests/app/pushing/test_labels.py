"""Votes become a dataset repository on a local hub."""

import json

import pytest
import yaml

from app import campaigns, labelling
from app.cli.main import run
from app.errors import InvalidInput, Refused
from app.exports.layouts import LabelFormat
from app.exports.writers import FileType
from app.pushing.labels import push_labels
from app.store import labels
from app.store.db import write_session
from app.store.enums import CampaignStatus, Choice
from app.store.label_queries import VoteFilter
from tests.app import arena
from tests.app.campaign_setup import ready
from tests.app.pushing.conftest import CLIENT_WARNS
from tests.hub_server import Hub, Repository

SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
pytestmark = [CLIENT_WARNS, SQLITE, pytest.mark.usefixtures("engine")]


def vote(user: str = "ada") -> None:
    """A vote on a new comparison whose names its voter and the local user have seen."""
    with write_session() as session:
        asked = arena.asked(session, texts=("good", "bad"))
        labels.vote(asked.id, session=session, user=user, choice=Choice.BEST, best=0)


def pushed_to(hub: Hub, name: str = "votes") -> Repository:
    return hub.repositories["dataset", f"ann/{name}"]


def test_votes_arrive_with_a_card_and_a_manifest(hub: Hub) -> None:
    vote()
    pushed = push_labels("votes", licence="CC BY 4.0")
    repository = pushed_to(hub)
    assert pushed.address == f"{hub.address}/datasets/ann/votes"
    assert repository.private
    assert set(repository.files) == {".gitattributes", "README.md", "manifest.json", "votes_trl.jsonl"}
    row = json.loads(repository.files["votes_trl.jsonl"])
    assert row["chosen"][0]["content"] == "good"
    assert json.loads(repository.files["manifest.json"])["rows"] == 1
    card = repository.files["README.md"].decode()
    header = yaml.safe_load(card.split("---")[1])
    assert header["license"] == "cc-by-4.0"
    assert header["configs"][0]["data_files"] == [{"split": "train", "path": "votes_trl.jsonl"}]
    assert "- Rows: 1\n" in card
    assert "- Licence: CC BY 4.0\n" in card
    assert "- Filters: none\n" in card


def test_voters_are_pseudonyms_in_every_file(hub: Hub) -> None:
    vote("ada-lovelace")
    push_labels("votes", format=LabelFormat.RAW, licence="house rules")
    assert not [name for name, content in pushed_to(hub).files.items() if b"lovelace" in content]
    assert b"license_name: house rules" in pushed_to(hub).files["README.md"]


def test_parquet_is_sent_as_a_large_file(hub: Hub) -> None:
    vote()
    push_labels("votes", file_type=FileType.PARQUET, merge=True)
    assert pushed_to(hub).files["votes_trl.parquet"].startswith(b"PAR1")
    assert b"`soft_label`" in pushed_to(hub).files["README.md"]


def test_nothing_that_voters_may_not_see_yet_is_pushed(hub: Hub) -> None:
    campaign_id = ready(user="local")
    [offer] = labelling.take(campaign_id, user="ada", count=1).offers
    labelling.vote(offer.slot_id, "A", user="ada")
    for format, public in ((LabelFormat.RAW, False), (LabelFormat.TRL, True)):
        with pytest.raises(Refused, match=f"Campaign {campaign_id} is not closed"):
            push_labels("votes", format=format, public=public)
    assert hub.repositories == {}
    push_labels("votes")
    with pytest.raises(Refused, match="No vote becomes a row"):
        push_labels("others", format=LabelFormat.RAW, only=VoteFilter(campaign_id=campaign_id + 1))
    campaigns.set_status(campaign_id, CampaignStatus.CLOSED, user="local")
    push_labels("open", format=LabelFormat.RAW, public=True)
    assert not pushed_to(hub, "open").private


def test_what_cannot_be_pushed_is_said(hub: Hub) -> None:
    with pytest.raises(Refused, match="No vote becomes a row of trl"):
        push_labels("votes")
    with pytest.raises(InvalidInput, match="jsonl or parquet"):
        push_labels("votes", file_type=FileType.CSV)
    with pytest.raises(InvalidInput, match="OWNER/NAME"):
        push_labels("no/such/id")
    assert hub.asked == []


def test_the_command_prints_the_commit_and_asks_before_it_publishes(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    vote()
    assert run(["labels", "push", "votes", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["commit"] == pushed_to(hub).sha
    assert run(["labels", "push", "votes", "--update"]) == 0
    assert "(private)" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert run(["labels", "push", "others", "--public"]) == 1
    assert "give --yes as well" in capsys.readouterr().err
    assert ("dataset", "ann/others") not in hub.repositories
    assert run(["labels", "push", "others", "--public", "--yes"]) == 0
    assert not pushed_to(hub, "others").private
