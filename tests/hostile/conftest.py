"""The figures of the campaign, at the end of a run."""

import sys
from collections import Counter


def pytest_terminal_summary(terminalreporter):
    campaign = sys.modules.get("campaign")
    if campaign is None or not (campaign.counts or campaign.kills):
        return
    terminalreporter.section("hostile inputs and kills")
    total = sum(campaign.counts.values(), start=Counter())
    for name, found in {**campaign.counts, "all": total}.items():
        told = ", ".join(f"{number:,} {verdict}" for verdict, number in sorted(found.items()))
        terminalreporter.line(f"{name}: {sum(found.values()):,} inputs, {told}")
    for name, told in campaign.kills.items():
        terminalreporter.line(f"{name}: {told}")
