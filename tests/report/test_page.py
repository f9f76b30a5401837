"""The page in a browser without a network: keyboard, hostile names, dark, at phone width."""

import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from patience import PATIENCE
from toy_rankings import make_ranking, make_study

from prescreen.report import collect, write_report
from prescreen.report.results import with_results

pytest.importorskip("plotly", reason="the `report` extra")
playwright = pytest.importorskip("playwright.sync_api", reason="the `test` extra")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update"
)
RAN = "document.title = 'ran'"
HOSTILE = (
    f"<script>{RAN}</script>",
    f'</script><script>{RAN}</script><img src="x" onerror="{RAN}">',
    f"<!-- <script> {RAN}",
    f"'\"><svg onload={RAN}>",
    f'<a href="javascript:{RAN}">%{{x}} ${{{RAN}}} {{{{ 7 * 7 }}}}</a>',
    "right \u202eto left\u2028line\nline\x00",
    "&lt;b&gt; &amp; __proto__",
    "x" * 300,
)
SHOWN = {HOSTILE[5]: r"right \u202eto left\u2028line\nline\x00"}


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as host:
        started = host.chromium.launch(executable_path=path, args=ARGUMENTS.split())
        yield started
        started.close()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    ranking = make_ranking(count=60, failed=2, names=HOSTILE, notes=(HOSTILE[1],))
    finals = {row.name: 1 - place / 100 for place, row in enumerate(ranking.rows[:60])}
    folder = tmp_path_factory.mktemp("report")
    findings = replace(with_results(collect(ranking), finals, True), final=HOSTILE[0])
    return write_report(findings, folder / "page.html")


@contextmanager
def opened(browser, path, width=1200, scheme="light"):
    """The page, which must neither ask for anything nor complain, whatever is done with it."""
    requests, complaints = [], []
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.on("request", lambda one: requests.append(one.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type != "log" else None)
    page.goto(Path(path).as_uri())
    try:
        yield page
        assert page.title() != "ran"
        assert complaints == []
        assert requests == [Path(path).as_uri()]
    finally:
        context.close()


@pytest.fixture(scope="module")
def wide(browser, hostile):
    """One page for several tests; each leaves it as it found it, but for what is chosen."""
    with opened(browser, hostile) as page:
        draw_all(page)
        yield page


def draw_all(page):
    for chart in page.query_selector_all(".chart"):
        chart.scroll_into_view_if_needed()
        chart.wait_for_selector(".main-svg", state="attached")


def column(page, at):
    return page.eval_on_selector_all(
        f"#table tbody td:nth-child({at + 1})", "cells => cells.map(one => one.textContent)"
    )


def test_by_keyboard_a_column_is_sorted_and_a_candidate_chosen_everywhere(wide):
    heads = wide.eval_on_selector_all(
        "#table thead button", "all => all.map(one => one.textContent)"
    )
    assert heads[:5] == ["rank", "candidate", "score", "±", "="]
    at = heads.index("isotropy")
    assert column(wide, 0)[:2] == ["1", "2"]
    wide.focus("#find")
    for _ in range(20):  # the table's own region takes a key as well
        wide.keyboard.press("Tab")
        if wide.evaluate("document.activeElement.textContent") == "isotropy":
            break
    outline = wide.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    wide.keyboard.press("Enter")
    sorts = f"#table thead th:nth-child({at + 1})"
    assert wide.get_attribute(sorts, "aria-sort") == "descending"
    wide.keyboard.press("Enter")
    assert wide.get_attribute(sorts, "aria-sort") == "ascending"
    values = [float(one) for one in column(wide, at)]
    assert values == sorted(values)
    while "link" not in (wide.evaluate("document.activeElement.className") or ""):
        wide.keyboard.press("Tab")
    name = wide.evaluate("document.activeElement.textContent")
    wide.keyboard.press("Enter")
    assert wide.text_content("#details .title") == name
    assert wide.text_content("tr.chosen .link") == name
    assert wide.get_attribute("tr.chosen .link", "aria-pressed") == "true"
    draw_all(wide)
    charts = ("ranking", "trajectories", "capacity", "costs", "results")
    for chart in charts:
        traces = f"() => document.getElementById('chart-{chart}').data.map(one => one.name)"
        assert any(one.startswith("chosen") for one in wide.evaluate(traces)), chart
    wide.get_by_role("button", name="rank", exact=True).click()
    assert column(wide, 0)[:2] == ["1", "2"]


def test_hostile_names_are_shown_as_text_and_run_nothing(wide):
    names = column(wide, 1)
    for name in HOSTILE:
        assert SHOWN.get(name, name) in names
    for at, name in enumerate(HOSTILE, start=1):
        wide.click(f"#table tbody tr:nth-child({at}) button")
        assert wide.text_content("#details .title") == SHOWN.get(name, name)
    draw_all(wide)
    ticks = wide.eval_on_selector_all(
        "#chart-ranking .ytick text", "all => all.map(one => one.textContent)"
    )
    assert "1  <script>document.title = 'ran'</" in "".join(ticks)
    assert wide.query_selector("main img, main svg[onload], main a[href^=javascript]") is None
    assert HOSTILE[1] in wide.text_content("#ranking .note")


def test_a_click_on_a_point_chooses_it(wide):
    draw_all(wide)
    wide.evaluate(
        "document.getElementById('chart-capacity').emit('plotly_click', "
        "{points: [{customdata: 9}]})"
    )
    assert wide.text_content("#details .title") == "candidate 9"
    assert wide.text_content("tr.chosen .link") == "candidate 9"


def test_pages_and_the_filter(wide):
    assert wide.text_content("#count") == "62 candidates"
    assert len(column(wide, 0)) == 25
    wide.click("#next")
    wide.click("#next")
    assert len(column(wide, 0)) == 12
    assert wide.is_disabled("#next")
    wide.fill("#find", "diverged")
    assert wide.text_content("#count") == "2 of 62 candidates"
    assert column(wide, 0) == ["–", "–"]
    wide.fill("#find", "")
    assert wide.text_content("#page") == "page 1 of 3"


def test_dark_at_phone_width_nothing_is_wider_than_the_screen_and_it_prints_light(browser, hostile):
    with opened(browser, hostile, width=360, scheme="dark") as page:
        draw_all(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        dark, light = "rgb(20, 23, 27)", "rgb(255, 255, 255)"
        assert paper(page) == dark
        page.click("#theme")
        assert paper(page) == light
        page.click("#theme")
        page.emulate_media(media="print", color_scheme="dark")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert paper(page) == light
        assert len(column(page, 0)) == 62
        assert not page.is_visible("#theme")
        page.emulate_media(media="screen", color_scheme="dark")
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert paper(page) == dark
        assert len(column(page, 0)) == 25


def paper(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_the_page_of_a_study_marks_what_was_pruned(browser, tmp_path):
    path = write_report(make_study(completed=6, pruned=3), tmp_path / "study.html")
    with opened(browser, path) as page:
        draw_all(page)
        traces = page.evaluate(
            "document.getElementById('chart-trajectories').data.map(one => [one.name, one.x.length])"
        )
        assert ["pruned here", 3] in traces
        assert "3 were pruned, which saved about 12 steps" in page.text_content("#costs")
        assert "Spearman's ρ of scores with objective" in page.text_content("#results")


def test_the_page_of_nothing_opens(browser, tmp_path):
    path = write_report(make_ranking(count=0, failed=0), tmp_path / "page.html")
    with opened(browser, path) as page:
        assert page.text_content("#count") == "0 candidates"
