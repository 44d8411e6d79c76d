"""The run, runs and home pages' handlers, called without a browser."""

from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from rich.console import Console
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.cli.progress import results_table
from app.launch import launch
from app.security import files
from app.store import generations, metrics, run_transitions, runs, workers
from app.store.claims import Claim
from app.store.db import write_session
from app.store.enums import GenerationKind, RunStatus
from app.store.models import Dataset, Run
from app.store.run_transitions import RUN_LEASES
from app.ui import events, home
from app.ui.run import actions, editing
from app.ui.run import judges as run_judges
from app.ui.run import page as run_page
from app.ui.runs import chosen, overlay
from app.ui.runs import page as runs_page
from app.ui.runs import table as run_table
from app.ui.updates import Updates
from app.views import run_views
from tests.app.scored import add_pairs, add_run, add_scoring
from tests.app.ui.conftest import request_for

EVIL = "<script>alert(1)</script>"
HOW = ("steps", True, "kl", "run")
ARGS: tuple[Any, ...] = ("steps", 0, run_page.LATEST, 1)


@pytest.fixture
def twins(session: Session, dataset: Dataset) -> list[Run]:
    """A DPO and a HyPO run with a malicious name, a few points and samples."""
    made = launch("twins", dataset.id, {"max_steps": 4}, name=EVIL)
    for run in made:
        for step in range(1, 5):
            metrics.record(run.id, session=session, step=step, values={"loss": 0.7 / step, "step_time": 1.5})
        metrics.record(
            run.id,
            session=session,
            step=0,
            values={"eval_objective/kl": 0.1, "eval_objective/kl_stderr": 0.05},
        )
        rows = [
            generations.TrainingSample(
                kind=kind,
                step=step,
                prompt=[{"role": "user", "content": EVIL}],
                text=f"{EVIL} {step}",
                seed=0,
                tokens=3,
                complete=True,
                policy_logp=-1.0,
                reference_logp=-2.5,
            )
            for step in (0, 4)
            for kind in (GenerationKind.PROBE, GenerationKind.ONLINE)
        ]
        generations.record_samples(run.id, rows, session=session)
    session.commit()
    return made


def html_of(shown: Updates) -> str:
    return "".join(piece for piece in shown.values() if isinstance(piece, str))


def test_a_run_names_its_reward(session: Session, dataset: Dataset) -> None:
    wanted = (("dpo", ""), ("dpo", "length"), ("reward", "length"))
    made = [launch(method, dataset.id, {"reward": reward})[0].id for method, reward in wanted]
    shown = [run_page.refresh((), *ARGS, request=request_for(id=run_id))["facts"] for run_id in made]
    assert ["Reward<" in facts for facts in shown] == [False, True, False]


def test_a_reward_model_shows_the_rewards_of_its_pairs(engine: Engine) -> None:
    dataset = add_pairs(4)
    run, other = add_run(dataset, method="reward"), add_run(dataset)
    with write_session() as session:
        metrics.record(run, session=session, step=0, values={"eval_loss": 0.7})
    before = run_page.refresh((), *ARGS, request=request_for(id=run))
    assert f'href="pairs?dataset={dataset}&amp;run={run}"' in before["rewards"]
    add_scoring(dataset, [1.0] * 4, method="reward", run_id=run)
    after = run_page.refresh(before["seen"], *ARGS, request=request_for(id=run))
    assert "Rewards of 4 of 4 pairs." in after["rewards"]
    drawn = after["panel"][-1]
    assert [(bars["name"], sum(bars["y"])) for bars in drawn["data"]] == [("Chosen", 4), ("Rejected", 4)]
    shown = run_page.refresh((), *ARGS, request=request_for(id=other))
    assert (shown["rewards"], shown["panel"]) == ("", [])


def test_a_run_is_shown_with_its_twin(session: Session, twins: list[Run]) -> None:
    shown = run_page.refresh((), *ARGS, request=request_for(id=twins[1].id))
    page = html_of(shown)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "Place <b>2</b> in the queue" in page
    assert "comes first: queued." in page
    first = html_of(run_page.refresh((), *ARGS, request=request_for(id=twins[0].id)))
    assert "comes first" not in first
    assert "waits for the broker" in page, "no message was sent"
    assert f"run?id={twins[0].id}" in page
    assert "log-ratio +1.5 nats" in page
    kl = next(figure for figure in shown["panel"] if figure["key"] == "kl")
    assert [trace["error_y"]["array"] for trace in kl["data"]] == [[0.05], [0.05]]
    assert {trace["line"]["color"] for trace in kl["data"]} == {"@dpo", "@hypo-1"}


