"""Progress: plain lines where there is no terminal, a bar where there is one."""

import io

from jaxtransfer.train.progress import make_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_plain_lines_are_few_and_the_last_step_has_one():
    out = io.StringIO()
    progress = make_progress("probe", stream=out, seconds=1000.0)
    for step in range(1, 6):
        progress(step, 5, {"loss": 0.5, "other": 1.0})
    assert out.getvalue() == "probe: step 5/5 loss=0.5\n"


def test_a_terminal_gets_a_bar():
    out = Terminal()
    progress = make_progress("probe", stream=out)
    progress(3, 5, {"loss": 0.25})
    progress(5, 5, {"loss": 0.125})
    assert "3/5" in out.getvalue()
    assert "loss=0.125" in out.getvalue()
