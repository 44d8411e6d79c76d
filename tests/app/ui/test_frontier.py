"""The frontier of runs: points, bars, what they lead to, and what is said without any."""

import pytest
from sqlalchemy.orm import Session

from app.store import metrics
from app.store.enums import RunStatus
from app.store.models import Run
from app.ui.runs import frontier, overlay
from tests.app import arena
from tests.app.ui.test_run_pages import request_for

SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def measured(session: Session, kl: list[float], score: list[float], **config: float) -> Run:
    run = arena.add_run(session, "hypo")
    run.config = {**run.config, **config}
    for place, (spent, gained) in enumerate(zip(kl, score, strict=True)):
        values = {"eval_objective/kl": spent, "eval_objective/scores": gained}
        errors = {f"{name}_stderr": 0.25 for name in values}
        metrics.record(run.id, session=session, step=10 * place, values={**values, **errors})
    return run


@SQLITE
def test_a_run_is_a_line_of_its_evaluations_in_the_order_of_its_steps(session: Session) -> None:
    runs = [measured(session, [0.0, 9.0, 4.0], [1.0, 2.0, 3.0], beta=0.5), measured(session, [-0.1], [1.0])]
    points = frontier.load([run.id for run in runs], session=session)
    (figure,) = frontier.figures(runs, points)
    first, second = figure["data"]
    assert (first["x"], first["y"]) == ([0.0, 9.0, 4.0], [1.0, 2.0, 3.0])
    assert first["error_x"]["array"] == first["error_y"]["array"] == [0.25] * 3
    assert first["marker"]["size"] == sorted(first["marker"]["size"])
    assert first["meta"]["links"][1] == f"generations?run={runs[0].id}&kind=eval&steps=10"
    assert first["text"][1] == "step 10, KL 9.0 ± 0.2"
    (root,) = frontier.figures(runs, points, x_axis="root")
    assert root["data"][0]["x"] == [0.0, 3.0, 2.0]
    bars = root["data"][0]["error_x"]
    assert bars["array"] == pytest.approx([0.5, 9.25**0.5 - 3, 4.25**0.5 - 2])
    assert bars["arrayminus"] == pytest.approx([0.0, 3 - 8.75**0.5, 2 - 3.75**0.5])
    assert (second["x"], root["data"][1]["x"]) == ([-0.1], [0.0])
    assert root["key"] != figure["key"]


@SQLITE
@pytest.mark.parametrize(
    ("tint", "spent", "most"), [("tokens", [0, 500, 900], 900), ("seconds", [0, 15, 35], 40)]
)
def test_the_colour_is_the_budget_spent_until_then(
    session: Session, tint: frontier.Tint, spent: list[float], most: float
) -> None:
    runs = [measured(session, [0.0, 9.0, 4.0], [1.0, 2.0, 3.0]) for _ in range(2)]
    for run, steps in zip(runs, ([(10, 500, 1.5), (20, 900, 2.0)], [(20, 900, 2.0)]), strict=True):
        for step, tokens, seconds in steps:
            values = {"num_tokens": float(tokens), "step_time": seconds}
            metrics.record(run.id, session=session, step=step, values=values)
    points = frontier.load([run.id for run in runs], session=session)
    (figure,) = frontier.figures(runs, points, tint=tint)
    assert figure["data"][0]["marker"]["color"] == spent
    assert figure["layout"]["coloraxis"]["cmax"] == most
    (plain,) = frontier.figures(runs, points)
    assert "coloraxis" not in plain["layout"]


@SQLITE
def test_the_table_has_what_differs_and_the_last_evaluation(session: Session) -> None:
    runs = [measured(session, [0.0, 4.0], [1.0, 3.0], beta=0.5, kl_coef=0.25) for _ in range(2)]
    older = {name: value for name, value in runs[1].config.items() if name != "devices"}
    runs[1].config = {**older, "beta": 2.0}  # stored before the option existed
    session.commit()
    shown = overlay.draw(
        "steps", True, "kl", "run", request_for(compare=",".join(str(run.id) for run in runs))
    )
    assert all(part in shown["evaluated"] for part in ("beta", ">0.5<", ">2<", "4.0 ± 0.2", "3.0 ± 0.2"))
    assert "kl_coef" not in shown["evaluated"]
    assert "Devices" not in shown["evaluated"] + shown["config"]
    assert f"compare?runs={runs[0].id}" in shown["evaluated"]
    assert shown["few"] == ""
    assert len(shown["frontier"]) == 1


@SQLITE
def test_without_points_the_reason_is_said(session: Session) -> None:
    over, going = arena.add_run(session), arena.add_run(session, status=RunStatus.RUNNING)
    assert "No run measured its KL" in frontier.nothing([over], {})
    assert "points appear here" in frontier.nothing([over, going], {})
    assert frontier.figures([over], {}) == []


@SQLITE
def test_of_many_runs_the_charts_draw_the_first_and_the_frontier_all(session: Session) -> None:
    runs = [measured(session, [0.0, float(place)], [1.0, 2.0]) for place in range(overlay.MAX_OVERLAID + 1)]
    session.commit()
    shown = overlay.draw(
        "steps", True, "kl", "run", request_for(compare=",".join(str(run.id) for run in runs))
    )
    assert "Of 9 runs the first 8 are drawn" in shown["few"]
    assert len(shown["frontier"][0]["data"]) == 9
    assert max(len(figure["data"]) for figure in shown["panel"]) == 8
