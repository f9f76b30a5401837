"""The file: deterministic, self-contained, valid data, no markup from names."""

import json
import math
import re
import sys
from dataclasses import replace

import pytest
from toy_rankings import PANEL, STEPS, make_ranking, make_study

from prescreen.report import collect, write_report
from prescreen.report.compact import coded, compact, embedded
from prescreen.report.render import render

pytest.importorskip("plotly", reason="the `report` extra")
pytest.importorskip("jinja2", reason="the `report` extra")

EVIL = "</script><script>alert(1)</script><!-- \u2028 & <b>"


def of(page):
    """What stands between the markup that is ours."""
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])


def strict(constant):
    raise AssertionError(constant)


def test_the_same_findings_give_the_same_page():
    findings = collect(make_ranking())
    assert render(findings, "today") == render(findings, "today")


def test_names_are_data_everywhere():
    rows = [
        replace(
            row, name=f"{EVIL}{row.name}", config={EVIL: EVIL}, values={**row.values, EVIL: 1.0}
        )
        for row in make_ranking(notes=(EVIL,))
    ]
    rows[-1] = replace(rows[-1], reason=EVIL, status=EVIL)
    evil = replace(make_ranking(notes=(EVIL,)), rows=tuple(rows), readouts=(*PANEL, EVIL))
    findings = replace(
        collect(evil), title=EVIL, settings={EVIL: {EVIL: EVIL}}, left_out={EVIL: EVIL}
    )
    page = render(findings)
    assert "alert(1)</script>" not in page
    assert page.count("</script>") == 3
    assert of(page)["name"][0].startswith("</script><script>alert(1)</script><!-- \\u2028 & <b>")


def test_nothing_is_loaded_and_only_its_own_scripts_may_run():
    page = render(collect(make_ranking()))
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)[1]
    assert "default-src &#39;none&#39;" in policy
    assert "unsafe-inline&#39;; img" in policy  # of styles
    assert "unsafe" not in re.search(r"script-src(.*?);", policy.replace("&#39;", "'"))[1]
    ours = page.split('id="data"')[0]
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", ours)


def test_data_are_strict_json_with_exact_counts_and_five_digits():
    ranking = make_ranking(count=3, failed=1)
    rows = (
        replace(ranking.rows[0], parameters=123_456_789, training_loss=math.inf),
        *ranking.rows[1:],
    )
    data = json.loads(
        embedded(compact(collect(replace(ranking, rows=rows)))), parse_constant=strict
    )
    assert data["costs"]["parameters"][0] == 123_456_789
    assert data["scores"] == [1, 0.5, 0, None]
    assert data["status"] == {"levels": ["ok", "diverged"], "at": [0, 0, 0, 1]}
    assert data["trajectories"]["steps"]["levels"] == [[*STEPS]]
    assert "isotropy" not in data["trajectories"]["series"]  # it never changes
    series = data["trajectories"]["series"]["expected_agreement"]
    assert series[0] == [float(f"{v:.5g}") for v in ranking.rows[0].trajectory.series(PANEL[0])[1]]
    assert data["places"][0] == [1, 2, 3, None]


def test_coded_columns_come_back():
    values = ["a", None, 1, "a", 2.5]
    found = coded(values)
    assert [found["levels"][at] for at in found["at"]] == values


def test_the_page_says_what_was_found():
    page = render(collect(make_ranking(count=8, failed=2, tied=2)), "2026-11-26")
    assert "10 candidates: 8 ran to their end, 2 failed." in page
    assert "The best is candidate 0; 2 cannot be told from it." in page
    assert "loss is nan" in page
    assert "on 2026-11-26" in page
    study = make_study(completed=6, pruned=3)
    page = render(collect(study))
    assert "3 were pruned, which saved about 12 steps (17% of what all would have taken)." in page
    assert "What pruning would have cost" in page


def test_why_trials_were_kept_is_counted():
    findings = collect(make_study(completed=3, pruned=1))
    entries = [
        replace(one, reason="kept: too few") if one.rank else one for one in findings.entries
    ]
    page = render(replace(findings, entries=tuple(entries)))
    assert '<td>kept: too few</td><td class="number">3</td>' in page


def test_a_file_is_replaced_and_its_path_returned(tmp_path):
    path = tmp_path / "a report.html"
    path.write_text("old")
    assert write_report(make_ranking(), path) == path
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("missing", ["plotly.offline", "jinja2"])
def test_what_is_missing_is_named_in_one_line(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    needs = r"^a report needs the 'report' extra: pip install 'prescreen\[report\]'$"
    with pytest.raises(ImportError, match=needs):
        render(collect(make_ranking()))
