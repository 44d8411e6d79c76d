"""The workload of a run before it is queued: pairs within the limits, steps, epochs, remarks."""

from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app import held_out_share
from app.errors import InvalidInput
from app.launch import launch
from app.lengths import TokenLengths, quantile, token_lengths
from app.store import dataset_writing, datasets, runs
from app.store.models import Dataset
from app.workload import epochs_in_words, remarks, workload
from hypo_engine.config import TrainConfig
from hypo_engine.data.formats import Kept, Pair, prompt_fraction
from hypo_engine.data.tokenize import Tokenization, tokenize_pairs
from hypo_engine.models.load import load_tokenizer, resolve_model
from tests.tiny_model import write_tiny_model
from tests.transactions import within


def add(session: Session, pairs: list[Pair], *, held: float = 0.0, format: str = "explicit") -> Dataset:
    made = dataset_writing.create(
        write=within(session),
        name="pairs",
        sha256="0" * 64,
        format=format,
        source="test",
        held_out=held,
        pairs=[Kept(row=row, pair=pair) for row, pair in enumerate(pairs, start=1)],
    )
    session.commit()
    return made


def growing(count: int) -> list[Pair]:
    """Pairs whose longer answer grows, alternating between the sides."""
    return [
        Pair(f"Question {i}?", "good " * (i + 1), "bad") if i % 2 else Pair(f"Question {i}?", "no", "x " * i)
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.mark.parametrize("limit", [1, 8, 20, 1000])
def test_the_form_counts_the_pairs_that_the_engine_keeps(session: Session, model: Path, limit: int) -> None:
    dataset = add(session, growing(40), held=0.3)
    config = TrainConfig(model_name_or_path=str(model), max_completion_length=limit)
    work = workload(config, dataset.id)
    pairs = list(datasets.iter_pairs(dataset.id, session=session, split=datasets.Split.TRAIN))
    tokenization = Tokenization(load_tokenizer(resolve_model(str(model), model)), config.prompt_style)
    kept, _ = tokenize_pairs(pairs, tokenization, max_prompt_length=512, max_completion_length=limit)
    assert work.counts.train == len(pairs) < 40
    assert work.exact
    assert work.pairs == len(kept)
    said = " ".join(remarks(work, config))
    assert f"{len(kept)} of {len(pairs)} training pairs" in said or len(kept) in (0, len(pairs))
    assert ("No pair is left" in said) == (not kept)


def test_limits_that_leave_no_pair_queue_nothing(session: Session, model: Path) -> None:
    dataset = add(session, growing(10))
    given = {"model_name_or_path": str(model), "max_completion_length": 1}
    with pytest.raises(InvalidInput, match="the shortest needs") as caught:
        launch("twins", dataset.id, given)
    assert caught.value.field == "max_completion_length"
    assert runs.find(session=session) == []
    needed = int(str(caught.value).split("needs ")[1].split(".")[0])
    session.commit()
    assert launch("dpo", dataset.id, {**given, "max_completion_length": needed})


def test_without_the_models_tokenizer_all_pairs_count(session: Session, tmp_path: Path) -> None:
    dataset = add(session, growing(10))
    work = workload(TrainConfig(model_name_or_path=str(tmp_path), max_completion_length=1), dataset.id)
    assert (work.lengths, work.pairs, work.exact) == (None, 10, False)


def test_a_large_dataset_is_measured_on_a_sample(
    session: Session, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.lengths.MOST_PAIRS", 20)
    dataset = add(session, growing(90))
    lengths = token_lengths(dataset.id, str(model))
    assert lengths is not None
    assert not lengths.complete
    assert 15 <= len(lengths.completions) <= 20
    assert lengths.pairs == 90
    assert lengths.kept(10_000) == 90
    half = quantile(lengths.completions, 0.5)
    assert 35 <= lengths.kept(half) <= 60


def test_lengths_are_measured_once(session: Session, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = add(session, growing(10))
    assert token_lengths(dataset.id, str(model)) is not None
    monkeypatch.setattr(datasets, "spread_pairs", None)
    assert token_lengths(dataset.id, str(model)) is not None


LENGTHS = TokenLengths(
    prompts=(10, 20, 30, 40), completions=(5, 10, 15, 20), totals=(20, 40, 60, 80), pairs=4
)


def test_what_limits_do() -> None:
    assert [LENGTHS.kept(limit) for limit in (4, 5, 12, 20)] == [0, 1, 2, 4]
    assert [LENGTHS.trimmed(limit) for limit in (9, 20, 40)] == [1.0, 0.5, 0.0]
    assert LENGTHS.tokens_per_pair(100, 20) == 50
    assert LENGTHS.tokens_per_pair(15, 10) == (20 + 35) / 2
    assert LENGTHS.tokens_per_pair(15, 4) is None
    assert [quantile((4, 1, 3, 2), share) for share in (0.25, 0.5, 0.9, 1.0)] == [1, 2, 4, 4]


@pytest.mark.parametrize(
    ("changes", "steps", "words"),
    [
        ({"num_train_epochs": 1.0}, 5, "one epoch: every pair is seen once"),
        ({"num_train_epochs": 2.0}, 10, "two epochs: every pair is seen twice"),
        ({"num_train_epochs": 3.0}, 15, "three epochs: every pair is seen three times"),
        ({"max_steps": 12}, 12, "2.4 epochs: every pair is seen 2 or 3 times"),
        ({"max_steps": 1}, 1, "20% of an epoch: most pairs are never seen"),
        ({"max_steps": 4}, 4, "80% of an epoch: some pairs are never seen"),
    ],
)
def test_epochs_in_words(session: Session, changes: dict[str, float], steps: int, words: str) -> None:
    dataset = add(session, growing(18))
    work = workload(TrainConfig(model_name_or_path="nowhere/model", **changes), dataset.id)
    assert (work.pairs, work.a_step, work.steps) == (18, 4, steps)
    assert epochs_in_words(work) == words


def test_pairs_seen_count_the_short_last_step_of_an_epoch(session: Session) -> None:
    dataset = add(session, growing(18))
    seen = [
        workload(TrainConfig(model_name_or_path="nowhere/model", max_steps=steps), dataset.id).seen
        for steps in (1, 4, 5, 6)
    ]
    assert seen == [4, 16, 18, 22]


def test_a_batch_larger_than_the_data_is_told(session: Session) -> None:
    dataset = add(session, growing(10))
    config = TrainConfig(model_name_or_path="nowhere/model", gradient_accumulation_steps=8)
    [said] = remarks(workload(config, dataset.id), config)
    assert said.startswith(
        "A step asks for 32 pairs, more than the 10 there are: every step sees all of them."
    )


# --- nothing held out ------------------------------------------------------------------------


def test_the_share_that_is_named_holds_some_out_and_leaves_some(session: Session) -> None:
    pairs = growing(12)
    found = held_out_share.least_share(pairs)
    assert found is not None
    assert found.pairs == sum(prompt_fraction(pair.prompt) < found.share for pair in pairs) > 0
    assert not any(prompt_fraction(pair.prompt) < found.share - 0.01 for pair in pairs)
    dataset = add(session, pairs)
    said = held_out_share.nothing_held_out(dataset, session=session)
    assert said is not None
    assert f"a held-out share of {found.share:g}, it would hold out {found.pairs} of 12 pairs" in said
    again = add(session, pairs, held=found.share)
    assert datasets.split_counts(again.id, session=session).held_out == found.pairs
    assert held_out_share.nothing_held_out(again, session=session) is None


def test_one_prompt_cannot_be_parted(session: Session) -> None:
    dataset = add(session, [Pair("Same?", f"good {i}", "bad") for i in range(5)])
    said = held_out_share.nothing_held_out(dataset, session=session)
    assert said is not None
    assert "too few prompts" in said
    assert held_out_share.least_share([]) is None


def test_pairs_that_are_all_held_out_cannot_be_trained_on(session: Session) -> None:
    alone = [Pair("Same?", "good", "bad")]
    share = prompt_fraction("Same?") + 0.01
    said = held_out_share.one_sided(add(session, alone, held=share), session=session)
    assert said is not None
    assert said.startswith("All pairs are held out")
    assert "a held-out share of 0," in said
    pairs = growing(12)
    most = max(prompt_fraction(pair.prompt) for pair in pairs) + 0.01
    found = held_out_share.least_share(pairs)
    assert found is not None
    said = held_out_share.one_sided(add(session, pairs, held=most), session=session)
    assert f"a held-out share of {found.share:g}," in str(said)
    parted = add(session, pairs, held=found.share)
    assert held_out_share.one_sided(parted, session=session) is None


def test_votes_are_all_trained_on(session: Session) -> None:
    said = held_out_share.nothing_held_out(add(session, growing(4), format="votes"), session=session)
    assert said is not None
    assert said.endswith("all votes are trained on.")
