"""The search of generations: words, filters, orders, pages, and what it hides."""

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NotFound
from app.store import (
    campaign_items,
    comparisons,
    generation_origins,
    generation_search,
    generation_sets,
    generations,
    names,
    search_backfill,
    search_schema,
)
from app.store.conversations import ContenderChoice
from app.store.enums import GenerationKind, GenerationStatus
from app.store.generation_filter import GenerationFilter, GenerationOrigin, GenerationSort, Place
from app.store.generations import TrainingSample
from app.store.models import Comparison, Generation, SearchBackfill
from tests.app import arena, campaign_setup
from tests.app.store.test_indexes import statements

SORTS = [(sort, ascending) for sort in GenerationSort for ascending in (False, True)]


def add(
    session: Session,
    run_id: int,
    *texts: str,
    prompt: object = "Why?",
    step: int = 1,
    kind: GenerationKind = GenerationKind.ONLINE,
    policy_logp: float = -1.0,
    score: float | None = None,
) -> None:
    generations.record_samples(
        run_id,
        [
            TrainingSample(kind, step, prompt, said, 1, len(said.split()), True, policy_logp, -2.0, score)
            for said in texts
        ],
        session=session,
    )
    session.commit()


def texts(session: Session, viewer: str = "ada", sort: str = "newest", **only: object) -> list[str]:
    chosen = GenerationFilter(**only)  # type: ignore[arg-type]
    found = generation_search.find(chosen, session=session, viewer=viewer, sort=GenerationSort(sort))
    origins = generation_origins.of_ids(found.ids, session=session, viewer=viewer)
    assert generation_search.count(chosen, session=session, viewer=viewer).number == len(origins)
    return [one.generation.text for one in origins]


def blind_chat(session: Session, user: str = "ada") -> Comparison:
    run = arena.add_run(session)
    choices = [ContenderChoice(base_model="demo"), ContenderChoice(run_id=run.id)]
    conversation = arena.start(session, choices, user=user, blind=True)
    comparison = comparisons.ask(conversation.id, "Which tree?", session=session)
    arena.answer(session, comparison, ("an old oak", "a young birch"))
    session.flush()
    return comparison


@pytest.mark.parametrize(
    ("search", "hits"),
    [
        ("sun", ["The sun, the SUN!", "sun-dried"]),
        ("SUN rain", []),
        ("sun -dried", ["The sun, the SUN!"]),
        ('"the sun"', ["The sun, the SUN!"]),
        ("“sun the”", ["The sun, the SUN!"]),
        ('"sun dried', ["sun-dried"]),
        ("sun-dried", ["sun-dried"]),
        ("dri*", ["sun-dried"]),
        ("don't", ["We don’t. 'Really'"]),
        ("really", ["We don’t. 'Really'"]),
        ("grüße", ["Grüße, 你好世界。再见 🙂"]),
        ("你好", ["Grüße, 你好世界。再见 🙂"]),
        ("再见", ["Grüße, 你好世界。再见 🙂"]),
        ("generation_words : sun", []),
        ("NOT", []),
        ("a\x00b", []),
        ("sun 🙂", ["The sun, the SUN!", "sun-dried"]),
    ],
)
def test_words(session: Session, search: str, hits: list[str]) -> None:
    run = arena.add_run(session)
    add(session, run.id, "sun-dried", "The sun, the SUN!", "We don’t. 'Really'", "Grüße, 你好世界。再见 🙂")
    assert texts(session, text=search) == hits


@pytest.mark.parametrize("search", ["🙂", '"', "-", "...", "-rain", "*", "x" * 501, "a " * 21])
def test_nothing_to_search_for(session: Session, search: str) -> None:
    with pytest.raises(InvalidInput, match="text ") as refused:
        texts(session, text=search)
    assert refused.value.field == "text"


def test_the_words_follow_the_text(session: Session) -> None:
    run = arena.add_run(session)
    add(session, run.id, "apples", "pears")
    conversation = arena.start(session, [ContenderChoice(base_model="demo")], user="ada")
    comparison = comparisons.ask(conversation.id, "Fruit?", session=session)
    [row] = comparisons.answers(comparison.id, session=session)
    generations.start_answers([row.id], session=session)
    generations.grow_answer(row.id, session=session, text="apples and", tokens=2, seconds=0.1)
    session.commit()
    assert texts(session, text="apples") == ["apples"]
    done = {"tokens": 3, "seconds": 0.2, "complete": True, "status": GenerationStatus.FINISHED}
    generations.finish_answer(row.id, session=session, text="apples and plums", **done)  # type: ignore[arg-type]
    session.commit()
    session.expire_all()
    assert texts(session, text="apples") == ["apples and plums", "apples"]
    generations.forget_samples(run.id, session=session, kind=GenerationKind.ONLINE, step=1)
    session.commit()
    assert texts(session, text="apples OR pears") == []
    assert texts(session, text="apples") == ["apples and plums"]


