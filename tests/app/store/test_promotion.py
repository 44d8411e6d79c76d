"""Two stored answers become a comparison: who wrote them, who sees the names, what the votes count for."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import InvalidInput, NotFound, Refused
from app.store import comparisons, generations, labels, names, promotion, vote_games
from app.store.conversations import ContenderChoice
from app.store.enums import Choice, GenerationKind, GenerationStatus
from app.store.models import Comparison, Generation, Run
from tests.app import arena
from tests.app.store.test_generation_search import add, blind_chat

QUESTION = [{"role": "user", "content": "Why?"}]
PROBE = GenerationKind.PROBE


def probes(session: Session, run: Run, steps: tuple[int, ...], prompt: object = "Why?") -> list[int]:
    """Answers of a run to a probe prompt at some steps."""
    for step in steps:
        add(session, run.id, f"answer at {step}", prompt=prompt, step=step, kind=PROBE)
    rows = generations.of_run(run.id, session=session, kind=PROBE)
    return [row.id for row in rows if row.step in steps]


def contenders(comparison: Comparison) -> list[tuple[str, str, bool]]:
    found = comparison.conversation.contenders
    return [(one.name, one.method, one.checkpoint_id is not None) for one in found]


def test_the_contenders_are_the_weights_of_the_step(session: Session) -> None:
    run = arena.add_run(session, "hypo", name="walnut", steps=(10, 20))
    first, between, last = probes(session, run, (0, 15, 20))
    made = promotion.promote([first, last], session=session, user="ada")
    assert contenders(made) == [("Reference", "reference", False), ("walnut", "hypo", True)]
    made = promotion.promote([between, last], session=session, user="ada")
    assert contenders(made)[0] == ("walnut @ 15", "hypo", False)
    assert [
        one.text
        for one in sorted(comparisons.answers(made.id, session=session), key=lambda a: a.position or 0)
    ] == ["answer at 15", "answer at 20"]


def test_contenders_keep_their_weights_in_4_bits(session: Session) -> None:
    run = arena.add_run(session, "hypo", name="walnut", steps=(10, 20))
    run.config = {**run.config, "load_in_4bit": True}
    made = promotion.promote(probes(session, run, (0, 20)), session=session, user="ada")
    assert contenders(made)[0] == ("Reference (4-bit)", "reference", False)
    assert [one.in_4bit for one in made.conversation.contenders] == [True, True]


def test_an_online_sample_is_of_the_weights_before_its_step(session: Session) -> None:
    run = arena.add_run(session, name="walnut", steps=(10, 20))
    for step in (1, 11):
        add(session, run.id, f"sample {step}", step=step)
    ids = [row.id for row in generations.of_run(run.id, session=session, kind=GenerationKind.ONLINE)]
    made = promotion.promote(ids, session=session, user="ada")
    assert contenders(made) == [("Reference", "reference", False), ("walnut @ 10", "dpo", True)]


def test_others_judge_it_blind_and_the_votes_count(session: Session) -> None:
    run = arena.add_run(session, name="walnut", steps=(10, 20))
    made = promotion.promote(probes(session, run, (15, 20)), session=session, user="ada")
    assert names.hidden(made, "bob", session=session)
    assert not names.hidden(made, "ada", session=session)
    assert labels.vote(made.id, session=session, user="bob", choice=Choice.BEST, best=0).blind
    assert not labels.vote(made.id, session=session, user="ada", choice=Choice.TIE).blind
    games = vote_games.games(session=session)
    found = vote_games.answerers(
        {game.first for game in games} | {game.second for game in games}, session=session
    )
    told = {(one.name, one.run_id, one.step) for one in found}
    assert told == {("walnut @ 15", run.id, None), ("walnut", run.id, 20)}
    label = labels.of_user(made.id, "bob", session=session)
    assert label is not None
    assert label.left_out is None


def test_a_step_without_a_checkpoint_answers_no_more(session: Session) -> None:
    run = arena.add_run(session, name="walnut")
    made = promotion.promote(probes(session, run, (5, 10)), session=session, user="ada")
    with pytest.raises(Refused, match="no checkpoint"):
        comparisons.ask(made.conversation_id, "And?", session=session)
    with pytest.raises(Refused, match="no checkpoint"):
        comparisons.regenerate(made.id, 0, session=session)


def test_a_prompt_and_a_single_message_are_the_same(session: Session) -> None:
    run = arena.add_run(session)
    [one] = probes(session, run, (10,))
    [other] = probes(session, run, (0,), prompt=QUESTION)
    made = promotion.promote([one, other], session=session, user="ada")
    assert made.question == "Why?"
    assert len({row.prompt_id for row in comparisons.answers(made.id, session=session)}) == 1


def test_what_cannot_be_compared(session: Session) -> None:
    run = arena.add_run(session)
    first, second = probes(session, run, (0, 10))
    [elsewhere] = probes(session, run, (11,), prompt="Where?")
    [no_question] = probes(session, run, (12,), prompt=[{"role": "assistant", "content": "Hm."}])
    for ids in ([first], [first, first], [first, second, elsewhere]):
        with pytest.raises(InvalidInput, match="two answers"):
            promotion.promote(ids, session=session, user="ada")
    with pytest.raises(InvalidInput, match="different prompts"):
        promotion.promote([first, elsewhere], session=session, user="ada")
    with pytest.raises(InvalidInput, match="different prompts"):
        promotion.promote([first, no_question], session=session, user="ada")
    with pytest.raises(NotFound):
        promotion.promote([first, 10**6], session=session, user="ada")
    session.get_one(Generation, first).status = GenerationStatus.STOPPED
    with pytest.raises(Refused, match="stopped"):
        promotion.promote([first, second], session=session, user="ada")


def test_a_hidden_answer_is_not_promoted(session: Session) -> None:
    """A vote on the copy would show who wrote the answer that is still judged blind."""
    comparison = blind_chat(session)
    ids = list(session.scalars(select(Generation.id).where(Generation.comparison_id == comparison.id)))
    with pytest.raises(Refused, match="hidden"):
        promotion.promote(ids, session=session, user="ada")
    names.record([comparison.id], "ada", session=session)
    made = promotion.promote(ids, session=session, user="ada")
    assert {one.name for one in made.conversation.contenders} == {"Reference", "dpo run"}


def test_an_answer_of_a_base_model_stays_its_own(session: Session) -> None:
    conversation = arena.start(session, [ContenderChoice(base_model="demo")], user="ada")
    asked = [comparisons.ask(conversation.id, "Why?", session=session)]
    arena.answer(session, asked[0], ("because",))
    run = arena.add_run(session)
    [probe] = probes(session, run, (10,))
    answer = comparisons.answers(asked[0].id, session=session)[0]
    made = promotion.promote([answer.id, probe], session=session, user="ada")
    assert contenders(made) == [("Reference", "reference", False), ("dpo run", "dpo", True)]
