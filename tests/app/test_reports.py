"""Reports: their figures by hand, deleted runs, hidden names, and files that stand alone."""

import json
import re
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from scipy.stats import t
from sqlalchemy import Engine, event
from typer.testing import CliRunner

from app import campaigns, run_judges
from app.board import wilson
from app.cli.main import cli
from app.deletion import delete_run
from app.errors import InvalidInput, NotFound, Refused
from app.reports import changing, reading, samples
from app.reports.reading import Experiment
from app.reports.view import report_view
from app.store import generations, metrics, users
from app.store.db import write_session
from app.store.enums import GenerationKind
from app.store.generations import TrainingSample
from app.ui.report import files
from app.ui.report.document import POLICY, document
from app.ui.report.files import ReportFile
from hypo_engine.reporting import Prompt
from tests.app import arena, campaign_setup
from tests.app.test_campaign_board import judge

EVIL = '<script>alert(1)</script><a href="run?id=1">x</a>'


def trained(method: str = "dpo", *, name: str = "", probes: int = 0, **values: float) -> int:
    """A finished run that has measured these values at its last step, 10."""
    measured = {"eval_num_pairs": 12.0, "eval_num_prompts": 8.0, "num_tokens": 480.0}
    for key, value in values.items():
        measured[
            {"accuracy": "eval_rewards/accuracies", "kl": "eval_objective/kl", "loss": "eval_loss"}[key]
        ] = value
    measured |= {"eval_objective/kl_stderr": 0.5, "eval_loss_stderr": 0.25}
    with write_session() as session:
        run = arena.add_run(session, method, name=name)
        run.device = "cpu"
        metrics.record(run.id, session=session, step=0, values={"eval_objective/kl": 0.0, "loss": 0.69})
        metrics.record(run.id, session=session, step=10, values={**measured, "loss": 0.5})
        generations.record_samples(
            run.id, [probe(number, run.id) for number in range(probes)], session=session
        )
        return run.id


def probe(number: int, run_id: int) -> TrainingSample:
    prompt: Prompt = f"Probe {number}?"
    text = f"Run {run_id} on {number}: {EVIL}"
    return TrainingSample(GenerationKind.PROBE, 10, prompt, text, 7, 5, True, -2.0, -3.0)


def read(report_id: int, user: str = "local") -> Experiment:
    return reading.read(report_id, user=user)


def test_figures_have_their_count_and_interval(engine: Engine) -> None:
    runs = [trained("dpo", accuracy=11 / 12, kl=8.0, loss=0.5), trained("hypo", accuracy=10.5 / 12, kl=2.0)]
    found = read(changing.create(runs))
    assert [column.key for column in found.table.columns] == ["accuracy", "loss", "kl"]
    accuracy = found.table.figures[runs[0], "accuracy"]
    assert (accuracy.count, accuracy.step) == (12, 10)
    assert (accuracy.low, accuracy.high) == wilson(11, 12)
    halves = found.table.figures[runs[1], "accuracy"]
    assert (halves.low, halves.high) == wilson(10.5, 12)
    kl = found.table.figures[runs[0], "kl"]
    half = t.ppf(0.975, 7) * 0.5
    assert kl.low == pytest.approx(8.0 - half)
    assert kl.high == pytest.approx(8.0 + half)
    assert (runs[1], "loss") not in found.table.figures


def test_win_rates_by_judges_of_runs_stand_apart_with_count_and_interval(engine: Engine) -> None:
    judged, other = trained("dpo", accuracy=0.5), trained("hypo", accuracy=0.5)
    with write_session() as session:
        of_run = run_judges.read_judge("vader")
        of_run.run_id, of_run.user_id = judged, users.ensure("local", session=session).id
        session.add(of_run)
        rates = {"eval_win_rate/vader": 0.625, "eval_win_rate/vader_num": 8.0}
        metrics.record(judged, session=session, step=10, values=rates)
    found = read(changing.create([judged, other]))
    last = found.table.columns[-1]
    assert (last.key, last.title) == ("samples-vader", "Automatic judge vader: win rate of samples")
    figure = found.table.figures[judged, "samples-vader"]
    assert (figure.value, figure.count, figure.step) == (0.625, 8, 10)
    assert (figure.low, figure.high) == wilson(5, 8)
    assert (other, "samples-vader") not in found.table.figures
    assert "not what people prefer" in document(found)


