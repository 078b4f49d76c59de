"""Progress bars: whatever ends a drawing, tqdm's lock is free after it, and no thread of tqdm's waits for it."""

import ast
import io
import itertools
import threading
from pathlib import Path

import pytest
from tqdm import TMonitor
from tqdm.std import tqdm

import minigan
from minigan.progress import print_above_bars, tqdm_bar
from minigan.training.messages import ProgressBar

PACKAGE = Path(minigan.__file__).parent


class Broken(io.StringIO):
    """A stream that raises what it is told to."""

    error = None

    def write(self, text):
        if self.error is not None:
            raise self.error
        return super().write(text)


def is_free(lock):
    """Whether another thread gets it, for the one that holds it may take it again."""
    got = threading.Event()

    def take():
        with lock:
            got.set()

    threading.Thread(target=take, daemon=True).start()
    return got.wait(5)


@pytest.mark.parametrize("act", ["refresh", "clear", "update", "close"])
@pytest.mark.parametrize("error", [BrokenPipeError, KeyboardInterrupt])
def test_an_error_while_drawing_leaves_the_lock_free(error, act):
    stream = Broken()
    with tqdm_bar(total=9, file=stream, mininterval=0) as bar:
        stream.error = error()
        with pytest.raises(error):
            getattr(bar, act)()
        assert is_free(bar.get_lock())
        stream.error = None


def test_a_bar_has_no_monitor():
    before = threading.enumerate()
    with tqdm_bar(total=9, file=io.StringIO()):
        assert [thread for thread in threading.enumerate() if thread not in before] == []
    assert not any(isinstance(thread, TMonitor) for thread in threading.enumerate())


def test_a_runs_bar_whose_reader_has_gone_is_dropped(monkeypatch):
    stream = Broken()
    monkeypatch.setattr("sys.stderr", stream)
    bar = ProgressBar(9, 0, is_shown=True)
    lock = bar._bar.get_lock()
    bar._bar.mininterval = 0
    stream.error = BrokenPipeError()
    bar.update()
    assert bar._bar is None
    assert is_free(lock)


def test_a_line_is_printed_above_the_bars():
    stream = io.StringIO()
    with tqdm_bar(total=9, file=stream):
        print_above_bars("a line", stream)
    shown = stream.getvalue()
    assert shown.index("0/9") < shown.index("\r" + " " * 5) < shown.index("a line\n") < shown.rindex("0/9")


def test_a_bar_is_redrawn_when_updates_become_slow():
    """Which tqdm does not do by itself: it skips as many updates as were quick before."""
    stream, seconds = io.StringIO(), itertools.count(step=0.001)
    with tqdm_bar(total=3000, file=stream, mininterval=0.5) as bar:
        bar._time = lambda: bar.start_t + next(seconds)
        for _ in range(2000):
            bar.update()
        seconds = itertools.count(60)
        stream.truncate(0)
        bar.update()
        assert "2001/3000" in stream.getvalue()


def test_all_bars_are_made_in_one_place():
    import_tqdm = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in getattr(node, "names", ())]
            if any(name and name.split(".")[0] == "tqdm" for name in names):
                import_tqdm.add(path.name)
    assert import_tqdm == {"progress.py"}
    assert (tqdm.monitor_interval, tqdm.refresh.__module__) == (10, "tqdm.std"), "a user's own bars stay as they were"