def test_judges_are_started_and_their_win_rates_drawn(session: Session, twins: list[Run]) -> None:
    run, request = twins[0], request_for(id=twins[0].id)
    shown = run_page.refresh((), *ARGS, request=request)
    assert "can judge the samples of every evaluation" in shown["judged"]
    assert "scorer must be length" in run_judges.start("", "x", None, None, request)["judge_message"]["value"]
    for step, text in ((0, "one"), (4, "one")):
        sample = generations.TrainingSample(GenerationKind.EVAL, step, "Q?", text, 1, 2, True, -1.0, -1.0)
        generations.record_samples(run.id, [sample], session=session)
    session.commit()
    assert run_judges.start("", "length", None, None, request)["seen"] == ()
    later = run_page.refresh(shown["seen"], *ARGS, request=request)
    assert "length, #1" in later["judged"]
    (chart,) = [one for one in later["panel"] if one["title"] == "Win rate, judged by length"]
    assert [trace["y"] for trace in chart["data"]] == [[0.5]], "equal texts are a tie"
    assert run_judges.stop(request)["message"] == ""
    assert "Nothing is left to judge" in run_judges.resume(request)["message"]


def test_nothing_is_sent_while_nothing_changes(session: Session, twins: list[Run]) -> None:
    request = request_for(id=twins[0].id)
    seen = run_page.refresh((), *ARGS, request=request)["seen"]
    assert run_page.refresh(seen, *ARGS, request=request) == {}
    metrics.record(twins[0].id, session=session, step=5, values={"loss": 0.1})
    session.commit()
    again = run_page.refresh(seen, *ARGS, request=request)
    assert "seen" in again
    assert "header" not in again


def test_the_page_asks_on_until_the_run_and_its_twin_are_over(session: Session, twins: list[Run]) -> None:
    request = request_for(id=twins[0].id)

    def timer(seen: Any) -> Any:
        shown = run_page.refresh(seen, *ARGS, request=request)
        return shown.get("seen", seen), shown.get("timer")

    seen, asks = timer(())
    assert asks.active
    run_transitions.request_cancel(twins[0].id, session=session)
    session.commit()
    seen, asks = timer(seen)
    assert asks.active
    run_transitions.request_cancel(twins[1].id, session=session)
    session.commit()
    seen, asks = timer(seen)
    assert not asks.active
    assert timer(seen)[1] is None


@pytest.mark.parametrize("query", [{"id": 999}, {"id": "x"}, {"id": "9" * 30}, {}])
def test_an_unknown_run_gets_a_page_with_a_way_out(session: Session, query: dict[str, Any]) -> None:
    shown = run_page.refresh((), *ARGS, request=request_for(**query))
    assert "Run not found" in shown["header"]
    assert 'href="runs"' in shown["header"]
    assert run_page.refresh(shown["seen"], *ARGS, request=request_for(**query)) == {}


def test_a_failed_run_says_why_and_folds_the_traceback(session: Session, twins: list[Run]) -> None:
    claimed = RUN_LEASES.claim(twins[0].id, session=session, worker="w", lease_seconds=60)
    assert claimed is not None
    run_transitions.fail(
        Claim.of(claimed), session=session, error=f"Out of {EVIL}.", traceback=f"Trace {EVIL}"
    )
    session.commit()
    page = html_of(run_page.refresh((), *ARGS, request=request_for(id=claimed.id)))
    assert "Out of &lt;script&gt;" in page
    assert "<details><summary>Traceback</summary>" in page
    assert "<script" not in page


def test_cancelling_names_the_run_and_stops_that_one(session: Session, twins: list[Run]) -> None:
    request = request_for(id=twins[0].id)
    asked = actions.ask_cancel(request)
    assert f"run {twins[0].id}" in asked["question"]
    assert f"{twins[0].id}" in asked["yes"]
    assert "<script" not in asked["question"]
    actions.confirmed(asked["wanted"], request)
    session.expire_all()
    assert runs.get(twins[0].id, session=session).status is RunStatus.CANCELLED
    assert runs.get(twins[1].id, session=session).status is RunStatus.QUEUED


