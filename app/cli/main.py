"""`hypo`: the entry point of the command line, and the commands that start processes."""

import os
import sys
from typing import Annotated

import typer
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from app import migrate
from app.cli import cache, campaigns, datasets, generations, judge, labels, reports, runs, tokens
from app.cli.board import board
from app.cli.chat import chat
from app.cli.endpoints import endpoints
from app.cli.lineage import lineage
from app.cli.mcp import mcp
from app.cli.output import JsonFlag, plain, print_json, say, stderr
from app.cli.run_exports import export_run
from app.cli.score import score
from app.cli.train import train
from app.cli.workers import workers
from app.dispatch import ENDPOINTS_QUEUE, QUEUES
from app.environment import keep_private
from app.errors import AppError, Refused
from app.settings import get_settings
from hypo_engine.errors import EngineError

cli = typer.Typer(
    name="hypo",
    help="HyPO Studio: launch DPO and HyPO runs, compare the models, vote on their answers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
db = typer.Typer(help="The database.", no_args_is_help=True)
cli.add_typer(db, name="db")
cli.add_typer(datasets.cli, name="datasets")
cli.add_typer(runs.cli, name="runs")
cli.add_typer(generations.cli, name="generations")
cli.add_typer(campaigns.cli, name="campaigns")
cli.add_typer(judge.cli, name="judge")
cli.add_typer(labels.cli, name="labels")
cli.add_typer(reports.cli, name="reports")
cli.add_typer(cache.cli, name="cache")
cli.add_typer(tokens.cli, name="tokens")
runs.cli.command("export")(export_run)
cli.command()(chat)
cli.command()(board)
cli.command()(score)
cli.command()(lineage)
cli.command()(train)
cli.command()(workers)
cli.command()(endpoints)
cli.command()(mcp)


@cli.command()
def up(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; by default HYPO_HOST, or this machine only.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port; by default HYPO_PORT, or 7860; 0 picks a free one.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Queue the demo experiment and show its progress.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Start everything: migrations, broker, workers and the web app; Ctrl-C stops it."""
    from app.local.up import run_up

    settings = get_settings()
    run_up(
        settings,
        host=settings.host if host is None else host,
        port=settings.port if port is None else port,
        demo=demo,
        as_json=as_json,
    )


@cli.command()
def worker(
    queues: Annotated[str, typer.Option(help="Queues to serve, separated by commas.")] = ",".join(QUEUES),
    as_json: JsonFlag = False,
) -> None:
    """Start one worker process. It needs a broker: HYPO_BROKER_URL, or a running `hypo up`."""
    from app.dispatch import broker_url

    known = (*QUEUES, ENDPOINTS_QUEUE)
    unknown = set(queues.split(",")) - set(known)
    if unknown:
        raise Refused(f"There is no queue {sorted(unknown)[0]!r}; the queues are {', '.join(known)}.")
    if broker_url(get_settings()) is None:
        raise Refused("There is no broker: set HYPO_BROKER_URL, or start the app with `hypo up` first.")
    if as_json:
        print_json({"pid": os.getpid(), "queues": queues.split(",")})
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "worker", "--queues", queues])


@db.command("upgrade")
def db_upgrade(as_json: JsonFlag = False) -> None:
    """Migrate the database to the newest schema."""
    migrate.upgrade()
    if as_json:
        print_json({"database": "current"})
    else:
        say("The database is up to date.")


def main() -> None:
    """Entry point: exit status 0 only on success, and one sentence on stderr for an error."""
    keep_private()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit status."""
    try:
        status = cli(args=arguments, standalone_mode=False)
        return status if isinstance(status, int) else 0
    except (typer.Abort, KeyboardInterrupt):
        return _complain("Stopped.", 130)
    except (AppError, EngineError) as error:
        return _complain(str(error), 1)
    except ValidationError as error:
        return _complain(_settings_sentence(error), 1)
    except SQLAlchemyError as error:
        return _complain(_database_sentence(error), 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _complain(f"{error.strerror or error}: {error.filename or 'a file'}.", 1)
    except Exception as error:
        return _usage_error(error)


def _settings_sentence(error: ValidationError) -> str:
    """Describe invalid environment variables. Only Settings is read outside the commands' own checks."""
    first = error.errors()[0]
    name = "HYPO_" + "_".join(str(part) for part in first["loc"]).upper()
    return f"{name} is set to {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}."


def _usage_error(error: Exception) -> int:
    """Report a usage error. Typer exports no base class of these; each has `format_message`."""
    message = getattr(error, "format_message", None)
    if message is None:
        raise error
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        return 2
    return _complain(message().replace("Value error, ", ""), 2)


def _database_sentence(error: Exception) -> str:
    text = str(error.__cause__ or error).strip().splitlines()[0]
    if "no such table" in text or "does not exist" in text:
        return (
            f"The database of {get_settings().root} has no tables yet; run `hypo db upgrade`, or "
            "start the app with `hypo up`. If your data is elsewhere, set HYPO_HOME."
        )
    return f"The database call failed; check HYPO_DATABASE_URL. The error: {text}"


def _complain(message: str, status: int) -> int:
    stderr.print(plain(f"hypo: {message}"))
    return status
