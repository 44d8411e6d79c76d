"""The compare and results pages: handlers, called as functions, and HTML."""

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from markupsafe import Markup
from sqlalchemy import Engine, event

from app import campaigns as campaigns_service
from app import labelling
from app.errors import NotFound
from app.i18n.texts import filled_in
from app.settings import Settings
from app.store import (
    campaigns,
    comparisons,
    conversations,
    db,
    generations,
    label_queries,
    labels,
    metrics,
    run_checkpoints,
    workers,
)
from app.store.db import read_session, write_session
from app.store.enums import Choice, GenerationStatus, RunStatus
from app.store.label_queries import VoteFilter
from app.store.models import Base, Comparison
from app.ui.compare import actions as compare_actions
from app.ui.compare import page as compare_page
from app.ui.compare import setup
from app.ui.compare import state as compare_state
from app.ui.compare import view as compare_view
from app.ui.compare.show import EACH_ITS_OWN, Seen
from app.ui.results import changing, export, overview, win_rates
from app.ui.results import view as results_view
from app.ui.updates import Updates
from tests.app import arena, campaign_setup

HUGE = "9" * 30
"""Larger than any database id."""

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """An empty SQLite database; the store's own tests also run on PostgreSQL."""
    engine = db.get_engine()
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def asked(texts: Sequence[str] = ("first answer", "second answer"), **given: Any) -> Comparison:
    with write_session() as session:
        return arena.asked(session, texts, **given)


def at(**query: object) -> Any:
    """A request for the page with the given query parameters."""
    return SimpleNamespace(query_params={k: str(v) for k, v in query.items()}, username="ada")


def shown(conversation_id: int) -> Seen:
    """The `seen` state of a freshly opened page."""
    seen: Seen = compare_actions.open_page(at(conversation=conversation_id))["seen"]
    return seen


def ask(conversation_id: int, keys: list[str], question: str, **given: Any) -> Updates:
    values = {"blind": False, "seed": 5, "max_new_tokens": 32, "temperature": 0.5, "top_p": 0.9}
    values |= {"continues": "A", **given}
    return compare_actions.ask(
        conversation_id,
        shown(conversation_id) if conversation_id else Seen(),
        keys,
        question,
        **values,
        request=at(),
    )


# --- asking ----------------------------------------------------------------------------------


def test_contenders_offered_and_preselected(engine: Engine) -> None:
    with write_session() as session:
        dpo = arena.add_run(session, "dpo", name="plain", steps=(5, 10))
        hypo = arena.add_run(session, "hypo", base_model="org/other")
        arena.add_run(session, "reward", base_model="org/reward")  # scores answers and writes none
    offered = compare_state.offered_contenders()
    assert [label for label, _ in offered] == [
        "Reference · other",
        "Reference · demo",
        f"#{hypo.id} hypo run",
        f"#{dpo.id} plain",
        f"#{dpo.id} plain @ step 5",
    ]
    assert compare_state.preselected([dpo.id], offered) == ["reference:demo", f"run:{dpo.id}"]
    assert compare_state.preselected([], offered) == ["reference:org/other", f"run:{hypo.id}"]
    with read_session() as session:
        earlier, last = run_checkpoints.of_run(dpo.id, session=session)
    early = compare_state.preselected([], offered, checkpoint_ids=[earlier.id, last.id, 99])
    assert early == ["reference:demo", f"run:{dpo.id}:{earlier.id}", f"run:{dpo.id}"]
    for _, key in offered:
        compare_state.to_choice(key)


def test_the_best_checkpoint_is_offered_as_that(engine: Engine) -> None:
    with write_session() as session:
        run = arena.add_run(session, "dpo", name="plain", steps=(5, 10, 15))
        run.config = run.config | {"metric_for_best_model": "eval_rewards/accuracies"}
        for step, accuracy in ((5, 0.5), (10, 0.8), (15, 0.6)):
            metrics.record(run.id, session=session, step=step, values={"eval_rewards/accuracies": accuracy})
    assert [label for label, _ in compare_state.offered_contenders()][1:] == [
        f"#{run.id} plain",
        f"#{run.id} plain @ step 10, the best",
        f"#{run.id} plain @ step 5",
    ]


