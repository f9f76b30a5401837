"""The figures of the campaign, at the end of a run."""

import sys
from collections import Counter


def pytest_terminal_summary(terminalreporter):
    campaign = sys.modules.get("campaign")
    if campaign is None or not (campaign.counts or campaign.kills):
        return
    terminalreporter.section("hostile inputs and kills")
    for name, found in campaign.counts.items():
        terminalreporter.line(f"{name}: {_told(found)}")
    total = sum(campaign.counts.values(), start=Counter())
    terminalreporter.line(f"all: {_told(total)}")
    for name, told in campaign.kills.items():
        terminalreporter.line(f"{name}: {told}")


def _told(found):
    verdicts = ", ".join(f"{number:,} {verdict}" for verdict, number in sorted(found.items()))
    return f"{sum(found.values()):,} inputs: {verdicts or 'none'}"
