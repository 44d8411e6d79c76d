"""`hypo generations` on a small database."""

import pytest

from app import migrate
from app.settings import Settings
from tests.app.cli.test_commands import call, refuse
from tests.app.rest.test_generations import stored


def test_list_show_and_compare(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    migrate.upgrade()
    run_id = stored()
    found = call(capsys, "generations", "list", "text", "--run", str(run_id), "--sort", "log_ratio")
    assert [one["step"] for one in found] == [10, 5, 0]
    number = str(found[0]["id"])
    assert call(capsys, "generations", "show", number) == found[0]
    assert (
        len(call(capsys, "generations", "list", "--prompt", f"#{found[0]['prompt_id']}", "--last-step", "5"))
        == 2
    )
    assert call(capsys, "generations", "compare", number, str(found[1]["id"]))["comparison_id"] == 1
    assert "two answers" in refuse(capsys, "generations", "compare", number, number)
    assert "no letter" in refuse(capsys, "generations", "list", "🙂")
