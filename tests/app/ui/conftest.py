"""A training dataset, and requests as a handler receives them."""

from typing import Any

import gradio as gr
import pytest
from sqlalchemy.orm import Session

from app.store import dataset_writing
from app.store.models import Dataset
from hypo_engine.data.formats import Kept, Pair
from tests.transactions import within


def request_for(**query: Any) -> gr.Request:
    """The request of a page opened with these query parameters."""
    return gr.Request(query_params={name: str(value) for name, value in query.items()}, username=None)


@pytest.fixture
def dataset(session: Session) -> Dataset:
    """A committed dataset of twelve pairs."""
    pairs = [
        Kept(row=row, pair=Pair(prompt=f"Question {row}?", chosen=f"Good {row}", rejected=f"Bad {row}"))
        for row in range(1, 13)
    ]
    made = dataset_writing.create(
        write=within(session),
        name="pairs",
        sha256="0" * 64,
        format="explicit",
        source="test",
        held_out=0.2,
        pairs=pairs,
    )
    session.commit()
    return made
