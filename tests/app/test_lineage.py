"""The lineage: what is stored on the way, what is read, and what stays hidden, on both databases."""

import json

import pytest
from sqlalchemy import Engine, delete, update
from typer.testing import CliRunner

from app import campaign_prompts, campaigns, labelling, leaving_out, lineage
from app.campaigns import NewCampaign
from app.cli.main import cli
from app.deletion import delete_run
from app.errors import InvalidInput, NotFound
from app.exports import labels as exports
from app.imports import service
from app.store import labels
from app.store.conversations import ContenderChoice
from app.store.db import read_session, write_session
from app.store.enums import Choice
from app.store.label_queries import VoteFilter
from app.store.lineage import Kind, Relation, Thing
from app.store.models import Campaign, CampaignDataset, Dataset, DatasetVotes, Run
from hypo_engine.data.formats import Pair
from tests.app import arena
from tests.app.campaign_setup import write_answers

DATASET, RUN, CAMPAIGN = Kind.DATASET, Kind.RUN, Kind.CAMPAIGN


def add_pairs(name: str, number: int = 6, *, held_out: float = 0.0) -> int:
    pairs = (Pair(f"Question {n} of {name}?", f"good {n}", f"bad {n}") for n in range(number))
    return service.add_pairs(pairs=pairs, name=name, source=f"{name}.jsonl", held_out=held_out).id


def add_run(dataset_id: int, method: str = "dpo", *, depends_on: int | None = None) -> int:
    with write_session() as session:
        run = arena.add_run(session, name=f"{method} on {dataset_id}", dataset_id=dataset_id)
        run.method, run.depends_on_id = method, depends_on
        run.config = {**run.config, "reward": f"run:{depends_on}" if depends_on else ""}
        return run.id


def a_round(run_id: int, *, of_dataset: int | None = None, name: str = "votes") -> tuple[int, int]:
    """A campaign of a run and the reference, judged, and the dataset that its votes became."""
    choices = [ContenderChoice(base_model="demo"), ContenderChoice(run_id=run_id)]
    prompts = (
        campaign_prompts.checked(["One?", "Two?"])
        if of_dataset is None
        else campaign_prompts.of_dataset(of_dataset, count=2, choices=choices)
    )
    campaign_id = campaigns.create(NewCampaign(name="Which?", choices=choices, prompts=prompts))
    write_answers(campaign_id)
    for offer in labelling.take(campaign_id, count=3).offers:
        labelling.vote(offer.slot_id, "A")
    only = VoteFilter(campaign_id=campaign_id)
    return campaign_id, exports.use_as_dataset(name, only=only).id


def keys(found: lineage.Lineage) -> set[str]:
    return {node.thing.key for node in found.nodes}


def relations(found: lineage.Lineage) -> set[tuple[str, str, str]]:
    return {(link.source.key, link.relation.value, link.target.key) for link in found.links}


def test_a_whole_round_is_one_chain_from_either_end(engine: Engine) -> None:
    posts = add_pairs("posts", 40, held_out=0.5)
    fewer = leaving_out.leave_out(posts, {0}).id
    reward = add_run(posts, "reward")
    run = add_run(fewer, "rloo", depends_on=reward)
    campaign, voted = a_round(run, of_dataset=posts)
    following = add_run(voted)
    with write_session() as session:  # it starts from the first run's model
        session.get_one(Run, following).base_model = f"run:{run}@10"
    other = add_run(add_pairs("others"))
    found = lineage.of(Thing(RUN, following))
    checkpoint = next(node.thing.key for node in found.nodes if node.thing.kind is Kind.CHECKPOINT)
    chain = {
        (f"source:{posts}", "imported", f"dataset:{posts}"),
        (f"dataset:{posts}", "left_out", f"dataset:{fewer}"),
        (f"dataset:{posts}", "trained", f"run:{reward}"),
        (f"dataset:{fewer}", "trained", f"run:{run}"),
        (f"run:{reward}", "rewarded", f"run:{run}"),
        (f"run:{run}", "saved", checkpoint),
        (checkpoint, "answered", f"campaign:{campaign}"),
        (f"dataset:{posts}", "asked", f"campaign:{campaign}"),
        (f"campaign:{campaign}", "judged", f"votes:{campaign}"),
        (f"votes:{campaign}", "became_pairs", f"dataset:{voted}"),
        (f"dataset:{voted}", "trained", f"run:{following}"),
        (checkpoint, "started", f"run:{following}"),
    }
    assert relations(found) == chain
    assert relations(lineage.of(Thing(DATASET, posts))) == chain
    down = lineage.of(Thing(RUN, reward))
    assert f"dataset:{fewer}" not in keys(down), "it is neither ancestor nor descendant"
    assert f"run:{other}" not in keys(found)
    told = {node.thing.key: node for node in found.nodes}
    assert told[f"dataset:{fewer}"].title == "posts v2"
    assert told[f"source:{posts}"].title == "posts.jsonl"
    assert told[f"votes:{campaign}"].title == "2 votes"
    assert told[f"campaign:{campaign}"].notes == (
        "Reference answered too.",
        "2 of 2 prompts come from datasets.",
    )
    with read_session() as session:
        row = session.get(CampaignDataset, (campaign, posts))
        assert row is not None
        assert row.prompts == 2


