"""How every picture of the project looks, and how it reaches a notebook or a file.

Pictures never touch pyplot: a training process draws thousands of them, and
pyplot keeps each one alive until somebody closes it.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ..errors import RunError

# Okabe and Ito's palette: these stay apart for all common kinds of colour vision,
# and in grey print (blue is darker than orange).
RIGHT = "#0072B2"  # blue: right, matched, known
WRONG = "#E66100"  # orange: wrong, unmatched
CHOSEN = "#CC79A7"  # pink: what the reader picked
UNKNOWN = "#B8B8B8"  # grey: no answer, neither right nor wrong
INK = "#222222"
SERIES = (RIGHT, WRONG, "#009E73", CHOSEN, "#56B4E9", INK)
HEAT = "cividis"  # one colour map for everything that has no sign

DPI = 90
FAR = 24  # of 255 levels: a colour this far off is seen as another
SPECK = 12  # pixels: an edge between two colours, nothing that one looks at


def _house_palette() -> list[int]:
    """White, black, and the house colours, pure and half strong on three grounds."""
    grounds = ((255, 255, 255), (128, 128, 128), (0, 0, 0))
    mixed = [[255, 255, 255], [0, 0, 0]]
    for colour in (RIGHT, WRONG, CHOSEN):
        pure = [255 * c for c in to_rgb(colour)]
        mixed += [pure] + [
            [(p + g) / 2 for p, g in zip(pure, ground, strict=True)]
            for ground in grounds
        ]
    return [round(c) for colour in mixed for c in colour]


_HOUSE = _house_palette()
# For pictures with many colours: a bright spot of a heat map is too small to win a
# place in the palette, and is what the picture is about.
_HEAT = [round(255 * c) for step in range(32) for c in colormaps[HEAT](step / 31)[:3]]


class Picture(Figure):
    """A figure that a notebook shows by itself and a training run can forget.

    It is a plain matplotlib figure with two habits: its background is white in
    light and dark themes alike, and what a notebook stores of it is a PNG of
    some 64 colours, about half the usual size. Its ``repr`` is its title, so that
    a reader without the image still learns what it shows. A picture whose colours
    carry the message asks for more of them: ``colours``, up to 200.
    """

    colours = 64

    def __init__(self, width: float = 8.0, height: float = 4.0) -> None:
        super().__init__((width, height), DPI, facecolor="white", layout="constrained")
        FigureCanvasAgg(self)

    def titled(self, title: str | None) -> Picture:
        """Put ``title`` (what to see) above the whole picture."""
        if title:
            self.suptitle(title, fontsize=11, color=INK)
        return self

    def __repr__(self) -> str:
        heads = [self.get_suptitle()] + [ax.get_title() for ax in self.axes]
        title = next((" ".join(h.split()) for h in heads if h), "untitled")
        return f"<Picture: {title}>"

    def _repr_png_(self) -> bytes:
        return png(self, self.colours)


def png(figure: Figure, colours: int = 64) -> bytes:
    """The figure as the bytes of a small PNG with a palette.

    colours: chosen from the picture; the house colours come on top, because a
        photograph would otherwise win all places and turn a thin line grey.
    """
    # A title above ticks finds its place while it is drawn, too late for a layout
    # made before: without this it may lie over the title of the whole picture.
    figure.draw_without_rendering()
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=figure.dpi)
    full = Image.open(raw).convert("RGB")
    # Without dithering: its noise would cost more bytes than the palette saves.
    plain = Image.Dither.NONE
    chosen = full.quantize(colours, dither=plain).getpalette()[: 3 * colours]
    # Averaging paper with the edges of letters gives a white that looks dirty.
    chosen = [255 if c > 247 else c for c in chosen]
    entries = (_HOUSE + (_HEAT if colours > 64 else []) + chosen)[: 3 * 256]
    small = full.quantize(palette=_palette(entries), dither=plain)
    room = 256 - len(entries) // 3
    if missed := _missed(full, small, room):
        small = full.quantize(palette=_palette(entries + missed), dither=plain)
    file = io.BytesIO()
    small.save(file, "PNG", optimize=True)
    return file.getvalue()


def _palette(entries: list[int]) -> Image.Image:
    palette = Image.new("P", (1, 1))
    palette.putpalette(entries)
    return palette


def _missed(full: Image.Image, small: Image.Image, most: int) -> list[int]:
    """Colours that a palette turns into clearly others, the widespread ones first.

    A palette is chosen for the many: a yellow peak in a grey photograph gets no
    place in it, and would be drawn in the house's orange, which means "wrong".
    """
    true = np.asarray(full).reshape(-1, 3)
    given = np.asarray(small.convert("RGB")).reshape(-1, 3)
    far = np.abs(true.astype(np.int16) - given).max(1) > FAR
    found = true[far]
    if not len(found) or most < 1:
        return []
    # Neighbouring colours share a place: 16 levels a channel are near enough.
    _, groups, counts = np.unique(
        found >> 4, axis=0, return_inverse=True, return_counts=True
    )
    groups = groups.reshape(-1)
    wide = [g for g in np.argsort(-counts)[:most] if counts[g] >= SPECK]
    return [round(c) for g in wide for c in found[groups == g].mean(0)]


def save(figure: Figure, path: Path | str) -> Path:
    """Write a figure; folders are made. The suffix (png, pdf, svg) is the format.

    Raises:
        RunError: the file cannot be written there.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            path.write_bytes(png(figure, getattr(figure, "colours", 64)))
        else:
            figure.savefig(path)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path}: the picture cannot be written there ({error}). Choose "
            "another folder, and a name that ends in .png, .pdf or .svg"
        ) from error
    return path


