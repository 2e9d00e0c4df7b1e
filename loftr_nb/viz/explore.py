"""A picture with sliders: an addition to a static picture, never instead of it."""

from __future__ import annotations

import os
from collections.abc import Callable

from matplotlib.figure import Figure

from .style import png

STATIC = "LOFTR_NB_STATIC"  # set where nobody can move a slider: tests, stored files


def explore(
    draw: Callable[..., Figure], static: bool | None = None, **sliders: tuple[int, ...]
) -> object:
    """A picture that follows whole-number sliders.

    Args:
        draw: takes the sliders' values by name, returns a figure.
        sliders: name to (first, last, start).
        static: True gives the picture at the start values alone. None decides:
            static where the environment variable ``LOFTR_NB_STATIC`` is set or
            ipywidgets is not installed.

    Returns:
        What a notebook shows: a widget, or the figure itself.
    """
    start = {name: slider[2] for name, slider in sliders.items()}
    if static is None:
        static = bool(os.environ.get(STATIC))
    try:
        import ipywidgets as widgets
    except ImportError:
        static = True
    if static:
        return draw(**start)
    moved = {
        name: widgets.IntSlider(
            value, first, last, description=name, continuous_update=False
        )
        for name, (first, last, value) in sliders.items()
    }
    # In its own size, as the static picture: a box would stretch it to the window.
    own_size = {"align_self": "flex-start", "max_width": "100%", "height": "auto"}
    first = _drawn(draw(**start))
    picture = widgets.Image(value=first, format="png", layout=own_size)

    def redraw(_change: object) -> None:
        picture.value = _drawn(draw(**{n: s.value for n, s in moved.items()}))

    for slider in moved.values():
        slider.observe(redraw, names="value")
    return widgets.VBox([*moved.values(), picture])


def _drawn(figure: Figure) -> bytes:
    """The same picture that a notebook would store of it."""
    return png(figure, getattr(figure, "colours", 64))