def offered(**query: object) -> Updates:
    """The initial values of the setup and the question box."""
    return setup.offer({}, at(**query))


def test_without_runs_the_reference_is_there_to_try(engine: Engine) -> None:
    begun = offered()
    assert begun["contenders"]["value"] == ["reference:demo"]
    assert 0 <= begun["seed"] < 10_000
    assert begun["ask"]["interactive"] is True
    assert begun["twins"]["visible"] is False
    assert "Launch DPO and HyPO" in begun["untrained"]["value"]
    with write_session() as session:
        waiting = arena.add_run(session, status=RunStatus.QUEUED, steps=())
    assert f"run {waiting.id}</a>" in offered()["untrained"]["value"]


def test_the_last_twins_that_are_finished_are_one_click_away(engine: Engine) -> None:
    with write_session() as session:
        whole = [arena.add_run(session, method, twins="one") for method in ("reward", "dpo", "hypo")]
        arena.add_run(session, "dpo", twins="two")
        arena.add_run(session, "hypo", twins="two", status=RunStatus.RUNNING)
        single = arena.add_run(session, "sft")
    keys = ["reference:demo", *(f"run:{run.id}" for run in whole[1:])]
    begun = offered()
    assert begun["contenders"]["value"] == keys
    assert (begun["twins"]["visible"], begun["untrained"]["visible"]) == (False, False)
    begun = offered(runs=single.id)
    assert begun["contenders"]["value"] == ["reference:demo", f"run:{single.id}"]
    assert begun["twins"]["visible"] is True
    assert begun["twins"]["value"].endswith(f"reference, DPO #{whole[1].id} and HyPO #{whole[2].id}")
    assert setup.choose_twins()["contenders"]["value"] == keys
    nobody = setup.choose([])
    assert nobody["ask"]["interactive"] is False
    assert "Choose a contender" in nobody["ask_note"]


def test_a_browser_opens_with_what_it_asked_last(engine: Engine) -> None:
    with write_session() as session:
        first, second = (arena.add_run(session, "dpo") for _ in range(2))
    keys = [f"run:{first.id}", "reference:demo"]
    kept = setup.remember(keys, True, 64, 0.5, 0.9)
    begun = setup.offer(kept, at())
    assert (begun["contenders"]["value"], begun["blind"]) == (keys, True)
    assert (begun["max_new_tokens"], begun["temperature"], begun["top_p"]) == (64, 0.5, 0.9)
    asked = setup.offer(kept, at(runs=second.id))
    assert asked["contenders"]["value"] == ["reference:demo", f"run:{second.id}"]
    assert asked["max_new_tokens"] == 64
    gone = setup.offer({**kept, "contenders": ["run:99"], "top_p": "x"}, at())
    assert gone["contenders"]["value"] == compare_state.preselected([], compare_state.offered_contenders())
    assert "top_p" not in gone


def test_a_new_conversation_takes_contenders_and_decoding_over(engine: Engine) -> None:
    with write_session() as session:
        run = arena.add_run(session, "dpo", steps=(5, 10))
    keys = ["reference:demo", f"run:{run.id}"]
    ask(0, keys, "Why?", blind=True)
    begun = offered(like=1)
    assert sorted(begun["contenders"]["value"]) == sorted(keys)
    assert (begun["blind"], begun["max_new_tokens"], begun["temperature"], begun["top_p"]) == (
        True,
        32,
        0.5,
        0.9,
    )
    others = setup.offer({}, SimpleNamespace(query_params={"like": "1"}, username="bob"))
    assert others["contenders"]["value"] == compare_state.preselected([], compare_state.offered_contenders())


@pytest.mark.parametrize("given", ["99", "BAD"])
def test_an_address_that_names_nothing_says_so(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda sentence, **_: said.append(sentence))
    assert "contenders" in offered(like=given)
    assert changing.open_change(at(vote=given)) == changing.closed()
    assert [sentence.split(";")[0] for sentence in said] == [
        "The address names no conversation that exists",
        "The address names no vote of yours",
    ]