def test_filters(session: Session) -> None:
    one, other = arena.add_run(session), arena.add_run(session)
    add(session, one.id, "a", step=1)
    add(
        session,
        one.id,
        "b",
        step=5,
        kind=GenerationKind.PROBE,
        prompt=[{"role": "user", "content": "Blue sky?"}],
    )
    add(session, other.id, "c", step=9, prompt="Green grass?")
    prompt_id = session.query(Generation.prompt_id).where(Generation.text == "b").scalar()
    assert texts(session, run_ids=(one.id,)) == ["b", "a"]
    assert texts(session, run_ids=(one.id, other.id), first_step=5) == ["c", "b"]
    assert texts(session, first_step=1, last_step=5) == ["b", "a"]
    assert texts(session, kinds=(GenerationKind.PROBE,)) == ["b"]
    assert texts(session, prompt_text="sky") == ["b"]
    assert texts(session, prompt_text="grass", text="c") == ["c"]
    assert texts(session, prompt_id=prompt_id) == ["b"]
    assert texts(session, origin=GenerationOrigin.CHAT) == []
    assert texts(session, origin=GenerationOrigin.RUN) == ["c", "b", "a"]
    with pytest.raises(InvalidInput, match="swap"):
        texts(session, first_step=5, last_step=1)


def test_a_run_filter_finds_the_answers_of_its_checkpoints(session: Session) -> None:
    run = arena.add_run(session)
    choices = [ContenderChoice(base_model="demo"), ContenderChoice(run_id=run.id)]
    conversation = arena.start(session, choices, user="ada")
    arena.answer(
        session, comparisons.ask(conversation.id, "Q", session=session), ("of the base", "of the run")
    )
    add(session, run.id, "sampled")
    assert texts(session, run_ids=(run.id,)) == ["sampled", "of the run"]
    assert texts(session, run_ids=(run.id,), kinds=(GenerationKind.ANSWER,)) == ["of the run"]


@pytest.mark.parametrize(("sort", "ascending"), SORTS)
def test_pages_of_every_order_show_each_row_once(
    session: Session, sort: GenerationSort, ascending: bool
) -> None:
    run = arena.add_run(session)
    for number in range(7):
        add(session, run.id, "word " * (number % 3 + 1), policy_logp=-float(number % 4), score=number / 3)
    seen: list[int] = []
    after = None
    while True:
        page = generation_search.find(
            GenerationFilter(),
            session=session,
            viewer="ada",
            sort=sort,
            ascending=ascending,
            limit=2,
            after=after,
        )
        seen += page.ids
        if page.next is None:
            break
        after = Place.read(str(page.next))
    assert len(seen) == len(set(seen)) == 7
    values = {
        row.id: getattr(row, "id" if sort == "newest" else sort.value) for row in session.query(Generation)
    }
    keys = [(values[key], key) for key in seen]
    assert keys == sorted(keys, reverse=not ascending)


@pytest.mark.parametrize("cursor", ["x", "1", "nan_1", "1_", "1_0", "1_99999999999", "1e400_x", "_1"])
def test_other_cursors_are_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        Place.read(cursor)


def test_older_rows_are_indexed_in_batches(session: Session) -> None:
    run = arena.add_run(session)
    session.add_all(SearchBackfill(name=name, next_id=10**6) for name in ("generations", "prompts"))
    session.commit()
    add(session, run.id, *(f"old number {number}" for number in range(5)), prompt="Old prompt?")
    session.execute(text("UPDATE generations SET log_ratio = NULL, token_log_ratio = NULL"))
    session.execute(text("DELETE FROM generations WHERE text = 'old number 1'"))
    if session.get_bind().dialect.name == "postgresql":  # where triggers index older rows as well
        for table in search_schema.TABLES:
            session.execute(text(f"DELETE FROM {table}"))
    session.commit()
    assert texts(session, text="old") == []
    assert search_backfill.share_filled(session=session) is not None
    while search_backfill.fill_some(session=session, rows=2):
        session.commit()
    session.expire_all()
    assert len(texts(session, text="old")) == len(texts(session, prompt_text="old prompt")) == 4
    assert len(texts(session, sort="token_log_ratio")) == 4
    assert search_backfill.share_filled(session=session) is None
    session.execute(text("DELETE FROM generations WHERE text = 'old number 2'"))
    session.commit()
    assert len(texts(session, text="number")) == 3


# --- what is hidden --------------------------------------------------------------------------


def test_an_answer_is_listed_once_its_names_are_shown(session: Session) -> None:
    comparison = blind_chat(session)
    run_id = comparison.conversation.contenders[1].run_id
    assert texts(session) == texts(session, text="old") == texts(session, run_ids=(run_id,)) == []
    for sort in GenerationSort:
        assert texts(session, sort=sort) == []
    answer = comparisons.answers(comparison.id, session=session)[0]
    one = generation_origins.get(answer.id, session=session, viewer="ada")
    assert (one.hidden, one.contender, one.run_id, one.log_ratio) == (True, None, None, None)
    names.record([comparison.id], "ada", session=session)
    session.commit()
    assert sorted(texts(session)) == ["a young birch", "an old oak"]
    assert len(texts(session, run_ids=(run_id,))) == len(texts(session, text="old")) == 1
    one = generation_origins.get(answer.id, session=session, viewer="ada")
    assert not one.hidden
    assert one.contender is not None


