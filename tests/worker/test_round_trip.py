"""Runs -> answers -> votes -> a file that the next run, TRL and PEFT can read."""

import math
from pathlib import Path

import pytest

from app import answers, artifacts, judges
from app.errors import InvalidInput
from app.exports.labels import export_labels, use_as_dataset
from app.exports.options import Options
from app.imports import add_dataset
from app.store import datasets, runs
from app.store.conversations import Decoding
from app.store.db import read_session, write_session
from app.store.enums import RunStatus, VerdictStatus
from tests.app import campaign_setup
from tests.worker.conftest import TINY_RUN, Launcher, answer_all
from worker.scoring import score_next
from worker.training import train_next


@pytest.fixture
def voted(launch_tiny: Launcher) -> list[int]:
    """Twins, and four votes on their answers, one of them a tie."""
    twins = launch_tiny("twins")
    while train_next(worker="here:1:train"):
        continue
    contenders = answers.contenders_of_runs(twins, with_reference=True)[:2]
    for seed in range(4):
        comparison = answers.begin(
            contenders, f"Question {seed}?", seed=seed, decoding=Decoding(max_new_tokens=12, temperature=1.0)
        )
        answer_all()
        first, second = answers.look(comparison.id).answers
        assert first.text.strip() != second.text.strip()
        answers.vote(comparison.id, "tie" if seed == 3 else "AB"[seed % 2])
    return twins


@pytest.mark.filterwarnings("ignore")  # from third-party trainers
def test_trl_takes_steps_on_exported_files(voted: list[int], tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

    for format, options, config, trainer_class, rows in (
        ("trl", Options(), DPOConfig, DPOTrainer, 3),
        ("trl", Options(merge=True), DPOConfig, DPOTrainer, 3),  # with weight, margin and soft label
        ("kto", Options(), KTOConfig, KTOTrainer, 6),
    ):
        exported, _ = export_labels(format, "jsonl", folder=tmp_path, options=options)
        assert (exported.rows, exported.left_out["ties"]) == (rows, 1)
        model = AutoModelForCausalLM.from_pretrained(tiny_model)
        before = {name: weight.clone() for name, weight in model.named_parameters()}
        trainer = trainer_class(
            model,
            args=config(
                output_dir=str(tmp_path / format),
                max_steps=2,
                learning_rate=1e-2,
                per_device_train_batch_size=2,
                report_to=[],
                use_cpu=True,
                bf16=False,
                save_strategy="no",
            ),
            train_dataset=load_dataset(
                "json", data_files=str(exported.path), split="train", cache_dir=str(tmp_path / "hf")
            ),
            processing_class=AutoTokenizer.from_pretrained(tiny_model),
        )
        assert trainer.train().global_step == 2
        assert any(not torch.equal(weight, before[name]) for name, weight in model.named_parameters())


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_an_exported_file_is_a_dataset_as_it_stands(voted: list[int], kind: str, tmp_path: Path) -> None:
    exported, _ = export_labels("trl", kind, folder=tmp_path)
    with write_session() as session:
        from_file = add_dataset(path=exported.path, name="from file", held_out=0)
    in_one_click = use_as_dataset("in one click")
    with read_session() as session:
        pairs = [
            list(datasets.iter_pairs(dataset.id, session=session)) for dataset in (from_file, in_one_click)
        ]
    assert len(pairs[0]) == 3
    assert pairs[0] == pairs[1]
    judged, _ = export_labels("kto", kind, folder=tmp_path)
    with write_session() as session:
        single = add_dataset(path=judged.path, name="judged", held_out=0)
    with read_session() as session:
        found = list(datasets.iter_pairs(single.id, session=session))
    assert [pair.answers for pair in found] == [(text,) for pair in pairs[0] for text in pair.answers]
    assert [bool(pair.chosen) for pair in found] == [True, False] * 3


def test_votes_train_the_next_run(voted: list[int], tiny_model: Path) -> None:
    next_dataset = use_as_dataset("votes")
    [run_id] = Launcher(next_dataset.id, tiny_model)("hypo", max_completion_length=40)
    train_next(worker="here:1:train")
    with read_session() as session:
        assert runs.get(run_id, session=session).status is RunStatus.FINISHED


def test_the_reward_model_of_a_run_scores_the_samples_of_the_next(launch_tiny: Launcher) -> None:
    [reward] = launch_tiny("reward")
    train_next(worker="here:1:train")
    [scored] = launch_tiny("rloo", reward=f"run:{reward}")
    train_next(worker="here:1:train")
    with read_session() as session:
        assert runs.get(scored, session=session).status is RunStatus.FINISHED
        last = runs.final_metrics(scored, session=session)
        assert math.isfinite(last["eval_objective/scores"])
        assert math.isfinite(last["objective/rlhf_reward"])
    with pytest.raises(InvalidInput, match=f"run {scored} trained no reward model"):
        launch_tiny("dpo", reward=f"run:{scored}")
    with pytest.raises(InvalidInput, match="no run 4711"):
        launch_tiny("dpo", reward="run:4711")
    judge = judges.start(campaign_setup.ready(), scorer=f"run:{reward}")
    while score_next(worker="here:1:generate"):
        continue
    assert judges.report(judge).counts[VerdictStatus.JUDGED] == 2


@pytest.mark.filterwarnings("ignore")  # PEFT's, because the base model's folder is no hub id
def test_peft_loads_an_exported_adapter(voted: list[int], tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = artifacts.export_run(voted[1], tmp_path / "adapter")
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    ids = torch.tensor([[5, 6, 7]])
    plain = base(ids).logits
    adapted = PeftModel.from_pretrained(base, folder)
    assert not torch.equal(adapted(ids).logits, plain)
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: peft")
    assert "eval_objective/kl" in card
    assert str(TINY_RUN["learning_rate"]) in card
