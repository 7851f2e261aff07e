"""The report of a ladder: one HTML file, no network, no script: the decision and its evidence."""

from jaxtransfer.protocol.report.contents import ReportData, read
from jaxtransfer.protocol.report.page import render, write_report

__all__ = ["ReportData", "read", "render", "write_report"]