def test_answers_of_a_campaign_are_listed_once_its_names_are_shown(session: Session) -> None:
    campaign_id = campaign_setup.ready()
    ids = campaign_items.comparison_ids(campaign_id, session=session)
    [answer, *_] = comparisons.answers(ids[0], session=session)
    assert texts(session) == texts(session, campaign_id=campaign_id) == []
    with pytest.raises(NotFound):
        generation_origins.get(answer.id, session=session, viewer="ada")
    names.record(ids, "ada", session=session)
    session.commit()
    assert (
        len(texts(session, campaign_id=campaign_id))
        == len(texts(session, origin=GenerationOrigin.CAMPAIGN))
        == 4
    )
    assert texts(session, viewer="bob") == texts(session, campaign_id=10**6) == []


def test_chats_of_others_are_in_no_list(session: Session) -> None:
    comparison = blind_chat(session, user="bob")
    answer = comparisons.answers(comparison.id, session=session)[0]
    for person in ("ada", "bob"):
        names.record([comparison.id], person, session=session)
    session.commit()
    assert texts(session, viewer="ada") == []
    assert len(texts(session, viewer="bob")) == 2
    assert generation_origins.get(answer.id, session=session, viewer="eve").hidden


LIMITS = [(0, 0, 0), (0, 0, 10**6), (0, 10**6, 10**6), (10**6, 0, 0), (3, 2, 2)]
"""Sizes of `FEW`, `MANY` and `A_FEW` with which every way of finding a page is taken."""


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("sort", GenerationSort)
def test_every_way_of_finding_a_page_finds_the_same(
    session: Session, monkeypatch: pytest.MonkeyPatch, sort: GenerationSort, limits: tuple[int, int, int]
) -> None:
    one, other = arena.add_run(session), arena.add_run(session)
    for number in range(6):
        add(session, one.id, "common " * (number + 1), policy_logp=-float(number), score=number % 3)
    add(session, other.id, "common but elsewhere", "other", prompt="A common one?", score=1.0)
    for module in (generation_search, generation_sets):
        monkeypatch.setattr(module, "FEW", limits[0])
    monkeypatch.setattr(generation_sets, "MANY", limits[1])
    monkeypatch.setattr(generation_sets, "A_FEW", limits[2])
    assert len(texts(session, sort=sort, text="common")) == 7
    assert len(texts(session, sort=sort, text="common -elsewhere")) == 6
    assert len(texts(session, sort=sort, text="common", run_ids=(one.id,))) == 6
    assert len(texts(session, sort=sort, text="common", run_ids=(one.id, other.id), first_step=2)) == 0
    assert texts(session, sort=sort, text="common", prompt_text="common") == ["common but elsewhere"]
    assert len(texts(session, sort=sort, run_ids=(one.id, other.id))) == 8
    assert len(texts(session, sort=sort, first_step=1)) == len(texts(session, sort=sort, last_step=1)) == 8
    assert sorted(texts(session, sort=sort, run_ids=(other.id,))) == ["common but elsewhere", "other"]
    only = GenerationFilter(text="common", run_ids=(one.id,))
    first = generation_search.find(only, session=session, viewer="ada", sort=sort, limit=4)
    last = generation_search.find(only, session=session, viewer="ada", sort=sort, limit=4, after=first.next)
    whole = generation_search.find(only, session=session, viewer="ada", sort=sort)
    assert first.ids + last.ids == whole.ids


def test_matches_are_counted_among_a_bounded_number_of_rows(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = arena.add_run(session)
    add(session, run.id, *(f"common number {number}" for number in range(6)))
    monkeypatch.setattr(generation_search, "FEW", 2)

    def counted(shown: int = 0) -> tuple[int, bool]:
        only = GenerationFilter(text="common")
        found = generation_search.count(only, session=session, viewer="ada", shown=shown)
        return found.number, found.more

    assert counted() == (6, False)
    monkeypatch.setattr(generation_search, "MOST_READ", 4)
    assert counted() == (3, True)
    assert counted(shown=5) == (4, True)
    monkeypatch.setattr(generation_search, "MOST_COUNTED", 2)
    assert counted() == (2, True)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)  # PostgreSQL chooses by its statistics
def test_the_newest_hits_of_a_common_word_are_streamed(session: Session) -> None:
    """SQLite would otherwise read every hit before the first row of a page."""
    run = arena.add_run(session)
    add(session, run.id, "common", "common")
    with pytest.MonkeyPatch.context() as patch, statements(session) as sent:
        patch.setattr(generation_search, "FEW", 0)
        texts(session, text="common")
    [page] = [(said, given) for said, given in sent if said.startswith("SELECT") and "AS place" in said]
    plan = [row[3] for row in session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {page[0]}", page[1])]
    assert plan[0].startswith("SCAN generation_words VIRTUAL TABLE")
    assert not any("TEMP B-TREE" in line for line in plan)
