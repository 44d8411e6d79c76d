"""`hypo score`: log-probabilities of a text, or of a stored answer, under models and their reference."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from app import answer_tokens, answers, scored_texts
from app.cli.output import JsonFlag, print_json, print_table, require_worker, say
from app.dispatch import GENERATE_QUEUE
from app.errors import InvalidInput, Refused
from app.store.conversations import ContenderChoice
from app.token_views import opened_view, scores_view

LOOK_EVERY_SECONDS = 0.2


def score(
    prompt: Annotated[
        str | None, typer.Argument(help="The question that the text answers. Not with --answer.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="The text; - reads it from standard input.")] = None,
    file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A file with the text.")
    ] = None,
    run: Annotated[
        list[int] | None, typer.Option("--run", help="A run that scores the text; may be repeated.")
    ] = None,
    checkpoint: Annotated[
        list[int] | None,
        typer.Option("--checkpoint", help="An earlier checkpoint that does; may be repeated."),
    ] = None,
    model: Annotated[str, typer.Option(help="Base model to score with when no run is named.")] = "demo",
    as_text: Annotated[
        bool, typer.Option("--as-text", help="The prompt is plain text to continue, not a message.")
    ] = False,
    answer: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="Id of a stored answer or sample to score.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the scores.")] = 600.0,
    as_json: JsonFlag = False,
) -> None:
    """Score a text as the answer to a prompt: log-probability, perplexity, and log-ratio to the reference."""
    if answer is not None:
        if prompt or text or file or run or checkpoint:
            raise InvalidInput(
                "--answer names a prompt, a text and a model; leave the others out.", field="answer"
            )
        _score_answer(answer, timeout, as_json=as_json)
        return
    if prompt is None:
        raise InvalidInput("Give the question that the text answers, or --answer.", field="prompt")
    require_worker(GENERATE_QUEUE)
    choices = answers.contenders_of_runs(run or [], with_reference=False, checkpoint_ids=checkpoint or [])
    number = scored_texts.score(
        choices or [ContenderChoice(base_model=model)], prompt, _text(text, file), as_text=as_text
    )
    view = _wait(lambda: scores_view(scored_texts.look(number)), timeout)
    if as_json:
        print_json(view)
    else:
        _print(view)
    failed = [one["scoring"]["error"] for one in view["contenders"] if one["scoring"]["error"]]
    if failed:
        raise Refused(str(failed[0]))


def _text(text: str | None, file: Path | None) -> str:
    if (text is None) == (file is None):
        raise InvalidInput("Give the text with --text or with --file.", field="text")
    if file is not None:
        return file.read_text(encoding="utf-8", errors="replace")
    return sys.stdin.read() if text == "-" else str(text)


def _score_answer(generation_id: int, timeout: float, *, as_json: bool) -> None:
    require_worker(GENERATE_QUEUE)
    answer_tokens.want(generation_id)
    view = _wait(lambda: opened_view(answer_tokens.look(generation_id)), timeout)
    scoring = view["scoring"]
    if as_json:
        print_json(view)
    elif not scoring["error"]:
        _print({"contenders": [{**view["author"], "scoring": scoring}]})
        print_table(
            ("token", "log p, policy", "log p, reference", "log-ratio"),
            [
                (
                    _visible(token["text"]),
                    _number(token["policy"]),
                    _number(token["reference"]),
                    _ratio(token),
                )
                for token in scoring["tokens"]
            ],
            empty="The answer is empty.",
        )
    if scoring["error"]:
        raise Refused(str(scoring["error"]))


def _wait(look: Any, timeout: float) -> dict[str, Any]:
    end = time.monotonic() + timeout
    while True:
        view: dict[str, Any] = look()
        scorings = (
            [one["scoring"] for one in view["contenders"]] if "contenders" in view else [view["scoring"]]
        )
        if all(one["status"] != "queued" for one in scorings):
            return view
        if time.monotonic() >= end:
            raise Refused(
                f"Scoring took longer than {timeout:.0f} s; raise --timeout and repeat the command."
            )
        time.sleep(LOOK_EVERY_SECONDS)


def _print(view: dict[str, Any]) -> None:
    """A row for each contender that was scored, with its reference's sums beside it."""
    rows = [
        (
            one["name"],
            len(one["scoring"]["tokens"]),
            _number(one["scoring"]["policy"]["logp"], 1),
            _number(one["scoring"]["policy"]["mean_logp"]),
            _number(one["scoring"]["policy"]["perplexity"]),
            _number(one["scoring"]["reference"]["logp"], 1),
            _number(one["scoring"]["log_ratio"]),
        )
        for one in view["contenders"]
        if not one["scoring"]["error"]
    ]
    columns = ("model", "tokens", "log p", "mean", "perplexity", "log p, reference", "log-ratio")
    print_table(columns, rows, empty="Nothing could be scored.")
    if rows:
        say("Log-probabilities are in nats and include the token that ends the answer.")


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _ratio(token: dict[str, Any]) -> str:
    known = token["policy"] is not None and token["reference"] is not None
    return f"{token['policy'] - token['reference']:+.2f}" if known else "–"


def _visible(text: str) -> str:
    return text.replace("\n", "↵").replace("\t", "⇥")
