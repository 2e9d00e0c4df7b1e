"""The panel around a run: gauges, curves, matches, log, and a Stop button."""

from __future__ import annotations

import html
import threading
from typing import Any

import ipywidgets as widgets

from ..errors import LoftrNbError
from ..progress import duration
from ..viz.style import RIGHT, SERIES, UNKNOWN, WRONG
from .run import Run
from .snapshot import Snapshot
from .state import ENDED
from .watch import LOG_LINES, PictureView, newest_matches

COLOURS = {
    "starting": UNKNOWN,
    "training": RIGHT,
    "finished": SERIES[2],
    "stopped": SERIES[3],
    "failed": WRONG,
    "unknown": UNKNOWN,
}
# The page's own colours, so that the panel suits light and dark themes.
TEXT = "var(--jp-ui-font-color1, #222)"
PALE = "var(--jp-ui-font-color2, #666)"
LINE = "var(--jp-border-color2, #ddd)"
GROUND = "var(--jp-layout-color2, #f4f4f4)"


class PanelView(PictureView):
    """Widgets while the run goes; the static picture takes their place at its end."""

    def first(self, run: Run, now: Snapshot) -> dict[str, Any]:
        """The panel, with the picture for readers that show no widgets."""
        self.panel = Panel(run)
        self.panel.put(run, now)
        view = self.panel.box._repr_mimebundle_()
        view = view[0] if isinstance(view, tuple) else view
        return {**self.still(run, now), **view}

    def show(self, run: Run) -> None:
        """Make the places, and say above the panel what it shows."""
        super().show(run)
        self.line.put({"text/plain": _about(run)})

    def update(self, run: Run, now: Snapshot) -> None:
        """Gauges each time, pictures if there is something new in them."""
        self.panel.put(run, now)
        self.line.put({"text/plain": _about(run)})
        if self.drawn.is_due(run):
            with self.drawn.measured():
                self.panel.curves.value = self.figure.quick_png(run.follower.rows)
            self.panel.put_matches(run)

    def finish(self, run: Run, now: Snapshot) -> None:
        """The last line and picture; the widgets are gone from page and kernel."""
        super().finish(run, now)
        self.panel.close()


def _about(run: Run) -> str:
    pid = f", process {run.pid}" if run.pid else ""
    return f"{run.dir}{pid}: attach({str(run.dir)!r}) finds it again"


