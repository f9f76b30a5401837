"""`prescreen report`."""

import optuna
import pytest
from optuna_studies import open_storage
from toy import GOOD, TRAINING, make_task

from prescreen.cli.app import run
from prescreen.ranking.run import rank

pytest.importorskip("plotly", reason="the `report` extra")


def test_a_run_has_its_report_in_its_folder(tmp_path, capsys):
    rank(GOOD, make_task(), training=TRAINING, out=tmp_path)
    assert run(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().err == f"Report: {tmp_path / 'report.html'}\n"
    assert "tiny" in (tmp_path / "report.html").read_text(encoding="utf-8")
    rank(GOOD, make_task(), training=TRAINING, out=tmp_path)  # it is in nobody's way


def test_results_of_a_file_are_taken_in(tmp_path):
    rank(GOOD, make_task(), training=TRAINING, out=tmp_path / "run")
    results = tmp_path / "results.csv"
    results.write_text("name,error\ntiny,0.3\nsmall,0.2\nlarge,0.1\n")
    out = tmp_path / "page.html"
    given = ["--final", str(results), "--lower-is-better", "--out", str(out)]
    assert run(["report", str(tmp_path / "run"), *given]) == 0
    assert "with final result (lower is better)" in out.read_text(encoding="utf-8")


def test_a_study_has_its_report_here(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = optuna.create_study(study_name="../a b", storage=open_storage("sqlite", tmp_path))
    study.tell(study.ask(), 0.5)
    assert run(["report", f"sqlite:///{tmp_path}/study.db", "--study", "../a b"]) == 0
    assert capsys.readouterr().err.strip() == "Report: Optuna-study-..-a-b.html"


@pytest.mark.parametrize("given", [["no-such-run"], ["sqlite:///no.db"], [".", "--study", "x"]])
def test_what_is_not_there_is_refused_in_one_line(given, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["report", *given]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("prescreen: `")
    assert not [*tmp_path.iterdir()]
