"""The lineage's drawing: places of boxes, lines, gathered boxes, and the page."""

import re
from itertools import pairwise

import gradio as gr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.lineage import Lineage
from app.lineage_nodes import Node
from app.store.lineage import Kind, Link, Relation, Thing
from app.ui.lineage import page
from app.ui.lineage.drawing import draw
from app.ui.lineage.gathering import gathered
from app.ui.lineage.placing import BOX_HEIGHT, BOX_WIDTH, place

EDGES = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=40)


@settings(deadline=None, max_examples=60)
@given(EDGES)
def test_boxes_never_overlap_and_all_lines_are_drawn(edges: list[tuple[int, int]]) -> None:
    names = [f"box {number}" for number in range(12)]
    lines = {(names[a], names[b]) for a, b in edges if a != b}
    placed = place(names, sorted(lines))
    assert set(placed.lines) == lines
    columns: dict[float, list[float]] = {}
    for left, top in placed.boxes.values():
        columns.setdefault(left, []).append(top)
        assert 0 <= left <= placed.width - BOX_WIDTH
        assert 0 <= top <= placed.height - BOX_HEIGHT
    for tops in columns.values():
        assert all(lower - upper >= BOX_HEIGHT for upper, lower in pairwise(sorted(tops)))
    for line in lines - placed.back:
        assert placed.boxes[line[0]][0] < placed.boxes[line[1]][0]


def test_a_chain_is_a_straight_line() -> None:
    placed = place(["a", "b", "c"], [("a", "b"), ("b", "c")])
    assert len({top for _, top in placed.boxes.values()}) == 1


def a_lineage(runs: int) -> Lineage:
    dataset = Thing(Kind.DATASET, 1)
    nodes = [Node(dataset, "posts <v1>", "3 pairs")]
    nodes += [Node(Thing(Kind.RUN, n), f"run {n}", "finished", method="dpo") for n in range(1, runs + 1)]
    links = [Link(dataset, node.thing, Relation.TRAINED) for node in nodes[1:]]
    return Lineage(dataset, tuple(nodes), tuple(links))


def test_many_that_are_alike_are_one_box() -> None:
    assert len(gathered(a_lineage(6)).boxes) == 7
    boxes = gathered(a_lineage(60)).boxes
    assert [box.more for box in boxes] == [0, 0, 0, 0, 0, 56]
    assert [box.node.thing.id for box in boxes[1:5]] == [57, 58, 59, 60]
    html = draw(a_lineage(60))
    assert "56 more" in html
    assert 'href="#lineage-run"' in html


def test_boxes_are_links_with_names_and_the_one_at_hand_is_marked() -> None:
    html = str(draw(a_lineage(2)))
    assert "posts &lt;v1&gt;" in html
    assert html.count("aria-current") == 1
    assert 'href="run?id=2"' in html
    assert "Run: run 2, finished. Trained on posts &lt;v1&gt;." in html
    assert re.search(r"<script|onclick", html) is None


def shown(**query: str) -> str:
    request = gr.Request(query_params=query)
    updates = page.show(request)
    return f"{updates['header']}{updates['body']}"


@pytest.mark.usefixtures("session")
def test_without_a_thing_or_with_one_that_is_missing_the_page_says_where_to_go() -> None:
    assert "Choose where to start" in shown()
    assert "There is no campaign 7" in shown(campaign="7")
    assert "is no number" in shown(run="<b>x")
    assert "<b>x" not in shown(run="<b>x")
