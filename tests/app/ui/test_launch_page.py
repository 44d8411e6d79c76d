"""The launch page's handlers, called without a browser."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import yaml
from sqlalchemy.orm import Session

from app.presets import PRESETS
from app.run_yaml import DEFAULTS
from app.store import dataset_writing, datasets, run_judges, runs, workers
from app.store.models import Dataset
from app.ui.commands import launch_command
from app.ui.launch import form, load, opening, presets
from app.ui.launch import page as launch_page
from app.ui.launch.errors import FIELDS
from app.ui.run import page as run_page
from app.ui.updates import Updates
from hypo_engine.assignments import parse_assignments
from hypo_engine.config import Method, TrainConfig
from hypo_engine.data.formats import Kept, Pair
from tests.app import arena
from tests.app.ui.conftest import request_for
from tests.transactions import within

START = [DEFAULTS[field] for field in FIELDS]


def values(**changes: Any) -> list[Any]:
    return [changes.get(field, DEFAULTS[field]) for field in FIELDS]


def marked(shown: Updates) -> list[str]:
    """Fields with a visible message."""
    return [name for name in ("dataset", "method", "name", *FIELDS) if shown[f"{name}_message"]["visible"]]


def test_the_form_covers_every_field_of_the_schema() -> None:
    shown = {*FIELDS, "method"}
    assert shown == set(TrainConfig.model_fields)
    in_sections = [name for _, names in form.sections() for name in names]
    assert sorted([*form.names("front"), *in_sections, "insist"]) == sorted(FIELDS[1:])
    assert all(form.make(name).label for name in FIELDS[1:])


def test_help_tells_the_bounds() -> None:
    assert "(above 0, at most 10)" in form.help_text("beta")
    assert "(-1 to 10,000,000)" in form.help_text("max_steps")
    assert "(0 to 10)" in form.help_text("kl_coef")
    assert "below 0.5" in form.help_text("label_smoothing")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid(name: str) -> None:
    assert form.check({**DEFAULTS, **PRESETS[name].values}, [Method.DPO, Method.HYPO]) == {}


def test_a_preset_fills_the_form_and_leaves_the_model() -> None:
    filled = presets.use_preset("quick")
    assert PRESETS["quick"].description in filled["about"]
    assert "model_name_or_path" not in filled
    assert filled["max_steps"] == 10


def test_the_command_says_the_same_as_the_form() -> None:
    config = {
        **DEFAULTS,
        "beta": 0.05,
        "learning_rate": 1.23456789e-05,
        "precompute_ref_log_probs": False,
        "max_steps": 20,
    }
    command = launch_command("twins", "pairs@1", config, name="it's mine")
    words = command.replace("\\\n", " ").split()
    given = [word for before, word in pairwise(words) if before == "--set"]
    assert {**DEFAULTS, **parse_assignments(given)} == config
    assert command.startswith("hypo runs launch")


def test_a_good_form_queues_twins_and_goes_there(session: Session, dataset: Dataset) -> None:
    given = values(max_steps=3)
    shown = launch_page.launch_runs(None, dataset.id, "twins", "", *given)
    queued = runs.find(session=session)
    assert sorted(run.method for run in queued) == ["dpo", "hypo"]
    assert {run.config["max_steps"] for run in queued} == {3}
    assert f'data-next="run?id={min(run.id for run in queued)}"' in shown["outcome"]
    assert (shown["go"]["interactive"], shown["refused"]) == (False, "")
    assert marked(shown) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"beta": 0}, "beta"),
        ({"per_device_train_batch_size": 2.5}, "per_device_train_batch_size"),
        ({"learning_rate": None}, "learning_rate"),
        ({"learning_rate": "1e-4x"}, "learning_rate"),
        ({"learning_rate": ""}, "learning_rate"),
        ({"model_name_or_path": ""}, "model_name_or_path"),
        ({"precision": "int3"}, "precision"),
    ],
)
def test_a_bad_value_is_told_beside_its_field_and_queues_nothing(
    session: Session, dataset: Dataset, changes: dict[str, Any], field: str
) -> None:
    shown = launch_page.launch_runs(None, dataset.id, "twins", "", *values(**changes))
    folded = any(field in names for _, names in form.sections())
    assert shown.get("advanced") == (gr.update(open=True) if folded else None)
    assert ("Nothing was queued" in shown["outcome"], shown["refused"]) == (True, "yes")
    assert marked(shown) == [field]
    assert form.title(field) in shown[f"{field}_message"]["value"]
    assert form.title(field) in shown["outcome"]
    assert runs.find(session=session) == []


def test_a_judge_is_given_to_each_run_or_told_beside_its_field(session: Session, dataset: Dataset) -> None:
    given = values(eval_prompts=4)
    shown = launch_page.launch_runs(None, dataset.id, "twins", "", *given, judge="no such")
    assert "Judge: scorer must be" in shown["judge_message"]["value"]
    assert shown["judging"]["open"] is True
    assert "--judge vader" in launch_page.preview(dataset.id, "dpo", "", *given, judge="vader")["command"]
    launch_page.launch_runs(None, dataset.id, "twins", "", *given, judge=" vader ", user="ann")
    found = [run_judges.of_run(run.id, session=session) for run in runs.find(session=session)]
    assert [[judge.name for judge in each] for each in found] == [["vader"], ["vader"]]
    kept = opening.open_page({"judge": "vader"}, request_for())["judge"]
    assert (kept["value"], "No endpoint is configured" in kept["info"]) == ("vader", True)
    assert opening.open_page({"judge": "gone"}, request_for())["judge"]["value"] == ""


def test_a_sweep_is_counted_queued_and_opened_at_its_frontier(session: Session, dataset: Dataset) -> None:
    given, sweep = values(max_steps=3), "beta=0.03,0.1\n\nkl_coef=0,0.01"
    shown = launch_page.preview(dataset.id, ["dpo", "hypo"], "", *given, sweep=sweep)
    assert shown["go"]["value"] == "Launch 6 runs"
    assert "6 runs" in shown["summary"]
    assert "--sweep beta=0.03,0.1" in shown["command"]
    assert f"beta: {DEFAULTS['beta']}\n" in shown["yaml"]
    assert (
        "--trials 3" in launch_page.preview(dataset.id, "hypo", "", *given, sweep=sweep, trials=3)["command"]
    )
    kept = opening.open_page({**shown["draft"], "trials": 99}, request_for())
    assert (kept["sweep"], kept["trials"]) == (sweep, None)
    queued = launch_page.launch_runs(None, dataset.id, "hypo", "", *given, sweep=sweep)
    assert 'data-next="runs?compare=1%2C2%2C3%2C4&amp;tab=frontier"' in queued["outcome"]
    wrong = launch_page.launch_runs(None, dataset.id, "hypo", "", *given, sweep="betta=1")
    assert "no setting named betta" in wrong["sweep_message"]["value"]
    assert wrong["sweeping"]["open"] is True
    worse = launch_page.preview(dataset.id, "hypo", "", *given, sweep="beta=-1,1")
    assert "beta" in worse["sweep_message"]["value"]
    assert len(runs.find(session=session)) == 4


def test_a_model_that_cannot_be_trained_is_told_beside_it(
    session: Session, dataset: Dataset, tmp_path: Path
) -> None:
    model = tmp_path / "encoder"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "bert"}')
    given = values(model_name_or_path=str(model))
    shown = launch_page.launch_runs(None, dataset.id, "twins", "", *given)
    message = shown["model_name_or_path_message"]
    assert "Nothing was queued" in shown["outcome"]
    assert (message["visible"], "is not a causal language model" in message["value"]) == (True, True)
    assert "Correct first: Base model" in launch_page.preview(dataset.id, "twins", "", *given)["summary"]
    assert runs.find(session=session) == []


def test_fractions_are_typed_as_text(session: Session, dataset: Dataset) -> None:
    launch_page.launch_runs(None, dataset.id, "dpo", "", *values(learning_rate="5e-5", beta="0.25"))
    [run] = runs.find(session=session)
    assert (run.config["learning_rate"], run.config["beta"]) == (5e-5, 0.25)
    said = launch_page.launch_runs(None, dataset.id, "dpo", "", *values(learning_rate="1,5"))
    message = said["learning_rate_message"]["value"]
    assert "must be a number above 0 and at most 1, not 1,5" in message


def test_no_field_of_the_form_steps_a_fraction_by_one() -> None:
    for name, field in TrainConfig.model_fields.items():
        if name in form.names() and field.annotation is float:
            assert isinstance(form.make(name), gr.Textbox), name
            assert "hy-ratio" in form.make(name).elem_classes
            assert float(form.make(name).value) == field.default


def test_fields_that_the_method_does_not_read_are_neither_checked_nor_set(
    session: Session, dataset: Dataset
) -> None:
    given = values(beta="wrong", kl_coef=0.5, reward="length")
    shown = launch_page.preview(dataset.id, "sft", "", *given)
    assert "Correct first" not in shown["summary"]
    assert "kl_coef" not in shown["command"]
    assert shown["draft"]["values"]["beta"] == "wrong"  # as it stands in the hidden field
    launch_page.launch_runs(None, dataset.id, "sft", "", *given)
    [run] = runs.find(session=session)
    assert (run.config["beta"], run.config["reward"]) == (DEFAULTS["beta"], "length")


def test_a_scored_method_asks_for_a_reward_beside_the_field(session: Session, dataset: Dataset) -> None:
    for reward, problem in ((None, "RLOO needs one"), ("", "RLOO needs one"), ("run:7", "There is no run 7")):
        shown = launch_page.launch_runs(None, dataset.id, "rloo", "", *values(reward=reward))
        assert marked(shown) == ["reward"]
        assert problem in shown["reward_message"]["value"]
    assert runs.find(session=session) == []


def test_several_methods_train_their_reward_model_first(session: Session, dataset: Dataset) -> None:
    chosen, given = ["rloo", "dpo", "hypo"], values(reward="train", num_generations=2, max_steps=3)
    shown = launch_page.preview(dataset.id, chosen, "", *given)
    assert "A reward model, a DPO run, a HyPO run and an RLOO run</b> of 3 steps" in shown["summary"]
    assert "HyPO and RLOO sample 22 responses each." in shown["summary"]
    assert "The reward model is trained first, on the same pairs." in shown["summary"]
    assert "--method dpo,hypo,rloo" in shown["command"]
    assert "--set reward=train" in shown["command"]
    assert yaml.safe_load(shown["yaml"])["method"] == "dpo,hypo,rloo"
    assert shown["go"]["value"] == "Launch 4 runs"
    assert marked(shown) == []
    launched = launch_page.launch_runs(None, dataset.id, chosen, "", *given)
    reward, *others = sorted(runs.find(session=session), key=lambda run: run.id)
    assert [run.method for run in (reward, *others)] == ["reward", "dpo", "hypo", "rloo"]
    assert {run.depends_on_id for run in others} == {reward.id}
    assert f'data-next="run?id={reward.id}"' in launched["outcome"]


@pytest.mark.parametrize(
    ("chosen", "why"),
    [([], "Choose a method, or several to compare."), ([*Method], "a launch trains at most 5")],
)
def test_a_bad_choice_of_methods_is_told_beside_it(
    session: Session, dataset: Dataset, chosen: list[str], why: str
) -> None:
    for shown in (
        launch_page.preview(dataset.id, chosen, "", *START),
        launch_page.launch_runs(None, dataset.id, chosen, "", *START),
    ):
        assert marked(shown) == ["method"]
        assert why in shown["method_message"]["value"]
    assert runs.find(session=session) == []


def test_no_dataset_queues_nothing(session: Session) -> None:
    assert "(Dataset)" in launch_page.launch_runs(None, None, "dpo", "", *START)["outcome"]
    assert runs.find(session=session) == []


def test_preview_follows_the_form(session: Session, dataset: Dataset) -> None:
    shown = launch_page.preview(dataset.id, "hypo", "mine", *values(beta=0.3))
    assert "A HyPO run" in shown["summary"]
    assert "It minimises DPO&#39;s loss plus a KL penalty on sampled responses." in shown["summary"]
    assert "--set beta=0.3" in shown["command"]
    assert "--dataset pairs@1" in shown["command"]
    assert yaml.safe_load(shown["yaml"])["beta"] == 0.3
    assert shown["draft"]["values"]["beta"] == 0.3
    assert shown["go"]["value"] == "Launch"


def test_opening_a_clone_takes_over_everything(session: Session, dataset: Dataset) -> None:
    launch_page.launch_runs(None, dataset.id, "dpo", "first", *values(beta=0.7, seed=5))
    [run] = runs.find(session=session)
    opened = opening.open_page({}, request_for(clone=run.id))
    assert opened["dataset"]["value"] == dataset.id
    assert (opened["method"], opened["name"], opened["parent"]) == (["dpo"], "first (2)", run.id)
    assert (opened["beta"], opened["seed"]) == (0.7, 5)


@pytest.mark.parametrize(("device", "preset"), [(None, "quick"), ("CPU, 2 threads", "quick"), ("H100", None)])
def test_the_form_starts_with_what_suits_the_machine(
    session: Session, dataset: Dataset, device: str | None, preset: str | None
) -> None:
    if device:
        workers.beat("w", session=session, queues="train", device=device, has_gpu=device == "H100")
        session.commit()
    opened = opening.open_page({}, request_for())
    assert opened["preset"] == preset
    assert opened["max_steps"] == (10 if preset else -1)
    fresh = presets.defaults()
    assert fresh["preset"] == preset
    assert all(fresh[field] == opened[field] for field in FIELDS[1:])
    kept = opening.open_page({"values": {"max_steps": 77}}, request_for())
    assert (kept["preset"], kept["max_steps"]) == (None, 77)


def test_the_summary_counts_training_pairs_in_the_database(session: Session, dataset: Dataset) -> None:
    counts = datasets.split_counts(dataset.id, session=session)
    assert 0 < counts.train < 12
    summary = launch_page.preview(dataset.id, "dpo", "", *values(num_train_epochs=2.0))["summary"]
    assert f"on {counts.train} training pairs, 4 a step; two epochs: every pair is seen twice" in summary
    assert "No pairs are held out" not in summary
    summary = launch_page.preview(dataset.id, "dpo", "", *values(gradient_accumulation_steps=8))["summary"]
    assert f"A step asks for 32 pairs, more than the {counts.train} there are" in summary


def test_a_dataset_that_holds_nothing_out_says_so_on_every_page(session: Session) -> None:
    pairs = [Kept(row=i, pair=Pair(f"Question {i}?", "good", "bad")) for i in range(1, 9)]
    made = dataset_writing.create(
        write=within(session),
        name="all",
        sha256="0" * 64,
        format="explicit",
        source="t",
        held_out=0,
        pairs=pairs,
    )
    session.commit()
    assert "No pairs are held out" in launch_page.preview(made.id, "dpo", "", *START)["summary"]
    nothing = values(eval_pairs=0, eval_prompts=0, probe_prompts=0)
    assert "No pairs are held out" not in launch_page.preview(made.id, "dpo", "", *nothing)["summary"]
    launch_page.launch_runs(None, made.id, "dpo", "", *START)
    [run] = runs.find(session=session)
    shown = run_page.refresh((), "steps", 0, run_page.LATEST, 1, request_for(id=run.id))
    assert "Added again with a held-out share of" in shown["status"]


def test_opening_from_a_runs_model(session: Session, dataset: Dataset) -> None:
    run = arena.add_run(session, name="taught")
    arena.add_run(session, "reward", name="judge")
    session.commit()
    shown = opening.open_page(None, request_for(start=f"run:{run.id}", dataset=str(dataset.id)))
    assert shown["model_name_or_path"]["value"] == f"run:{run.id}"
    assert shown["model_name_or_path"]["choices"] == [
        ("demo", "demo"),
        (f"Run {run.id}: taught", f"run:{run.id}"),
    ]
    assert "which is then its reference" in str(shown["outcome"])
    shown = opening.open_page(None, request_for(start="run:x"))
    assert shown["model_name_or_path"]["value"] == "demo"
    draft = {"values": {"model_name_or_path": f"run:{run.id}"}}
    shown = opening.open_page(draft, request_for(start="some/base"))
    assert shown["model_name_or_path"]["value"] == "some/base"


def test_opening_a_draft_and_an_unknown_clone(session: Session, dataset: Dataset) -> None:
    draft = {"dataset": 99, "method": "hypo", "name": "d", "values": {"beta": 0.4, "gone": 1}}
    opened = opening.open_page(draft, request_for(clone=77))
    assert "no run 77" in opened["outcome"]
    assert opened["dataset"]["value"] == dataset.id
    assert opened["beta"] == 0.4


def test_yaml_fills_the_form(session: Session, dataset: Dataset) -> None:
    text = "dataset: pairs\nmethod: dpo\nbeta: 5e-2\n"
    filled = load.fill(text, None, "twins", "kept", *START)
    assert (filled["dataset"], filled["method"], filled["name"]) == (dataset.id, ["dpo"], "kept")
    assert filled["beta"] == 0.05


@pytest.mark.parametrize("text", ["method: grpo", "dataset: nowhere", "beta: [", "nonsense: 1"])
def test_yaml_that_does_not_fit_leaves_the_form(session: Session, text: str) -> None:
    filled = load.fill(text, 1, "twins", "", *START)
    assert "hy-error" in filled["yaml_message"]
    assert filled.keys() == {"yaml_message"}


def test_a_bad_value_in_yaml_is_told(session: Session) -> None:
    filled = load.fill("beta: -3\nprecision: int3", None, "twins", "", *START)
    assert "beta must be a number above 0 and at most 10, not -3" in filled["yaml_message"]
    assert filled["beta"] == -3
    assert filled["precision"] == "auto"


def test_a_file_that_is_no_text(session: Session, tmp_path: Any) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in load.fill_from_file(str(file), 1, "twins", "", *START)["yaml_message"]


def test_only_a_refusal_is_forgotten_when_the_form_changes() -> None:
    assert launch_page.forget_refusal("yes") == ("", "")
    for refused in (None, ""):
        assert launch_page.forget_refusal(refused) == (gr.skip(), gr.skip())
