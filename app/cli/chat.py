"""`hypo chat`: ask several models the same question and read the answers."""

import sys
from typing import Annotated

import typer

from app import answers
from app.answers import Answers
from app.cli.output import JsonFlag, print_json, require_worker, say, stdout
from app.dispatch import GENERATE_QUEUE
from app.errors import Refused
from app.store.conversations import ContenderChoice, Decoding
from app.views import answers_view


def chat(
    prompt: Annotated[str, typer.Argument(help="The question; - reads it from standard input.")],
    run: Annotated[list[int] | None, typer.Option("--run", help="A run that answers; repeat it.")] = None,
    reference: Annotated[bool, typer.Option(help="Let the base model answer as well.")] = True,
    model: Annotated[str, typer.Option(help="Base model to ask when no run is named.")] = "demo",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 128,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token.")] = 0.7,
    top_p: Annotated[float, typer.Option(help="Share of the probability drawn from.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="The same for all who answer.")] = 0,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the answers.")] = 600.0,
    as_json: JsonFlag = False,
) -> None:
    """Ask runs, and their base model, the same question with the same seed."""
    require_worker(GENERATE_QUEUE)
    question = sys.stdin.read() if prompt == "-" else prompt
    choices = answers.contenders_of_runs(run or [], with_reference=reference)
    comparison = answers.begin(
        choices or [ContenderChoice(base_model=model)],
        question,
        seed=seed,
        decoding=Decoding(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p),
    )
    present = answers.wait(comparison.id, seconds=timeout)
    if as_json:
        print_json(answers_view(present))
    else:
        _print(present)
    if not present.over:
        raise Refused(f"The answers took longer than {timeout:.0f} s; raise --timeout and ask again.")
    failed = [answer for answer in present.answers if answer.error]
    if failed:
        raise Refused(str(failed[0].error))


def _print(present: Answers) -> None:
    for answer in answers_view(present)["answers"]:
        stdout.rule(f"{answer['name']}, {answer['tokens']} tokens", align="left", style="dim")
        say(answer["text"])
