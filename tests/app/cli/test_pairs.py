"""`hypo datasets score`, `scorings`, `pairs` and `leave-out`."""

import pytest

from app import migrate
from app.cli.main import run
from app.settings import Settings
from tests.app.cli.test_commands import call, refuse
from tests.app.scored import add_pairs, add_run, add_scoring


def test_pairs_from_scoring_to_a_new_version(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    migrate.upgrade()
    dataset = str(add_pairs(10, held_out=0))
    model = str(add_run(int(dataset)))
    assert run(["datasets", "scorings", dataset]) == 0
    assert "hypo datasets score 1 --run NUMBER" in capsys.readouterr().out
    assert run(["datasets", "score", dataset, "--run", model]) == 0
    said = capsys.readouterr()
    assert "Scoring 1 is queued: 0 of 10 pairs." in said.out
    assert "No generate worker is running" in said.err
    assert call(capsys, "datasets", "score", "scored", "--run", model, "--cancel")["status"] == "cancelled"
    assert "scores no pairs" in refuse(capsys, "datasets", "score", dataset, "--run", "9", "--cancel")
    add_scoring(int(dataset), [-2.0, 1.0, None, -3.0] + [3.0] * 6)
    found = call(capsys, "datasets", "pairs", dataset, "--sort", "wrong")
    assert [pair["row"] for pair in found["items"]] == [4, 1]
    assert run(["datasets", "pairs", dataset, "--limit", "2"]) == 0
    said = capsys.readouterr()
    assert "-2.000" in said.out
    assert "--after 1.0_1 lists them" in said.err
    leave = ("datasets", "leave-out", dataset)
    for given, sentence in (
        ([], "one of --rows, --sort and --leaks"),
        (["--rows", "1,x"], "'x' is no row"),
        (["--rows", "5-2"], "no range"),
        (["--rows", "1-999999999"], "no range"),
        (["--rows", "11"], "row 11 is no pair"),
        (["--rows", "1-10"], "No pair would remain"),
    ):
        assert sentence in refuse(capsys, *leave, *given)
    assert call(capsys, *leave, "--rows", "1,3-4", "--reason", "Odd.")["rows"] == 7
    assert run([*leave, "--sort", "mislabelled"]) == 0
    assert "scored version 3, 8 pairs; 2 left out." in capsys.readouterr().out
