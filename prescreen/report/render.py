"""Render: findings as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
from importlib.metadata import version
from importlib.resources import files

from prescreen.report import said
from prescreen.report.cautions import cautions
from prescreen.report.compact import compact, embedded
from prescreen.report.data import Findings
from prescreen.text import printable

_SCRIPTS = ("state.js", "table.js", "details.js", "charts.js", "more_charts.js", "main.js")
_SECTIONS = {
    "cautions": "Before you choose",
    "ranking": "Ranking",
    "selected": "Why is it ranked there?",
    "trajectories": "Trajectories",
    "agreement": "Agreement",
    "capacity": "Capacity",
    "costs": "Cost",
    "results": "Final results",
    "failures": "Failures",
    "settings": "Settings",
}


def render(findings: Findings, date: str = "") -> str:
    """The page; the same findings and date give the same page.

    Args:
        findings: what it shows.
        date: of today, for people.

    Raises:
        ImportError: plotly or jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ImportError(
            "a report needs the 'report' extra: pip install 'prescreen[report]'"
        ) from error
    # Line ends as a browser reads them: a digest is of what it reads.
    plotly = get_plotlyjs().replace("\r\n", "\n")
    script = "(() => {\n'use strict';\n" + "\n".join(map(_page, _SCRIPTS)) + "\n})();"
    shown = {
        "cautions": [(one.about, printable(one.text)) for one in cautions(findings)],
        "results": said.results(findings),
        "failures": said.failures(findings),
    }
    sections = {key: title for key, title in _SECTIONS.items() if shown.get(key, True)}
    environment = Environment(
        loader=PackageLoader("prescreen.report", "page"),
        autoescape=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("page.html.j2").render(
        **shown,
        title=said.text(findings.title),
        summary=said.summary(findings),
        sections=sections.items(),
        notes=[said.text(note) for note in findings.notes],
        left_out=[(said.text(name), said.text(why)) for name, why in findings.left_out.items()],
        capacity=any(one.costs for one in findings.entries),
        spent=said.spent_lines(findings),
        kept=said.kept(findings),
        along=said.along_rows(findings),
        hindsight=said.hindsight_rows(findings),
        settings=said.settings(findings),
        version=version("prescreen"),
        date=date,
        policy=_policy(plotly, script),
        style=Markup(_page("page.css")),
        data=Markup(embedded(compact(findings))),
        plotly=Markup(plotly),
        script=Markup(script),
    )


def _policy(*scripts: str) -> str:
    """What the page may do: run these scripts and no other, and load nothing.

    If a name got into the page as markup in spite of all, it could not act.
    """
    digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
    allowed = " ".join(f"'sha256-{one}'" for one in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _page(name: str) -> str:
    return files("prescreen.report").joinpath("page", name).read_text(encoding="utf-8")
