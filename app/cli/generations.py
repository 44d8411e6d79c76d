"""`hypo generations`: search generated texts, show one, compare two."""

from typing import Annotated

import typer

from app import generations
from app.cli.output import JsonFlag, print_json, print_table, say, stderr
from app.generations import generation_view
from app.store.enums import GenerationKind
from app.store.generation_filter import GenerationFilter, GenerationOrigin, GenerationSort, Place
from app.text import MAX_ID, read_id

cli = typer.Typer(help="Generated texts, wherever they were made.", no_args_is_help=True)

COLUMNS = ("id", "kind", "name", "step", "tokens", "log_ratio", "score")
GenerationId = Annotated[int, typer.Argument(min=1, max=MAX_ID, help="The generation's number.")]


@cli.command("list")
def list_command(
    text: Annotated[
        str, typer.Argument(help='Words of the text; "a phrase", -word leaves out, wor* begins a word.')
    ] = "",
    prompt: Annotated[str, typer.Option(help="Words of the prompt, or #12 for prompt 12.")] = "",
    run: Annotated[
        list[int] | None, typer.Option(min=1, max=MAX_ID, help="Only this run's; repeatable.")
    ] = None,
    kind: Annotated[list[GenerationKind] | None, typer.Option(help="Only this kind; repeatable.")] = None,
    first_step: Annotated[int | None, typer.Option(min=0, max=MAX_ID, help="Only from this step on.")] = None,
    last_step: Annotated[int | None, typer.Option(min=0, max=MAX_ID, help="Only up to this step.")] = None,
    origin: Annotated[GenerationOrigin | None, typer.Option(help="Where the text was generated.")] = None,
    campaign: Annotated[
        int | None, typer.Option(min=1, max=MAX_ID, help="Only this campaign's answers.")
    ] = None,
    sort: Annotated[GenerationSort, typer.Option(help="What to sort by, the highest first.")] = (
        GenerationSort.NEWEST
    ),
    ascending: Annotated[bool, typer.Option("--ascending", help="The lowest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of texts to list.")] = 50,
    after: Annotated[str, typer.Option(help="Continue a list, from where it said.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """List generated texts: samples of runs, chats, and answers of campaigns whose names you saw.

    Answers that you may still judge blind are not listed.
    """
    number = read_id(prompt[1:]) if prompt.startswith("#") else None
    only = GenerationFilter(
        text=text,
        prompt_text="" if number is not None else prompt,
        prompt_id=number,
        run_ids=tuple(run or ()),
        kinds=tuple(kind or ()),
        first_step=first_step,
        last_step=last_step,
        origin=origin,
        campaign_id=campaign,
    )
    found = generations.find(only, sort=sort, ascending=ascending, limit=limit, after=Place.read(after))
    views = [generation_view(one) for one in found.items]
    if as_json:
        print_json(views)
    else:
        print_table(
            [*COLUMNS, "text"],
            ([_cell(view[key]) for key in COLUMNS] + [" ".join(view["text"].split())[:80]] for view in views),
            empty="No generated text matches." if not only.is_empty else "Nothing was generated yet.",
        )
    if found.next is not None:
        stderr.print(f"There are more: --after={found.next} lists them.", markup=False)


@cli.command("show")
def show_command(generation: GenerationId, as_json: JsonFlag = False) -> None:
    """Show one generated text with its prompt, its numbers and its origin."""
    view = generation_view(generations.get(generation))
    if as_json:
        print_json(view)
        return
    for name, value in view.items():
        if name not in ("prompt", "text") and value is not None:
            say(f"{name}: {value}")
    prompt = view["prompt"]
    turns = [{"role": "prompt", "content": prompt}] if isinstance(prompt, str) else prompt
    for turn in [*turns, {"role": "answer", "content": view["text"]}]:
        say(f"\n[{turn['role']}]\n{turn['content']}")


@cli.command("compare")
def compare_command(
    first: GenerationId,
    second: GenerationId,
    as_json: JsonFlag = False,
) -> None:
    """Make a comparison of two answers to the same prompt, on which people can vote."""
    comparison = generations.compare([first, second])
    if as_json:
        print_json({"comparison_id": comparison.id, "conversation_id": comparison.conversation_id})
        return
    say(
        f"Comparison {comparison.id} is on the compare page (compare?conversation="
        f"{comparison.conversation_id}); `hypo labels vote {comparison.id} A` votes."
    )


def _cell(value: object) -> object:
    return f"{value:.3g}" if isinstance(value, float) else value
