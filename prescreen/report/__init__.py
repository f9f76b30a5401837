"""Report: one HTML file about a run, a study or an experiment, and the data of its figures.

Collecting is apart from rendering: ``collect`` makes plain ``Findings`` of whatever was measured, and
pages, figures and texts show them.
"""

from prescreen.report.cautions import Caution, cautions
from prescreen.report.collect import collect
from prescreen.report.data import Findings
from prescreen.report.write import write_report

__all__ = ["Caution", "Findings", "cautions", "collect", "write_report"]