def test_a_cancelled_run_is_resumed_and_a_waiting_one_is_not(session: Session, twins: list[Run]) -> None:
    request = request_for(id=twins[0].id)
    assert f"Run {twins[0].id} is queued" in actions.resume_run(request)
    actions.confirmed("cancel", request)
    shown = run_page.refresh((), *ARGS, request=request)
    assert (shown["resume"]["visible"], shown["resume"]["value"]) == (True, f"Resume run {twins[0].id}")
    assert actions.resume_run(request) == ""
    session.expire_all()
    assert runs.get(twins[0].id, session=session).status is RunStatus.QUEUED


def test_a_run_says_which_one_it_waits_for(session: Session, dataset: Dataset) -> None:
    [reward] = launch("reward", dataset.id, {}, name="judge")
    [rloo] = launch("rloo", dataset.id, {"reward": f"run:{reward.id}"})
    request = request_for(id=rloo.id)
    shown = run_page.refresh((), *ARGS, request=request)
    link = f'<a href="run?id={reward.id}">run {reward.id}, judge</a>'
    assert f"It waits for {link} (queued), and starts by itself" in shown["status"]
    assert f'waits for <a href="run?id={reward.id}">' in home.refresh("")["now"]
    table = run_table.run_table([rloo, reward], filtered=False, session=session)
    assert table.count("waits for") == table.count("place 1 in the queue") == 1
    asked = actions.ask_cancel(request_for(id=reward.id))
    assert f"Run {rloo.id} waits for it and will fail." in str(asked["question"])
    claimed = RUN_LEASES.claim(reward.id, session=session, worker="w", lease_seconds=60)
    assert claimed is not None
    run_transitions.set_progress(Claim.of(claimed), session=session, step=3, total_steps=20, phase="training")
    session.commit()
    following = run_page.refresh(shown["seen"], *ARGS, request=request)
    assert "(running, step 3 of 20)" in following["status"]
    chosen.confirmed("cancel", f"{rloo.id},{reward.id}")
    session.expire_all()
    rloo, reward = runs.of_ids([rloo.id, reward.id], session=session)
    assert (rloo.status, reward.wish.value) == (RunStatus.CANCELLED, "cancel")


def test_a_live_run_is_not_deleted_and_one_that_is_over_is(session: Session, twins: list[Run]) -> None:
    request = request_for(id=twins[0].id)
    _, said, _ = actions.confirmed("delete", request)
    assert "cancel it first" in said
    actions.confirmed("cancel", request)
    _, said, _ = actions.confirmed("delete", request)
    assert 'data-next="runs"' in said
    assert [run.id for run in runs.find(session=session)] == [twins[1].id]


def test_exporting_without_a_checkpoint_says_so(session: Session, twins: list[Run]) -> None:
    with pytest.raises(gr.Error, match="no checkpoint"):
        actions.export_zip(request_for(id=twins[0].id))