@pytest.mark.parametrize(
    ("methods", "question"),
    [
        (["dpo"], "What does DPO do"),
        (["dpo", "hypo"], "Which is better: DPO or HyPO?"),
        (["dpo", "dpo"], "Which of 2 DPO runs is best"),
    ],
)
def test_a_question_is_derived_from_the_runs(engine: Engine, methods: list[str], question: str) -> None:
    report_id = changing.create([trained(method) for method in methods])
    assert read(report_id).report.question.startswith(question)


def test_a_deleted_run_keeps_its_line(engine: Engine) -> None:
    gone, left = trained("dpo", name="gone", accuracy=0.5), trained("hypo", accuracy=0.75)
    report_id = changing.create([gone, left])
    delete_run(gone)
    view = report_view(read(report_id))
    assert [(run["name"], run["deleted"]) for run in view["runs"]] == [("gone", True), ("hypo run", False)]
    assert "gone" in document(read(report_id))


def test_a_deleted_report_deletes_nothing_else(engine: Engine) -> None:
    campaign_id = campaign_setup.ready()
    report_id = changing.create([trained()], [campaign_id])
    changing.delete(report_id)
    with pytest.raises(NotFound):
        read(report_id)
    assert campaigns.overview(campaign_id).campaign.id == campaign_id
    assert changing.create([trained()]) > report_id  # a report's address is never another's


def test_bad_input_is_refused_by_name(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="name at least one") as nothing:
        changing.create([])
    assert nothing.value.field == "run_ids"
    with pytest.raises(InvalidInput, match="at most 8 runs, and 9 are chosen"):
        changing.create(range(1, 10))
    with pytest.raises(InvalidInput, match="question has more than 300"):
        changing.create([1], question="?" * 301)
    with pytest.raises(InvalidInput, match="notes has more than 20,000"):
        changing.create([1], notes="n" * 20_001)
    with pytest.raises(NotFound, match="no run 77"):
        changing.create([77])
    with pytest.raises(NotFound, match="no campaign 77"):
        changing.create([], [77])


def test_only_the_owner_changes_a_report(engine: Engine) -> None:
    report_id = changing.create([trained()], user="ann")
    with pytest.raises(Refused, match="ann's"):
        changing.edit(report_id, question="Mine?", user="bob")
    with pytest.raises(Refused, match="ann's"):
        changing.delete(report_id, user="bob")
    with pytest.raises(InvalidInput, match="question is empty"):
        changing.edit(report_id, question=" \n", user="ann")
    changing.edit(report_id, notes="**Found**", user="ann")
    assert read(report_id).report.notes == "**Found**"


def test_who_may_still_vote_gets_neither_board_nor_answers(engine: Engine, tmp_path: Path) -> None:
    campaign_id = campaign_setup.ready(prompts=[f"Why {number}?" for number in range(6)])
    judge(campaign_id, better=1)
    report_id = changing.create([], [campaign_id])
    blind = read(report_id)
    assert len(blind.lines) == 1
    assert blind.campaigns[0].board is None
    assert samples.draw(blind) == []
    assert not [column for column in blind.table.columns if "Win rate" in column.title]
    assert "Answer 1 to question" not in document(blind)
    assert [row["names_hidden"] for row in votes_in(files.write(report_id, ReportFile.ZIP, tmp_path))] == [
        True
    ] * 6
    assert read(report_id).campaigns[0].board is None  # the files told no names
    campaigns.show_names(campaign_id)
    told = read(report_id)
    run_id = told.lines[0].stored.run_id
    assert told.table.figures[run_id, f"campaign-{campaign_id}"].value == 1.0
    assert told.table.figures[run_id, f"campaign-{campaign_id}"].count == 6
    (sample,) = samples.draw(told)
    assert (sample.of, len(sample.exchanges)) == (6, samples.PROMPTS)
    assert {reply.name for reply in sample.exchanges[0].replies} == {"Reference", "dpo run"}
    assert read(report_id, "bob").campaigns[0].board is None
    assert votes_in(files.write(report_id, ReportFile.ZIP, tmp_path))[0]["names_hidden"] is False