def test_a_first_question_starts_a_conversation(engine: Engine) -> None:
    with write_session() as session:
        run = arena.add_run(session)
    updates = ask(0, ["reference:demo", f"run:{run.id}"], "Why?")
    assert updates["ask_box"] == ""
    assert updates["conversation"] == 1
    assert updates["setup"]["visible"] is False
    assert updates["no_worker"]["visible"] is True
    assert "waiting for a worker: none is running" in updates["panel0"]
    assert updates["ask"]["interactive"] is False
    assert "ask it when the answers are complete" in updates["ask_note"]
    assert updates["vote_a"]["interactive"] is False
    assert updates["stop_all"]["visible"] is True
    with read_session() as session:
        conversation = conversations.get(1, session=session)
    assert (conversation.seed, conversation.parameters["max_new_tokens"]) == (5, 32)


@pytest.mark.parametrize(
    ("keys", "question", "message"),
    [
        ([], "Why?", "between 1 and 4"),
        (["reference:demo"], " ", "question is empty"),
        (["run:77"], "Why?", "no run 77"),
        (["other"], "Why?", "from the list"),
    ],
)
def test_what_cannot_be_asked_says_why(engine: Engine, keys: list[str], question: str, message: str) -> None:
    with pytest.raises(gr.Error, match=message):
        ask(0, keys, question)


@pytest.mark.parametrize(("continues", "origin"), [("B", 1), (EACH_ITS_OWN, None)])
def test_the_next_question_continues_from_a_side(engine: Engine, continues: str, origin: int | None) -> None:
    first = asked()
    updates = ask(first.conversation_id, [], "And?", continues=continues)
    with read_session() as session:
        turn = comparisons.turns(first.conversation_id, session=session)[-1]
    assert (turn.turn, turn.continues_from) == (1, origin)
    assert "first answer" in updates["earlier"]["value"].striptags()
    assert "continued" in updates["question"]["value"]


TURNS = [
    {"role": "system", "content": "Be a cook."},
    {"role": "user", "content": "Something sweet?"},
    {"role": "assistant", "content": "A cake."},
]


def test_a_held_out_prompt_is_shown_and_asked_with_its_history(engine: Engine) -> None:
    prompt = [*TURNS, {"role": "user", "content": "sweet but what if has a pin"}]
    with write_session() as session:
        held = arena.add_dataset(session, "chats", prompt=prompt, held_out=1.0)
        run = arena.add_run(session, dataset_id=held.id)
    drawn = setup.random_prompt([f"run:{run.id}"])
    question, opening = drawn["ask_box"], drawn["opening"]
    assert (question, opening) == ("sweet but what if has a pin", TURNS)
    assert drawn["opening_box"]["visible"] is True
    for words in ("Be a cook.", "Something sweet?", "A cake."):
        assert words in drawn["opening_shown"]
    updates = ask(0, ["reference:demo", f"run:{run.id}"], question, opening=opening)
    assert "Something sweet?" in updates["question"]["value"]
    assert (updates["opening"], updates["opening_box"]["visible"]) == ([], False)
    with read_session() as session:
        rows = comparisons.answers(1, session=session)
    assert [row.prompt.content for row in rows] == [prompt, prompt]
    drawn = offered(runs=run.id, prompt="random")
    assert (drawn["ask_box"], drawn["opening"]) == (question, TURNS)
    assert setup.drop_opening()[0] == []


def test_without_held_out_pairs_the_demo_gives_a_prompt(engine: Engine) -> None:
    with write_session() as session:
        run = arena.add_run(session)
    for keys in ([f"run:{run.id}"], []):
        prompt = setup.random_prompt(keys)
        assert prompt["ask_box"]
        assert (prompt["opening"], prompt["opening_box"]["visible"]) == ([], False)


# --- watching --------------------------------------------------------------------------------


def test_a_reloaded_page_goes_on_where_it_was(engine: Engine) -> None:
    comparison = asked()
    updates = compare_actions.open_page(at(conversation=comparison.conversation_id))
    assert "first answer" in Markup(updates["panel0"]).striptags()
    assert updates["column1"]["visible"] is True
    assert updates["column2"]["visible"] is False
    assert updates["vote_a"]["interactive"] is True
    assert updates["seen"]["ready_at"] is not None


