"""Commands print user text verbatim, but without terminal control sequences."""

import pytest

from app.cli import output
from app.cli.main import run

WRITTEN = r"root:x:0:0 [bold]b[/] \[red] [/nothing]"
STEERING = "a\x1b]0;title\x07b\x9b2Jc\rd"


@pytest.mark.parametrize("show", [output.say, output.warn])
def test_sentences_are_printed_as_they_were_written(show: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(show)
    show(WRITTEN)
    printed = capsys.readouterr()
    assert (printed.out + printed.err).rstrip("\n") == WRITTEN


def test_cells_are_printed_as_they_were_written(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["text", "n"], [[WRITTEN, 1], ["two\nlines", None]], empty="nothing")
    assert WRITTEN in capsys.readouterr().out


def test_nothing_that_is_printed_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.say(STEERING)
    output.print_table(["text"], [[STEERING]], empty="nothing")
    printed = capsys.readouterr().out
    assert not set("\x1b\x07\x9b\r") & set(printed)
    assert printed.count("a\ufffd]0;title\ufffdb\ufffd2Jc\ufffdd") == 2


def test_an_error_repeats_what_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["datasets", "add", "/no/:x:/[bold]file[/]", "--name", "mine"]) == 1
    assert "/no/:x:/[bold]file[/]" in capsys.readouterr().err