def test_votes_of_the_compare_page_lead_to_those_who_answered_but_not_for_whom_they_are_hidden(
    engine: Engine,
) -> None:
    with write_session() as session:
        seen = arena.asked(session, blind=True)
        labels.vote(seen.id, session=session, user="ann", choice=Choice.BEST, best=1)
        run_id = next(one.run_id for one in seen.conversation.contenders if one.run_id is not None)
    made = exports.use_as_dataset("chats").id
    for viewer, told in (("ann", True), ("bob", False)):
        found = lineage.of(Thing(DATASET, made), viewer=viewer)
        assert (f"run:{run_id}" in keys(found)) is told
        (chats,) = [node for node in found.nodes if node.thing.kind is Kind.CHATS]
        assert chats.detail == "1 conversation, 1 pair"
        assert bool(chats.notes) is not told
        of_run = lineage.of(Thing(RUN, run_id), viewer=viewer)
        assert (f"dataset:{made}" in keys(of_run)) is told
        assert not any("hidden" in note for node in of_run.nodes for note in node.notes)


def test_what_older_rows_lack_and_what_was_deleted_is_said(engine: Engine) -> None:
    posts = add_pairs("posts")
    reward = add_run(posts, "reward")
    run = add_run(posts, "rloo", depends_on=reward)
    campaign, voted = a_round(run)
    with write_session() as session:
        session.execute(delete(DatasetVotes))
        session.execute(update(Campaign).values(prompts_traced=False))
        session.get_one(Dataset, posts).deleted_at = session.get_one(Dataset, posts).created_at
    delete_run(reward)
    of_voted = lineage.of(Thing(DATASET, voted))
    assert keys(of_voted) == {f"source:{voted}", f"dataset:{voted}"}
    assert of_voted.node(Thing(DATASET, voted)).notes == ("Which votes became its pairs was not recorded.",)
    of_run = lineage.of(Thing(RUN, run))
    assert of_run.node(Thing(RUN, run)).notes == (
        f"Its reward model was that of run {reward}, which was deleted.",
    )
    assert of_run.node(Thing(DATASET, posts)).state == "deleted"
    assert "not recorded" in of_run.node(Thing(CAMPAIGN, campaign)).notes[-1]
    delete_run(run)
    assert any(
        "whose run was deleted" in note for note in lineage.of(Thing(CAMPAIGN, campaign)).nodes[0].notes
    )
    with pytest.raises(NotFound):
        lineage.of(Thing(RUN, run))


def test_of_very_many_things_the_closest_are_read(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    posts = add_pairs("posts")
    for _ in range(5):
        add_run(posts)
    monkeypatch.setattr(lineage, "MOST_NODES", 4)
    found = lineage.of(Thing(DATASET, posts))
    assert found.cut
    assert len(found.nodes) == 5  # its source, itself and three runs
    assert {link.relation for link in found.links} == {Relation.IMPORTED, Relation.TRAINED}


def test_exactly_one_thing_is_named(engine: Engine) -> None:
    posts = add_pairs("posts")
    assert lineage.read_thing(dataset="posts@1") == Thing(DATASET, posts)
    assert lineage.read_thing(run=3) == Thing(RUN, 3)
    for given in ({}, {"run": 3, "campaign": 4}):
        with pytest.raises(InvalidInput, match="Name one of dataset, run and campaign"):
            lineage.read_thing(**given)
    with pytest.raises(NotFound):
        lineage.of(Thing(CAMPAIGN, 99))


def test_the_command_lists_what_comes_before_and_after(engine: Engine) -> None:
    posts = add_pairs("posts")
    run = add_run(posts)
    shown = CliRunner().invoke(cli, ["lineage", "--dataset", "posts", "--json"])
    found = json.loads(shown.stdout)
    assert found["of"] == f"dataset:{posts}"
    assert {"source": f"dataset:{posts}", "target": f"run:{run}", "relation": "trained"} in found["links"]
    table = CliRunner().invoke(cli, ["lineage", "--run", str(run)]).stdout
    assert "before" in table
    assert "trained on posts v1" in table