def votes_in(path: Path) -> list[dict[str, object]]:
    with ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("votes_raw.jsonl")]
        return [json.loads(line) for line in archive.read(name).splitlines()]


def test_the_sample_of_answers_stays_the_same(engine: Engine) -> None:
    report_id = changing.create([trained(probes=9), trained("hypo", probes=9)])
    first, again = (samples.draw(read(report_id))[0] for _ in range(2))
    prompts = [exchange.prompt for exchange in first.exchanges]
    assert prompts == [exchange.prompt for exchange in again.exchanges]
    assert len(prompts) == samples.PROMPTS
    assert all(len(exchange.replies) == 2 for exchange in first.exchanges)


def test_the_file_stands_alone_and_runs_nothing(engine: Engine) -> None:
    runs = [trained(name=EVIL, probes=2, accuracy=0.75), trained("hypo", probes=2, kl=1.0)]
    report_id = changing.create(
        runs, question=EVIL, notes=f"{EVIL} [out](https://example.org) ![i](http://x/i.png)"
    )
    text = str(document(read(report_id)))
    assert f'content="{POLICY.replace(chr(39), "&#39;")}"' in text
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert re.findall(r'<a [^>]*href="([^"]*)"', text) == ["https://example.org"]
    assert not re.findall(r'(?:src|xlink:href|action)="', text)
    assert not re.findall(r"@import|url\((?!data:)", text)
    assert text.count("<svg") >= 2
    assert '<polyline fill="none"' in text


def test_the_zip_holds_numbers_and_configurations(engine: Engine, tmp_path: Path) -> None:
    run_id = trained(accuracy=0.75)
    report_id = changing.create([run_id])
    path = files.write(report_id, ReportFile.ZIP, tmp_path)
    with ZipFile(path) as archive:
        assert set(archive.namelist()) == {
            "report.html",
            "report.json",
            f"configs/run-{run_id}.yaml",
            f"votes/run-{run_id}/votes_raw.jsonl",
            f"votes/run-{run_id}/manifest.json",
        }
        numbers = json.loads(archive.read("report.json"))
        config = yaml.safe_load(archive.read(f"configs/run-{run_id}.yaml"))
    assert numbers["runs"][0]["figures"]["accuracy"]["count"] == 12
    assert numbers["runs"][0]["cost"]["tokens"] == 480
    curves = {curve["metric"]: curve for curve in numbers["curves"]}
    assert curves["loss"]["steps"] == [0, 10]
    assert config["method"] == "dpo"


def test_the_commands_make_show_and_export_a_report(engine: Engine, tmp_path: Path) -> None:
    run_id = trained(accuracy=0.75)

    def hypo(*words: str, status: int = 0) -> str:
        done = CliRunner().invoke(cli, ["reports", *words])
        assert done.exit_code == status, done.output
        return done.output

    made = json.loads(hypo("create", "--run", str(run_id), "--question", "Better?", "--json"))
    number = str(made["id"])
    assert "Better?" in hypo("list")
    assert "75% (47 to 91%), n = 12" in hypo("show", number)
    hypo("edit", number, "--question", "Best?")
    output = tmp_path / "out" / "report.html"
    assert f"written to {output}" in hypo("export", number, "--output", str(output)).replace("\n", "")
    assert "Best?" in output.read_text()
    assert CliRunner().invoke(cli, ["reports", "export", number, "--output", "a.pdf"]).exit_code != 0
    hypo("delete", number)
    assert "No reports yet" in hypo("list")


def test_reading_takes_a_fixed_number_of_queries(engine: Engine) -> None:
    def queries(report_id: int) -> int:
        seen: list[str] = []
        listen = (engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
        event.listen(*listen)
        read(report_id)
        event.remove(*listen)
        return len(seen)

    runs = [trained(accuracy=0.5) for _ in range(5)]
    first, all_of_them = changing.create(runs[:1]), changing.create(runs)
    read(first)  # computes the board, which is kept
    assert queries(all_of_them) <= queries(first) + 4  # the counts of each dataset
