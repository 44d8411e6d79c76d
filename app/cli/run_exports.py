"""`hypo runs export`: the trained weights, or the whole model."""

from pathlib import Path
from typing import Annotated

import typer

from app import artifacts
from app.cli.output import JsonFlag, print_json, say
from app.cli.runs import RunId
from app.errors import InvalidInput
from app.model_card import Form
from app.model_export import export_model


def export_run(
    run_id: RunId,
    output: Annotated[Path, typer.Option(help="A new folder.")],
    merged: Annotated[
        bool, typer.Option("--merged", help="The whole model, adapter merged, for transformers.")
    ] = False,
    gguf: Annotated[
        bool, typer.Option("--gguf", help="The whole model as a GGUF file, for llama.cpp.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a run's weights as a PEFT adapter (or full model) with a model card.

    With --merged or --gguf the whole model is written, loaded again, and compared with the run's model.
    """
    if merged and gguf:
        raise InvalidInput("--merged and --gguf are two exports; give one of them.", field="gguf")
    if not merged and not gguf:
        folder = artifacts.export_run(run_id, output)
        print_json({"run": run_id, "output": str(folder)}) if as_json else say(f"Written to {folder}.")
        return
    done = export_model(run_id, output, Form.GGUF if gguf else Form.MERGED)
    if as_json:
        checked = {"answers": done.answers, "difference": done.difference}
        print_json({"run": run_id, "output": str(done.folder), "checked": checked})
        return
    say(
        f"Written to {done.folder}. Loaded again, it gives {done.answers} answers the log-probabilities that "
        f"the run gives them, up to {done.difference:.1g} nats a token."
    )