class Panel:
    """The widgets of one run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.said = ""  # by the Stop button
        wide = widgets.Layout(width="100%")
        self.head, self.gauges = widgets.HTML(layout=wide), widgets.HTML(layout=wide)
        self.curves = widgets.Image(format="png", layout=wide)
        self.matches = widgets.Image(
            format="png",
            layout=widgets.Layout(width="50%", object_fit="contain", display="none"),
        )
        self.log = widgets.HTML(layout=widgets.Layout(flex="1 1 0", min_width="0"))
        self.stamp: object = None
        middle = widgets.HBox(
            [self.matches, self.log],
            layout=widgets.Layout(width="100%", align_items="flex-start"),
        )
        self.box = widgets.VBox(
            [self.head, self.gauges, self.curves, middle, self._buttons()],
            layout=widgets.Layout(
                width="100%",
                max_width="1000px",
                border=f"1px solid {LINE}",
                padding="8px",
            ),
        )
        self.box.add_class("loftr-nb-watch")

    def _buttons(self) -> widgets.HBox:
        can = self.run.record is not None
        self.stop = widgets.Button(description="Stop", icon="stop", disabled=not can)
        self.stop.tooltip = "finish the step, save, and end" if can else _NOT_OURS
        self.sure = widgets.Button(description="Yes, stop", button_style="danger")
        self.keep = widgets.Button(description="Keep training")
        self.words = widgets.HTML(layout=widgets.Layout(margin="0 0 0 8px"))
        self._ask(False)
        self.stop.on_click(lambda _: self._ask(True))
        self.keep.on_click(lambda _: self._ask(False))
        self.sure.on_click(lambda _: self._end())
        return widgets.HBox(
            [self.stop, self.sure, self.keep, self.words],
            layout=widgets.Layout(align_items="center"),
        )

    def _ask(self, asking: bool) -> None:
        self.stop.layout.display = "none" if asking else ""
        for button in (self.sure, self.keep):
            button.layout.display = "" if asking else "none"
        self.words.value = _small("The step is finished and saved first.") * asking

    def _end(self) -> None:
        for button in (self.stop, self.sure, self.keep):
            button.layout.display = "none"
        self.words.value = _small("stopping: the step is finished and saved …")
        threading.Thread(target=self._end_now, daemon=True).start()

    def _end_now(self) -> None:
        try:
            self.words.value = _small(self.run.end())
        except LoftrNbError as error:
            self.words.value = _small(str(error))

    def put(self, run: Run, now: Snapshot) -> None:
        """New numbers and log lines. What is the same is not sent again."""
        self.head.value = _head(now)
        self.gauges.value = _gauges(now)
        self.log.value = _log(run.tail(LOG_LINES))
        if now.state in ENDED:
            self.stop.disabled = True

    def put_matches(self, run: Run) -> None:
        """The newest matches picture, once there is one."""
        path = newest_matches(run.dir)
        try:
            stamp = (path, path.stat().st_mtime_ns) if path else None
            if path is None or stamp == self.stamp:
                return
            content = path.read_bytes()
        except OSError:
            return
        self.stamp, self.matches.value = stamp, content
        self.matches.layout.display = ""

    def close(self) -> None:
        """Remove the widgets from the kernel."""
        for widget in [*self.box.children, self.stop, self.sure, self.keep]:
            widget.close()
        for widget in (self.words, self.matches, self.log, self.box):
            widget.close()


_NOT_OURS = "started in a terminal: press Ctrl-C there"


def _small(words: str) -> str:
    return f'<span style="font-size:12px;color:{PALE}">{html.escape(words)}</span>'


def _head(now: Snapshot) -> str:
    share = min(1.0, now.step / now.total) if now.total else 0.0
    colour = COLOURS[now.state]
    left = ""
    if now.left_s is not None and now.state == "training":
        left = f"{duration(now.left_s)} left"
    return (
        '<div style="display:flex;align-items:center;gap:12px;line-height:1.4">'
        f'<span style="background:{colour};color:white;border-radius:10px;'
        f'padding:1px 10px;font-size:12px">{now.doing or now.state}</span>'
        f'<span class="loftr-nb-step" style="font-size:13px;color:{TEXT};'
        f'white-space:nowrap">{now.steps()}</span>'
        f'<span style="flex:1;height:8px;border-radius:4px;background:{GROUND};'
        'overflow:hidden"><span style="display:block;height:100%;'
        f'width:{100 * share:.1f}%;background:{colour}"></span></span>'
        f'<span style="font-size:12px;color:{PALE};white-space:nowrap">'
        f"{left}</span></div>"
    )


def _gauges(now: Snapshot) -> str:
    waits = now.data_wait is not None and now.data_wait > 0.3
    cards = (
        ("loss", _number(now.loss, "{:.3f}"), False),
        ("learning rate", _number(now.lr, "{:.2e}"), False),
        ("AUC@5 / 10 / 20", _aucs(now), False),
        ("pairs/s", _number(now.pairs_per_s, "{:.1f}"), False),
        ("data wait", _number(now.data_wait, "{:.0%}"), waits),
        ("peak memory", _number(now.memory_mb, "{:,.0f} MB"), False),
        ("epoch", _number(now.epoch, "{:.2f}"), False),
    )
    return (
        '<div style="display:flex;gap:8px;margin:6px 0">'
        + "".join(_card(*card) for card in cards)
        + "</div>"
    )


def _card(name: str, value: str, bad: bool) -> str:
    colour = WRONG if bad else TEXT
    return (
        f'<div style="flex:1 1 auto;background:{GROUND};border-radius:4px;'
        'padding:3px 8px;line-height:1.35;white-space:nowrap">'
        f'<div style="font-size:11px;color:{PALE}">{name}</div>'
        f'<div style="font-size:14px;color:{colour};'
        f'font-variant-numeric:tabular-nums">{value}</div></div>'
    )


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _aucs(now: Snapshot) -> str:
    values = (now.auc5, now.auc10, now.auc20)
    return " / ".join(_number(v, "{:.1f}") for v in values) if now.auc10 else "–"


def _log(lines: list[str]) -> str:
    text = html.escape("\n".join(lines)) or "(the log is empty so far)"
    return (
        f'<pre class="loftr-nb-log" style="font-size:10.5px;line-height:1.4;margin:0;'
        f"padding:6px 8px;background:{GROUND};color:{TEXT};border-radius:4px;"
        f'overflow-x:auto;white-space:pre">{text}</pre>'
    )