@pytest.mark.parametrize("address", [{"conversation": 99}, {"conversation": "x"}, {"conversation": HUGE}, {}])
def test_an_address_of_nothing_shows_the_start(engine: Engine, address: dict[str, object]) -> None:
    updates = compare_actions.open_page(at(**address))
    assert updates["setup"]["visible"] is True
    assert ("summary" in updates) == bool(address)


def test_only_what_grew_is_sent(engine: Engine) -> None:
    comparison = asked()
    with write_session() as session:
        fresh = comparisons.regenerate(comparison.id, 1, session=session)
        generations.start_answers([fresh.id], session=session)
        workers.beat("w", session=session, queues="generate", device="cpu")
    first = compare_actions.refresh(comparison.conversation_id, Seen(), at())
    assert first["timer"].active is True
    assert first["no_worker"]["visible"] is False
    assert compare_actions.refresh(comparison.conversation_id, first["seen"], at()) == {}
    with write_session() as session:
        generations.grow_answer(fresh.id, session=session, text="it grows", tokens=2, seconds=0.2)
    second = compare_actions.refresh(comparison.conversation_id, first["seen"], at())
    assert "it grows" in second["panel1"]
    assert not {"panel0", "reason", "continues", "best", "earlier"} & second.keys() - {"best"}
    assert "value" not in second["best"]


def test_stop_and_regenerate_a_side(engine: Engine) -> None:
    comparison = asked()
    here = comparison.conversation_id
    again = compare_actions.regenerate(1, here, shown(here), at())
    assert again["stop1"]["visible"] is True
    assert again["again0"]["visible"] is True
    stopped = compare_actions.stop(1, here, shown(here), at())
    assert stopped["timer"].active is False
    assert stopped["vote_a"]["interactive"] is False
    assert "Answer B was stopped before its end; regenerate it, then vote." in stopped["vote_note"]
    assert stopped["again1"]["visible"] is True
    with pytest.raises(gr.Error, match="Answer B was stopped"):
        compare_page.vote_a(here, shown(here), "", at())
    assert _votes() == []
    with read_session() as session:
        assert comparisons.answers(comparison.id, session=session)[1].status is GenerationStatus.STOPPED


# --- voting ----------------------------------------------------------------------------------


def test_names_and_log_probabilities_follow_a_blind_vote(engine: Engine) -> None:
    comparison = asked(blind=True)
    here = comparison.conversation_id
    before = compare_actions.open_page(at(conversation=here))
    everything = str(before)
    for secret in ("Reference", "dpo run", "run #", "log p", "Where it departs", "seconds</dt>"):
        assert secret not in everything
    after = compare_page.vote_a(here, before["seen"], "clear", at())
    assert "log p, policy" in after["panel0"]
    assert "A · " in after["vote_note"]
    assert after["vote_a"]["variant"] == "primary"
    assert after["continues"]["value"] == "A"
    with read_session() as session:
        (vote,) = label_queries.votes(session=session)
    assert (vote.user, vote.label.reason, vote.label.blind) == ("ada", "clear", True)
    assert vote.label.seconds is not None


def test_a_vote_is_changed_explained_and_withdrawn(engine: Engine) -> None:
    here = asked().conversation_id
    compare_page.vote_tie(here, shown(here), "", at())
    updates = compare_page.vote_b(here, shown(here), "", at())
    assert updates["vote_tie"]["variant"] == "secondary"
    compare_actions.save_reason(here, shown(here), "shorter", at())
    assert compare_actions.save_reason(here, shown(here), "shorter", at()) == {}
    with read_session() as session:
        (vote,) = label_queries.votes(session=session)
    assert (vote.label.choice, vote.label.reason) == (Choice.BEST, "shorter")
    gone = compare_actions.withdraw(here, shown(here), at())
    assert gone["withdraw"]["visible"] is False
    assert gone["reason"] == ""


