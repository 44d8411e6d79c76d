"""The model card: a YAML header for the hub, results, and instructions for loading."""

from typing import Any

import pytest
import yaml
from sqlalchemy.orm import Session

from app.model_card import Form, model_card
from app.store.models import Run
from tests.app import arena


def card_of(run: Run, metrics: dict[str, float] | None = None) -> tuple[dict[str, Any], str]:
    text = model_card(run, metrics or {}, step=12)
    before, header, body = text.split("---\n", 2)
    assert before == ""
    return yaml.safe_load(header), body


@pytest.mark.parametrize(
    ("form", "said"), [(Form.TRAINED, "quantization.json"), (Form.MERGED, "rounded to 4 bits")]
)
def test_a_card_tells_4_bit_weights(session: Session, form: Form, said: str) -> None:
    run = arena.add_run(session, "hypo", base_model="org/model")
    assert "4-bit" not in model_card(run, {}, step=12, form=form)
    run.config = {**run.config, "load_in_4bit": True}
    assert said in model_card(run, {}, step=12, form=form)


def test_a_card_of_an_adapter(session: Session) -> None:
    run = arena.add_run(session, "hypo", name="My: run [1]", base_model="org/model")
    metrics = {
        "eval_rewards/margins": 0.123456,
        "eval_rewards/margins_stderr": 0.05,
        "eval_rewards/accuracies": 11 / 12,
        "eval_num_pairs": 12.0,
        "loss": 1.0,
        "eval_objective/kl": 8.79,
        "eval_objective/kl_stderr": 0.61,
        "eval_num_prompts": 16.0,
        "num_train_pairs": 3.0,
        "num_train_pairs_refused": 1.0,
    }
    header, body = card_of(run, metrics)
    assert header["base_model"] == "org/model"
    assert header["library_name"] == "peft"
    assert {"hypo", "preference-tuning"} <= set(header["tags"])
    assert "# My: run [1]" in body
    assert "trained by HyPO for 12 steps" in body
    assert run.dataset.name in body
    assert run.dataset.sha256[:12] in body
    assert "for 12 steps on 3 pairs of the dataset" in body
    assert "\n1 of 4 training pairs was left out: the chat template refuses the prompt.\n" in body
    assert "| Held-out accuracy | `eval_rewards/accuracies` | 92% (11/12) | 12 held-out pairs |" in body
    assert "| `eval_rewards/margins` | 0.12 ± 0.05 |" in body
    assert "| `eval_objective/kl` | 8.8 ± 0.6 | 16 sampled responses |" in body
    assert "`loss`" not in body
    assert "PeftModel.from_pretrained" in body


def test_a_card_holds_the_whole_configuration(session: Session) -> None:
    run = arena.add_run(session, "dpo")
    _, body = card_of(run)
    written = body.split("```yaml\n")[1].split("```")[0]
    assert yaml.safe_load(written) == run.config
    assert "Nothing was evaluated." in body


def test_the_demo_model_is_not_a_hub_id(session: Session) -> None:
    header, body = card_of(arena.add_run(session, "dpo", base_model="demo"))
    assert "base_model" not in header
    assert "SmolLM2-135M-Instruct" in body


def test_an_adapter_of_another_runs_model_says_how_to_get_that(session: Session) -> None:
    header, body = card_of(arena.add_run(session, "dpo", base_model="run:7"))
    assert "base_model" not in header
    assert "A LoRA adapter of the merged model of run 7, trained by DPO" in body
    assert "`hypo runs export 7 --merged` writes" in body


@pytest.mark.parametrize("rank", [0])
def test_full_weights_are_not_called_an_adapter(session: Session, rank: int) -> None:
    run = arena.add_run(session, "dpo", base_model="org/model")
    run.config = {**run.config, "lora_r": rank}
    header, body = card_of(run)
    assert header["library_name"] == "transformers"
    assert "A full set of weights" in body
    assert "AutoModelForCausalLM.from_pretrained(FOLDER)" in body
