"""The board through the API: the ranking as a caller may see it."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from app import labelling
from app.rest.schemas.board import BoardShown, ModelRated, PairMet, WinRateShown
from app.store import labels
from app.store.db import write_session
from app.store.enums import Choice
from tests.app import arena, campaign_setup
from tests.app.rest.conftest import ok, refused

AsUser = Callable[[str], dict[str, str]]
SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def voted(*, blind: bool = False) -> None:
    with write_session() as session:
        comparison = arena.asked(session, ("short", "a longer answer"), blind=blind)
        labels.vote(comparison.id, session=session, user="ada", choice=Choice.BEST, best=1)


def test_the_board_has_models_and_pairs(api: TestClient) -> None:
    assert ok(api.get("board")) == {
        "games": 0,
        "prompts": 0,
        "hidden": 0,
        "reference": None,
        "models": [],
        "pairs": [],
    }
    voted()
    board = ok(api.get("board"))
    first, second = board["models"]
    assert (first["method"], second["method"], board["games"]) == ("dpo", "reference", 1)
    assert (first["missing"], first["rank"], first["low"]) == ("few prompts", None, None)
    assert board["reference"] == second["id"]
    assert first["against_reference"]["rate"] == 1
    (pair,) = board["pairs"]
    assert pair == {
        "first": first["id"],
        "second": second["id"],
        "rate": 1.0,
        "low": None,
        "high": None,
        "games": 1,
        "more_votes": None,
    }
    other = ok(api.get("board", params={"reference": first["id"]}))
    assert other["models"][1]["against_reference"]["rate"] == 0


@SQLITE
def test_the_schema_has_every_field(api: TestClient) -> None:
    voted()
    board = ok(api.get("board"))
    assert set(board) == set(BoardShown.model_fields)
    assert set(board["models"][0]) == set(ModelRated.model_fields)
    assert set(board["models"][0]["against_reference"]) == set(WinRateShown.model_fields)
    assert set(board["pairs"][0]) == set(PairMet.model_fields)


@SQLITE
def test_a_reference_that_is_not_there_is_refused(api: TestClient) -> None:
    assert "No model 7" in refused(api.get("board?reference=7"), 404)
    refused(api.get("board?reference=0"), 422, field="reference")


@SQLITE
def test_the_board_of_hidden_names_is_empty(api: TestClient, as_user: AsUser) -> None:
    voted(blind=True)
    hidden = ok(api.get("board", headers=as_user("bob")))
    assert (hidden["models"], hidden["hidden"]) == ([], 1)
    assert len(ok(api.get("board", headers=as_user("ada")))["models"]) == 2


def test_a_campaigns_board_is_found_by_its_campaign(api: TestClient) -> None:
    campaign_id = campaign_setup.ready()
    voted()
    assert ok(api.get(f"campaigns/{campaign_id}/board"))["games"] == 0
    assert refused(api.get("campaigns/99/board"), 404)


@SQLITE
def test_the_tables_are_files_with_what_the_caller_may_see(api: TestClient, as_user: AsUser) -> None:
    voted(blind=True)
    found = api.get("board.csv?table=matrix")
    assert found.headers["content-type"] == "text/csv; charset=utf-8"
    assert found.headers["content-disposition"] == 'attachment; filename="board-matrix.csv"'
    assert found.text.count("\n") == 1, "names are hidden from this caller"
    seen = api.get("board.csv", headers=as_user("ada")).text.splitlines()
    assert seen[0].startswith("rank,model_id,model,method")
    assert len(seen) == 3
    assert refused(api.get("board.csv?table=all"), 422, field="table")


@SQLITE
def test_the_tables_of_a_campaign_are_files(api: TestClient) -> None:
    campaign_id = campaign_setup.ready()
    voted()
    found = api.get(f"campaigns/{campaign_id}/board.csv?table=against")
    assert f"campaign-{campaign_id}-against.csv" in found.headers["content-disposition"]
    assert found.text.count("\n") == 1, "the vote is none of the campaign's"
    assert refused(api.get(f"campaigns/{campaign_id}/board.csv?aspect=kind"), 422, field="aspect")
    assert refused(api.get("campaigns/99/board.csv"), 404)


def test_the_quality_of_a_campaigns_votes(api: TestClient) -> None:
    campaign_id = campaign_setup.ready(votes_wanted=2)
    for user in ("ada", "bob"):
        for offer in labelling.take(campaign_id, user=user).offers:
            labelling.vote(offer.slot_id, "tie", user=user, seconds=2)
    found = ok(api.get(f"campaigns/{campaign_id}/quality"))
    assert found["agreement"] == {
        "units": 2,
        "votes": 4,
        "pairs": 2,
        "rate": 1.0,
        "alpha": None,
        "low": None,
        "high": None,
    }
    assert [person["name"] for person in found["people"]] == ["ada", "bob"]
    assert found["people"][0]["agrees"] == {"count": 2, "of": 2, "rate": 1.0}
    assert found["disagreements"] == []
    assert refused(api.get("campaigns/99/quality"), 404)
