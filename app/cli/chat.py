"""`hypo chat`: ask several models the same question and read the answers."""

import sys
from typing import Annotated

import typer

from app import answers
from app.answers import Answers
from app.cli.output import JsonFlag, plain, print_json, require_worker, say, stderr, stdout
from app.dispatch import GENERATE_QUEUE
from app.errors import InvalidInput, Refused
from app.held_out import HeldOutPrompt, random_prompt
from app.store.conversations import ContenderChoice, Decoding
from app.views import answers_view


def chat(
    prompt: Annotated[
        str | None, typer.Argument(help="The question; - reads it from standard input. Not with --held-out.")
    ] = None,
    run: Annotated[
        list[int] | None, typer.Option("--run", help="A run that answers; may be repeated.")
    ] = None,
    reference: Annotated[bool, typer.Option(help="Let the base model answer as well.")] = True,
    model: Annotated[str, typer.Option(help="Base model to ask when no run is named.")] = "demo",
    held_out: Annotated[
        bool,
        typer.Option("--held-out", help="Ask a held-out prompt from the runs' data, with its history."),
    ] = False,
    blind: Annotated[
        bool, typer.Option("--blind/--names", help="Hide the names until you vote, or show them at once.")
    ] = True,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 128,
    temperature: Annotated[float, typer.Option(min=0, help="0 always takes the most likely token.")] = 0.7,
    top_p: Annotated[
        float, typer.Option(help="Sample from the likeliest tokens that reach this probability.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Random seed, the same for all answers.")] = 0,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the answers.")] = 600.0,
    as_json: JsonFlag = False,
) -> None:
    """Ask runs and their base model the same question with the same seed; vote with `hypo labels vote`."""
    require_worker(GENERATE_QUEUE)
    choices = answers.contenders_of_runs(run or [], with_reference=reference)
    choices = choices or [ContenderChoice(base_model=model)]
    asked = _prompt(prompt, held_out, choices)
    if not as_json:
        _print_opening(asked)
    comparison = answers.begin(
        choices,
        asked.question,
        blind=blind,
        seed=seed,
        decoding=Decoding(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p),
        opening=asked.opening,
    )
    present = _followed(comparison.id, timeout, tell=not as_json)
    if as_json:
        print_json({"opening": asked.opening, "question": asked.question, **answers_view(present)})
    else:
        _print(present)
    if not present.over:
        raise Refused(f"The answers took longer than {timeout:.0f} s; raise --timeout and ask again.")
    failed = [answer for answer in answers_view(present)["answers"] if answer["error"]]
    if failed:
        raise Refused(str(failed[0]["error"]))


def _prompt(prompt: str | None, held_out: bool, choices: list[ContenderChoice]) -> HeldOutPrompt:
    """The question to ask: the given one, or a held-out prompt with the messages before its question."""
    if held_out and prompt is not None:
        raise InvalidInput("Give a question or --held-out, not both.", field="prompt")
    if held_out:
        return random_prompt(choices)
    if prompt is None:
        raise InvalidInput("Give a question, or --held-out.", field="prompt")
    return HeldOutPrompt([], sys.stdin.read() if prompt == "-" else prompt)


def _followed(comparison_id: int, timeout: float, *, tell: bool) -> Answers:
    """The answers once all are written or the time is up; what they wait for is told when it lasts."""
    before = told = ""
    for present in answers.follow(comparison_id, seconds=timeout):
        waiting = next(filter(None, present.waits), "")
        if tell and waiting and waiting == before != told:
            stderr.print(plain(f"{waiting[0].upper()}{waiting[1:]}."), style="dim")
            told = waiting
        before = waiting
    return present


def _print_opening(asked: HeldOutPrompt) -> None:
    for message in asked.opening:
        stdout.rule(plain(message["role"]), align="left", style="dim")
        say(message["content"])
    if asked.opening:
        stdout.rule("question", align="left", style="dim")
        say(asked.question)


def _print(present: Answers) -> None:
    for answer in answers_view(present)["answers"]:
        who = f"{answer['letter']}: {answer['name'] or 'name hidden'}"
        stdout.rule(plain(f"{who}, {answer['tokens']} tokens"), align="left", style="dim")
        say(answer["text"])
    if len(present.answers) > 1:
        vote = f"hypo labels vote {present.comparison_id}"
        say(present.problem or f'Vote with `{vote} A`, or with B, tie, or "both bad".')