def test_another_verdict_asks_its_reason_anew(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(gr, "Info", lambda sentence, **_: said.append(sentence))
    here = asked().conversation_id
    compare_page.vote_a(here, shown(here), "warmer", at())
    compare_page.vote_a(here, shown(here), "warmer", at())
    assert (_votes()[0][2], said) == ("warmer", [])
    updates = compare_page.vote_b(here, shown(here), "warmer", at())
    assert (_votes()[0][1:], updates["reason"]) == ((Choice.BEST, ""), "")
    assert "give a new" in said[0]
    compare_page.vote_tie(here, shown(here), "even", at())
    assert _votes()[0][1:] == (Choice.TIE, "even")
    with read_session() as session:
        (vote,) = label_queries.votes(session=session)
    assert [version.reason for version in vote.earlier] == ["warmer", ""]


def test_the_results_ask_a_reason_anew_too(engine: Engine) -> None:
    here = asked().conversation_id
    compare_page.vote_a(here, shown(here), "warmer", at())
    assert changing.clear_old_reason(1, "A", None, "warmer", at()) == gr.skip()
    assert changing.clear_old_reason(1, "B", None, "mine", at()) == gr.skip()
    assert changing.clear_old_reason(1, "B", None, "warmer", at())["value"] == ""
    changing.save(1, "B", None, "warmer", at())
    assert _votes()[0][1:] == (Choice.BEST, "")
    changing.save(1, "B", None, "colder", at())
    assert _votes()[0][1:] == (Choice.BEST, "colder")
    assert "warmer" in changing.open_change(at(vote=1))["changing"]


def test_names_shown_without_a_vote_end_its_blindness(engine: Engine) -> None:
    comparison = asked(blind=True)
    here = comparison.conversation_id
    before = compare_actions.open_page(at(conversation=here))
    assert before["show_names"]["visible"] is True
    after = compare_actions.show_names(here, before["seen"], at())
    assert after["show_names"]["visible"] is False
    assert "will not count as blind" in after["vote_note"]
    compare_page.vote_a(here, after["seen"], "", at())
    with read_session() as session:
        (vote,) = label_queries.votes(session=session)
    assert vote.label.blind is False


def test_a_failed_answer_says_why_with_the_names(engine: Engine) -> None:
    comparison = asked(blind=True)
    with write_session() as session:
        row = comparisons.answers(comparison.id, session=session)[0]
        row.status, row.error = GenerationStatus.FAILED, "runs/1/10 has no adapter."
    here = comparison.conversation_id
    before = compare_actions.open_page(at(conversation=here))
    assert "runs/1" not in str(before)
    assert "Answer A failed" in before["vote_note"]
    assert "runs/1" in str(compare_actions.show_names(here, before["seen"], at()))


def test_tabs_of_one_conversation_agree(engine: Engine) -> None:
    comparison = asked(blind=True)
    here = comparison.conversation_id
    other = shown(here)
    assert compare_actions.watch(here, other, at()) == {}
    compare_page.vote_a(here, shown(here), "warmer", at())
    updates = compare_actions.watch(here, other, at())
    assert updates["reason"] == "warmer"
    assert updates["vote_a"]["variant"] == "primary"
    assert "data-hy-voted" in updates["vote_note"]
    other = updates["seen"]
    assert compare_actions.watch(here, other, at()) == {}
    compare_actions.save_reason(here, shown(here), "kinder", at())
    other = compare_actions.watch(here, other, at())["seen"]
    compare_actions.withdraw(here, shown(here), at())
    updates = compare_actions.watch(here, other, at())
    assert (updates["withdraw"]["visible"], updates["reason"]) == (False, "")
    ask(here, [], "And?")
    updates = compare_actions.watch(here, updates["seen"], at())
    assert "And?" in updates["question"]["value"]
    assert updates["timer"].active is True
    assert compare_actions.watch(0, Seen(), at()) == {}


def test_a_look_is_one_small_query(engine: Engine) -> None:
    here = asked().conversation_id
    seen = shown(here)
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _cur, sql, *_: sent.append(sql))
    compare_actions.watch(here, seen, at())
    assert [sql.split(" ")[0] for sql in sent] == ["BEGIN", "SELECT"]


