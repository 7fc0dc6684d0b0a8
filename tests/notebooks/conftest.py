"""The table of what each notebook took."""

import pytest

MEASURED = "measured"


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    rows = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == MEASURED and report.when == "call"
    ]
    if rows:
        terminalreporter.section("what each notebook took")
        terminalreporter.write_line(
            f"{'notebook':<46}{'images':<20}{'wall s':>8}{'CPU s':>8}{'slowness':>10}{'peak MiB':>10}"
        )
        for notebook, images, wall, cpu, slowness, peak in sorted(rows):
            terminalreporter.write_line(
                f"{notebook:<46}{images:<20}{wall:>8.1f}{cpu:>8.1f}{slowness:>10.2f}{peak:>10.0f}"
            )
