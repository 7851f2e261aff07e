"""What was asked, what the evidence does not say, and why it was decided so: the account that a record gives of itself."""

from jaxtransfer.protocol.report.contents import ReportData
from jaxtransfer.protocol.report.html import definitions, details, element
from jaxtransfer.protocol.report.outcome import Section


def account(data: ReportData) -> Section | None:
    """The question and the limits in the open, reasons and the way to repeat it on demand."""
    record = data.record
    if "question" not in record:
        return None
    return Section(
        key="limits",
        title="What the evidence does not say",
        introduction=record["question"],
        body=element(
            "div",
            element(
                "div",
                element(
                    "ul", *(element("li", text) for text in record["limits"]), class_="findings"
                ),
                class_="card",
            ),
            element(
                "div",
                details(
                    "Why it was decided so",
                    element("p", " ".join(record["rationale"])),
                    class_="part",
                ),
                details("How to repeat it", definitions(record["reproduce"]), class_="part"),
                class_="card flush",
            ),
        ),
    )