def test_best_and_worst_of_three(engine: Engine) -> None:
    here = asked(("one", "two", "three")).conversation_id
    with pytest.raises(gr.Error, match="worst"):
        compare_page.vote_many(here, shown(here), "A", None, "", at())
    with pytest.raises(gr.Error, match="choice must be"):
        compare_page.vote_many(here, shown(here), None, None, "", at())
    updates = compare_page.vote_many(here, shown(here), "C", "A", "", at())
    assert "C · hypo run is best, A · Reference worst" in updates["vote_note"]
    assert (updates["best"]["value"], updates["worst"]["value"]) == ("C", "A")
    assert compare_page.vote_bad(here, shown(here), "", at())["vote_many_bad"]["variant"] == "primary"


def test_no_vote_while_text_streams(engine: Engine) -> None:
    comparison = asked()
    compare_actions.regenerate(0, comparison.conversation_id, shown(comparison.conversation_id), at())
    with pytest.raises(gr.Error, match="still being written"):
        compare_page.vote_a(comparison.conversation_id, shown(comparison.conversation_id), "", at())


ACTIONS: dict[str, Callable[[int, Seen], Updates]] = {
    "vote": lambda here, seen: compare_page.vote_a(here, seen, "", at()),
    "regenerate": lambda here, seen: compare_actions.regenerate(0, here, seen, at()),
    "stop": lambda here, seen: compare_actions.stop(None, here, seen, at()),
    "withdraw": lambda here, seen: compare_actions.withdraw(here, seen, at()),
    "say why": lambda here, seen: compare_actions.save_reason(here, seen, "clear", at()),
    "show the names": lambda here, seen: compare_actions.show_names(here, seen, at()),
    "ask": lambda here, seen: compare_actions.ask(
        here, seen, [], "Then?", False, 5, 32, 0.5, 0.9, "A", request=at()
    ),
}


def _votes() -> list[tuple[int, Choice, str]]:
    with read_session() as session:
        return [
            (v.comparison.id, v.label.choice, v.label.reason)
            for v in label_queries.votes(session=session, only=VoteFilter(user="ada"))
        ]


@pytest.mark.parametrize("act", ACTIONS)
def test_a_tab_that_missed_a_question_acts_on_nothing(
    engine: Engine, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda sentence, **_: said.append(sentence))
    first = asked()
    here = first.conversation_id
    compare_page.vote_tie(here, shown(here), "", at())
    stale = shown(here)
    ask(here, [], "And?")
    with write_session() as session:
        second = comparisons.turns(here, session=session)[-1]
        arena.answer(session, second, ("third answer", "fourth answer"))
    before = _votes()
    updates = ACTIONS[act](here, stale)
    assert said == [f"The conversation changed in another tab; look again, then {act}."]
    assert "third answer" in Markup(updates["panel0"]).striptags()
    assert updates["seen"]["comparison"] == second.id
    assert _votes() == before
    with read_session() as session:
        assert len(comparisons.turns(here, session=session)) == 2
        rows = comparisons.answers(second.id, session=session)
        assert [row.take for row in rows] == [0, 0]


def test_a_tab_that_missed_a_new_take_votes_after_it_was_seen(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda sentence, **_: said.append(sentence))
    comparison = asked()
    here = comparison.conversation_id
    stale = shown(here)
    compare_actions.regenerate(1, here, stale, at())
    with write_session() as session:
        arena.answer(session, comparison, ("first answer", "second answer"))
    updates = compare_page.vote_b(here, stale, "", at())
    assert (len(said), _votes()) == (1, [])
    compare_page.vote_b(here, updates["seen"], "", at())
    assert _votes() == [(comparison.id, Choice.BEST, "")]


def test_a_new_take_of_the_same_words_is_seen_too(engine: Engine) -> None:
    comparison = asked()
    here = comparison.conversation_id
    before = shown(here)
    compare_actions.regenerate(1, here, before, at())
    with write_session() as session:
        arena.answer(session, comparison, ("first answer", "second answer"))
    updates = compare_actions.refresh(here, before, at())
    assert updates["seen"]["answers"] != before["answers"]
    assert compare_actions.refresh(here, updates["seen"], at()) == {}


# --- HTML ------------------------------------------------------------------------------------


