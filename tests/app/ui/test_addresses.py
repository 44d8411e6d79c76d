"""What a page says when its address names something by an id that is none, or that nothing has."""

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine

from app.ui.campaigns import one as campaigns_page
from app.ui.compare import actions as compare_page
from app.ui.datasets import page as datasets_page
from app.ui.generations import page as generations_page
from app.ui.label import page as label_page
from app.ui.launch import opening as launch_page
from app.ui.lineage import page as lineage_page
from app.ui.pairs import page as pairs_page
from app.ui.report import page as report_page
from app.ui.results import page as results_page
from app.ui.run import page as run_page
from app.ui.score import page as score_page

BAD = ("0", "-1", "2147483648", "99999999999999999999", "abc", "1e3", "<u>x")

Page = Callable[[Any], object]
PAGES: dict[str, tuple[str, Page, str]] = {
    "run": ("id", lambda at: run_page.refresh_all("steps", 0, 0, 1, at), "no run"),
    "datasets": ("id", datasets_page.show, "There is no such dataset"),
    "campaigns": ("campaign", lambda at: campaigns_page.show("", at), "There is no such campaign"),
    "label": ("campaign", label_page.show_list, "There is no such campaign"),
    "report": ("id", report_page.open_page, "no report"),
    "generations": ("id", generations_page.open_page, "No such text"),
    "pairs": ("dataset", pairs_page.show, "There is no such dataset"),
    "lineage": ("run", lineage_page.show, "number"),
    "compare": ("conversation", compare_page.open_page, "There is no such conversation"),
    "score": ("id", score_page.offer, "There is nothing with the id"),
    "score an answer": ("answer", score_page.offer, "There is nothing with the id"),
    "launch": ("clone", lambda at: launch_page.open_page(None, at), "There is no run"),
    "launch on": ("dataset", lambda at: launch_page.open_page(None, at), "There is no dataset"),
    "results": ("vote", results_page.open_page, "names no vote of yours"),
}


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("text", BAD)
def test_a_page_says_that_nothing_has_the_id_of_its_address(engine: Engine, page: str, text: str) -> None:
    name, opened, said = PAGES[page]
    address = SimpleNamespace(query_params={name: text}, username="ada")
    with warnings.catch_warnings(record=True) as told:  # what Gradio shows above the page
        warnings.simplefilter("always", UserWarning)
        shown = str(opened(address)) + " ".join(str(one.message) for one in told)
    assert said in shown
    assert "<u>x" not in shown
