"""The figures of the campaign, at the end of a run."""


def pytest_terminal_summary(terminalreporter):
    import sys

    campaign = sys.modules.get("campaign")
    if campaign is None or not campaign.counts:
        return
    terminalreporter.section("hostile inputs")
    total = sum(map(sum, (c.values() for c in campaign.counts.values())))
    for name, found in campaign.counts.items():
        told = ", ".join(f"{number} {verdict}" for verdict, number in sorted(found.items()))
        terminalreporter.line(f"{name}: {told}")
    terminalreporter.line(f"{total} in all")