def test_html_and_markdown_are_shown_as_text(engine: Engine) -> None:
    evil = "<script>alert(1)</script> **x** {{value}}"
    comparison = asked((evil, "ok"), question=evil)
    compare_page.vote_a(comparison.conversation_id, shown(comparison.conversation_id), evil, at())
    view = compare_state.read_view(comparison.conversation_id, "ada")
    with read_session() as session:
        votes = label_queries.votes(session=session)
    pieces = [
        compare_view.panel(view, 0),
        compare_view.question(view, view.current),
        compare_view.recent_list(compare_state.recent_conversations("local"), 0),
        results_view.vote_list(votes, user="ada"),
        results_view.changing(votes[0]),
    ]
    for piece in pieces:
        assert "<script" not in piece
        assert "&lt;script&gt;" in piece


def test_failed_empty_and_cut_answers_say_so(engine: Engine) -> None:
    comparison = asked(("", "half", "boom"))
    with write_session() as session:
        rows = comparisons.answers(comparison.id, session=session)
        rows[1].complete = False
        rows[2].status, rows[2].error = GenerationStatus.FAILED, "The worker ran out of memory."
    view = compare_state.read_view(comparison.conversation_id, "ada")
    assert "it ended at once" in compare_view.panel(view, 0)
    assert "cut at the length limit" in compare_view.panel(view, 1)
    assert "ran out of memory" in compare_view.panel(view, 2)
    assert "regenerate it" in compare_view.vote_note(view)
    assert compare_actions.open_page(at(conversation=1))["vote_many"]["interactive"] is False


def test_tokens_are_coloured_by_their_log_ratio() -> None:
    html = compare_view.departures([["yes", -0.5, -3.5], [" no", -2.0, -1.0], ["?", -1.0, -1.0]])
    assert 'class="hy-likelier" style="--share:100%"' in html
    assert 'class="hy-rarer" style="--share:33%"' in html
    assert "log-ratio +3.00" in html
    assert compare_view.departures(None) == ""
    assert "hy-likelier" not in compare_view.departures([["x", float("-inf"), -1.0]]).split("</div>")[0]


# --- results ---------------------------------------------------------------------------------


def test_results_of_nothing_say_what_to_do(engine: Engine) -> None:
    shown = overview.overview(at())
    assert "No votes yet" in shown["empty"]["value"]
    assert shown["body"]["visible"] is False