def canvas(ax: Axes | None, width: float, height: float) -> tuple[Picture, Axes]:
    """The given axes and their figure, or a new picture with one pair of axes."""
    if ax is not None:
        return ax.figure, ax
    picture = Picture(width, height)
    return picture, picture.subplots()


def heading(ax: Axes, title: str | None, x: str = "", y: str = "") -> None:
    """Title and axis labels in the sizes of the house."""
    if title:
        ax.set_title(title, fontsize=10, color=INK)
    ax.set_xlabel(x, fontsize=9)
    ax.set_ylabel(y, fontsize=9)
    ax.tick_params(labelsize=8)


def note(ax: Axes, words: str) -> None:
    """A sentence inside the picture, at its lower left, readable on anything."""
    ax.text(
        0.015,
        0.02,
        words,
        transform=ax.transAxes,
        fontsize=9,
        color=INK,
        va="bottom",
        bbox={"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 2},
    )


def ink_on(value: float, low: float, high: float) -> str:
    """Dark or white letters for a spot of the heat map, whichever reads better."""
    share = (value - low) / max(high - low, 1e-12)
    channels = np.array(colormaps[HEAT](float(np.clip(share, 0, 1)))[:3])
    linear = np.where(
        channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
    )
    light = linear @ (0.2126, 0.7152, 0.0722)  # WCAG's relative luminance
    return INK if light > 0.2 else "white"  # the two contrasts are equal near 0.2


def legend(ax: Axes, **kwargs) -> None:
    """A legend on a white ground, outside the data where it finds room."""
    kwargs = {"loc": "upper right", "fontsize": 8, "framealpha": 0.9} | kwargs
    ax.legend(**kwargs)


def as_array(values: np.ndarray | Tensor) -> np.ndarray:
    """A tensor or array on any device as a numpy array, for drawing."""
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    return np.asarray(values)


def as_image(image: np.ndarray | Tensor) -> np.ndarray:
    """An image in any of the usual shapes as (H, W) or (H, W, 3).

    Takes (H, W), (1, H, W), (1, 1, H, W), (3, H, W) and (H, W, 3).
    """
    array = as_array(image)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] != 3:
        array = array.transpose(1, 2, 0)
    return array


def draw_image(ax: Axes, image: np.ndarray | Tensor, fade: float = 0.0) -> np.ndarray:
    """Draw an image with pixel centres on whole numbers; returns it as (H, W[, 3]).

    fade: 0 draws it as it is, 1 draws white: a faded image carries lines and
        colours better.
    """
    array = as_image(image)
    top = 255 if array.dtype == np.uint8 else 1
    faded = fade * top + (1 - fade) * array.astype(np.float64)
    if array.ndim == 3:
        ax.imshow(np.clip(faded / top, 0, 1), interpolation="nearest")
    else:
        ax.imshow(faded, cmap="gray", vmin=0, vmax=top, interpolation="nearest")
    return array