def test_an_export_is_a_file_of_the_user_who_asked(
    session: Session, twins: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(run_id: int, folder: Path) -> Path:
        archive = folder / f"{run_id}.zip"
        archive.write_bytes(b"weights")
        return archive

    monkeypatch.setattr(actions.artifacts, "export_zip", export)
    archive = actions.export_zip(request_for(id=twins[0].id))
    assert files.owned(archive, "local") == Path(archive).resolve()
    assert files.owned(archive, "somebody else") is None


def test_settings_show_table_yaml_and_command(session: Session, twins: list[Run]) -> None:
    table, text, command = run_page.settings(request_for(id=twins[1].id))
    assert "max_steps" in table
    assert "max_steps: 4" in text
    assert "--method hypo" in command


def test_online_samples_are_paged(session: Session, twins: list[Run]) -> None:
    html, page = run_page.turn(99, request_for(id=twins[1].id))
    assert page == 1
    assert "+1.5" in html
    assert "<script" not in html


def test_the_list_filters_and_stays_still(session: Session, twins: list[Run]) -> None:
    shown = runs_page.refresh(0, (), "", "hypo")
    html = shown["table"]
    assert f'data-run="{twins[1].id}"' in html
    assert f'data-run="{twins[0].id}"' not in html
    assert "<script" not in html
    assert runs_page.refresh(0, shown["seen"], "", "hypo") == {}
    assert "No run matches" in runs_page.refresh(0, (), "zzz")["table"]


def test_the_list_is_paged(session: Session, twins: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_page, "PAGE_ROWS", 1)
    first = runs_page.relist()
    pager = ("list_back", "list_place", "list_on")
    assert f'data-run="{twins[1].id}"' in first["table"]
    assert f'data-run="{twins[0].id}"' not in first["table"]
    assert [first[name]["visible"] for name in pager] == [False, True, True]
    assert "1–1" in first["list_place"]["value"]
    second = runs_page.older(first["list_page"])
    assert f'data-run="{twins[0].id}"' in second["table"]
    assert (second["list_page"], "2–2" in second["list_place"]["value"]) == (1, True)
    assert [second[name]["visible"] for name in pager] == [True, True, False]
    assert runs_page.newer(second["list_page"])["table"] == first["table"]
    still = runs_page.look_again(1, second["seen"], "steps", True, "kl", "run", (), request_for())
    assert "table" not in still
    for sent in (-7, None, 1e12):
        assert isinstance(runs_page.refresh(sent, ())["table"], str)


def test_the_list_is_sorted_and_runs_are_tagged_and_archived(session: Session, twins: list[Run]) -> None:
    first, second = twins
    session.commit()
    listed = runs_page.relist("", "", "", "", "", "current", ("steps", "seed"), "name")["table"]
    assert 'aria-sort="ascending"' in listed
    assert 'data-sort="-name"' in listed
    assert "Progress" not in listed
    assert chosen.add_tags(str(first.id), "best, <i>small") == ""
    assert chosen.archive(str(second.id)) == ""
    table = runs_page.relist()["table"]
    assert "&lt;i&gt;small" in table
    assert f'data-run="{second.id}"' not in table
    assert "archived" in runs_page.relist("", "", "", "", "", "archived")["table"]
    assert "No run matches" in runs_page.relist("", "", "", "", "best", "archived")["table"]
    assert chosen.enable(f"{first.id},{second.id}")["unarchive"]["visible"]
    assert "U+202E" in chosen.add_tags(str(first.id), "\u202eevil")
    assert chosen.unarchive(str(second.id)) == chosen.remove_tags(str(first.id), "best") == ""
    assert f'data-run="{second.id}"' in runs_page.relist()["table"]


def test_a_run_is_edited_on_its_page(session: Session, twins: list[Run]) -> None:
    session.commit()
    request = request_for(id=twins[0].id)
    assert editing.open_form(request)["name"] == twins[0].name
    saved = editing.save("mine", "b, a", "**Good** <script>", request)
    assert (saved["message"], saved["editing"]["visible"]) == ("", False)
    assert editing.archive(request) == {"message": ""}
    header = run_page.refresh((), *ARGS, request=request)["header"]
    assert all(part in header for part in (">mine</h1>", "<strong>Good</strong>", "runs?tag=a", "archived"))
    assert "<script" not in header
    refused = editing.save("\u202e", "", "", request)
    assert "U+202E" in refused["message"]
    assert "editing" not in refused
    assert editing.open_form(request)["tags"] == "a, b"


def test_the_address_restores_filters_and_choice(session: Session, twins: list[Run]) -> None:
    session.commit()
    kept = {"columns": ["kl", "nonsense"], "sort": "-kl"}
    ids = ",".join(str(run.id) for run in twins)
    asked = {"method": "dpo", "status": "bogus", "dataset": "pairs", "name": "x", "compare": f"{ids},y"}
    opened = runs_page.open_page(kept, *HOW, request_for(**asked))
    assert (opened["columns"], opened["sort"]) == (["kl"], "-kl")
    assert (opened["name"], opened["method"], opened["status"]) == ("x", "dpo", "")
    assert (opened["dataset"]["value"], opened["tag"]["value"]) == ("pairs", "")
    assert (opened["show"], opened["list_page"], opened["chosen"]) == ("current", 0, ids)
    assert "No run" in opened["table"]  # filtered by what the address says
    assert opened["overlaid"]["visible"]  # with the list, which would push it down if it came later

    shared = runs_page.open_page(
        kept, *HOW, request_for(columns="none", sort="steps", page="3", show="archived")
    )
    assert (shared["columns"], shared["sort"], shared["list_page"]) == ([], "steps", 2)
    assert shared["show"] == "archived"
    assert not shared["overlaid"]["visible"]
    assert runs_page.open_page({"columns": 7, "sort": ["x"]}, *HOW, request_for())["sort"] == "-launched"


def test_runs_are_overlaid_and_only_differences_shown(session: Session, twins: list[Run]) -> None:
    ids = ",".join(str(run.id) for run in twins)
    shown = overlay.draw("steps", True, "kl", "run", request_for(compare=ids))
    assert shown["overlaid"]["visible"] is True
    assert "DPO" in shown["key"]
    assert "HyPO" in shown["key"]
    assert next(figure for figure in shown["panel"] if figure["key"] == "loss")["data"]
    assert "Method" in shown["config"]
    assert "Seed" not in shown["config"]
    assert overlay.redraw("steps", True, "kl", "run", shown["drawn"], request_for(compare=ids)) == {}
    assert overlay.draw("steps", True, "kl", "run", request_for())["overlaid"]["visible"] is False


def test_chosen_runs_are_cancelled_then_deleted(session: Session, twins: list[Run]) -> None:
    ids = ",".join(str(run.id) for run in twins)
    assert "2" in chosen.enable(ids)["cancel"]["value"]
    question = chosen.ask_cancel(ids)["question"]
    assert all(f"run {run.id}" in question for run in twins)
    chosen.confirmed("cancel", ids)
    assert {run.status for run in runs.find(session=session)} == {RunStatus.CANCELLED}
    session.commit()
    chosen.confirmed("delete", ids)
    session.expire_all()
    assert runs.find(session=session) == []


def test_home_tells_a_newcomer_what_to_do(session: Session) -> None:
    shown = home.refresh("")
    steps = shown["steps"]
    assert steps.index("hy-next") < steps.index("Add preference pairs") < steps.index("Launch DPO")
    assert "hypo up" in shown["now"]
    assert shown["recent"] == ""
    assert shown["timer"].value == events.IDLE_SECONDS
    assert home.refresh(shown["seen"]) == {}


def test_home_shows_an_old_hand_what_goes_on(session: Session, twins: list[Run]) -> None:
    shown = home.refresh("")
    listed = runs_page.relist()
    assert shown["timer"].value == listed["timer"].value == events.BUSY_SECONDS
    assert "place 1 in the queue" in shown["now"]
    assert "<script" not in shown["now"]


def test_run_that_was_cancelled_in_the_queue_is_not_starting(session: Session, twins: list[Run]) -> None:
    run_transitions.request_cancel(twins[1].id, session=session)
    assert run_table.progress(runs.get(twins[1].id, session=session), None) == "not started"


def test_headline_numbers_carry_their_count_or_error_on_every_page(
    session: Session, twins: list[Run]
) -> None:
    for run in twins:
        claimed = RUN_LEASES.claim(run.id, session=session, worker="w", lease_seconds=60)
        assert claimed is not None
        values = {
            "eval_rewards/accuracies": 11 / 12,
            "eval_rewards/margins": 0.25,
            "eval_rewards/margins_stderr": 0.05,
            "eval_num_pairs": 12.0,
            "eval_objective/kl": 8.79,
            "eval_objective/kl_stderr": 0.61,
            "eval_num_prompts": 16.0,
            "num_train_pairs": 9.0,
            "epoch": 2.5,
        }
        metrics.record(run.id, session=session, step=4, values=values)
        run_transitions.finish(Claim.of(claimed), session=session)
    session.commit()
    listed = runs_page.refresh(0, ())["table"]
    page = html_of(run_page.refresh((), *ARGS, request=request_for(id=twins[0].id)))
    for shown in (home.refresh("")["recent"], listed, page):
        assert "92% (11/12)" in shown
        assert "8.8 ± 0.6" in shown
    assert "2.5 epochs of 9 pairs" in page
    view = run_views(twins, session=session)[0]
    assert view["results"] == {
        "Held-out accuracy": "92% (11/12)",
        "Held-out margin": "0.25 ± 0.05",
        "KL to the reference": "8.8 ± 0.6",
    }
    table = Console(width=200)
    with table.capture() as captured:
        table.print(results_table([twins[0].id]))
    assert all(text in captured.get() for text in view["results"].values())


def test_a_worker_that_takes_no_messages_is_told_where_people_look(
    session: Session, twins: list[Run]
) -> None:
    trouble = "It cannot reach the <broker>."
    workers.beat("w", session=session, queues="train,generate", device="CPU", trouble=trouble)
    RUN_LEASES.mark_sent(twins[1].id, session=session)
    session.commit()
    page = html_of(run_page.refresh((), *ARGS, request=request_for(id=twins[1].id)))
    told = "The train worker w does not take work. It cannot reach the &lt;broker&gt;."
    assert told in page
    assert "waits for the broker" not in page
    front = html_of(home.refresh(""))
    assert "It cannot reach the &lt;broker&gt;." in front
    assert "hy-deaf" in front
    workers.beat("w", session=session, queues="train,generate", device="CPU")
    session.commit()
    front = html_of(home.refresh(""))
    assert "It cannot reach" not in front
    assert "hy-deaf" not in front