def test_win_rates_are_paged(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_of = asked(("one", "two", "three"))
    compare_page.vote_many(asked_of.conversation_id, shown(asked_of.conversation_id), "A", "C", "", at())
    whole = overview.overview(at())["board"]
    monkeypatch.setattr(win_rates, "PAGE_RECORDS", 1)
    pages = [win_rates.show(number, at()) for number in range(3)]
    for number, page in enumerate(pages):
        html = page["board"]
        assert (page["records_page"], html.count("<tr>")) == (number, 2)
        assert page["records_back"]["visible"] is (number > 0)
        assert page["records_on"]["visible"] is (number < 2)
        assert f"{number + 1}–{number + 1}" in page["records_place"]["value"]
        assert "3 pairs of models" in html
    assert win_rates.on(0, at())["board"] == pages[1]["board"]
    assert win_rates.back(2, at())["board"] == pages[1]["board"]
    assert whole.count("<tr>") == 4


def test_results_list_filter_and_change_votes(engine: Engine) -> None:
    first, second = asked(), asked(("one", "two", "three"))
    compare_page.vote_a(first.conversation_id, shown(first.conversation_id), "", at())
    compare_page.vote_many(second.conversation_id, shown(second.conversation_id), "A", "C", "", at())
    opened = overview.overview(at())
    assert "Win rates" in opened["board"]
    assert "2 training pairs" in opened["counts"]
    assert opened["table"].count(">change<") == 2
    assert "No vote matches" in overview.first_page("", "tie", "", at())["table"]
    opened = changing.open_change(at(vote=2))
    assert opened["worst"]["visible"] is True
    assert opened["choice"]["value"] == "A"
    with pytest.warns(UserWarning, match="names no vote of yours"):
        assert changing.open_change(at(vote=f"2{HUGE}"))["label_id"] == 0
    changing.save(2, "tie", "C", "not so sure", at())
    changing.withdraw(1, at())
    with read_session() as session:
        (vote,) = label_queries.votes(session=session)
    assert (vote.label.choice, vote.label.reason) == (Choice.TIE, "not so sure")


def test_people_change_their_own_votes_only(engine: Engine) -> None:
    comparison = asked()
    with write_session() as session:
        labels.vote(comparison.id, session=session, user="bob", choice=Choice.TIE)
    with pytest.warns(UserWarning, match="names no vote of yours"):
        assert changing.open_change(at(vote=1))["label_id"] == 0
    with pytest.raises(gr.Error, match="bob"):
        changing.withdraw(1, at())


def test_saving_never_votes_for_somebody_else(engine: Engine) -> None:
    comparison = asked()
    with write_session() as session:
        labels.vote(comparison.id, session=session, user="bob", choice=Choice.TIE)
    with pytest.raises(gr.Error, match="bob"):
        changing.save(1, "A", None, "", at())
    with read_session() as session:
        assert [vote.user for vote in label_queries.votes(session=session)] == ["bob"]


def test_votes_become_a_dataset_from_the_page(engine: Engine) -> None:
    comparison = asked()
    with pytest.raises(gr.Error, match="prefers"):
        export.use_as_dataset("votes")
    compare_page.vote_a(comparison.conversation_id, shown(comparison.conversation_id), "", at())
    assert "Version 1 of the dataset <strong>votes</strong> holds 1 pair." in export.use_as_dataset("votes")
    of_run = export.use_as_dataset("votes", run="1")
    assert "start=run%3A1" in of_run
    assert "start=demo" in of_run, "the original reference"
    assert "1 training pair" in export.counts(False)
    assert "0 training pairs" in export.counts(False, campaign="7")
    address = export.export("kto", "jsonl", False, "7", "3", blind=True)
    assert {"campaign_id=7", "run_id=3", "blind=true"} < set(address.partition("?")[2].split("&"))
    with pytest.raises(gr.Error, match="name"):
        export.use_as_dataset("")


def english(label: str | None) -> str:
    """The label of a page that is not served yet."""
    return filled_in((label or "").encode(), "en").decode()


def test_blind_is_the_default(blocks: gr.Blocks) -> None:
    (blind,) = [block for block in blocks.blocks.values() if english(getattr(block, "label", "")) == "Blind"]
    assert blind.value is True  # type: ignore[attr-defined]


def test_a_campaigns_prompt_is_not_opened(engine: Engine) -> None:
    campaign_id = campaign_setup.ready()
    with read_session() as session:
        prompt = campaigns.first_conversation(campaign_id, session=session)
    assert prompt is not None
    with pytest.raises(NotFound, match=f"is a prompt of campaign {campaign_id}; judge it on the Label page"):
        compare_state.read_view(prompt.id, "local")


def test_the_form_of_a_change_shows_no_names_of_a_blind_campaign(engine: Engine) -> None:
    campaign_id = campaign_setup.ready(prompts=["One?"])
    label = labelling.vote(labelling.take(campaign_id).offers[0].slot_id, "A")
    request: Any = SimpleNamespace(query_params={"vote": str(label.id)}, username="local")
    assert changing.open_change(request) == changing.closed()
    assert f"vote={label.id}" not in str(overview.overview(request)["table"])
    with pytest.raises(gr.Error, match="may still judge these answers blind"):
        changing.save(label.id, "B", None, "", request)
    campaigns_service.show_names(campaign_id)
    assert changing.open_change(request)["label_id"] == label.id
    assert f"vote={label.id}" in str(overview.overview(request)["table"])


def test_tokens_of_a_blind_answer_are_linked_after_the_vote(engine: Engine) -> None:
    comparison = asked(blind=True)
    here = comparison.conversation_id
    panel = compare_actions.open_page(at(conversation=here))["panel0"]
    assert "answer?id=" not in panel
    assert "hy-parted" in panel, "the place where answers part tells no names"
    voted = compare_actions.vote("A", here, shown(here), "", "", at())
    assert "answer?id=" in voted["panel0"]
