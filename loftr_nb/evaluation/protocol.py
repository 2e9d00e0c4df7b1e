"""What a pose score depends on, in one place, and in words beside the score."""

from __future__ import annotations

import dataclasses
import textwrap
from dataclasses import dataclass
from importlib import metadata

import cv2

from ..errors import ConfigError, nearest
from .solvers import SOLVERS

CAUTION = (
    "A score without its protocol says nothing: on MegaDepth the solver alone "
    "moves AUC@5 by 13 points, and the input size by several."
)


@dataclass(frozen=True)
class Protocol:
    """How matches are judged. The defaults are the published ones for indoor.

    solver: 'ransac' (OpenCV's, as published), 'magsac' (OpenCV's MAGSAC++) or
        'lo-ransac' (PoseLib's).
    threshold_px: of the solver, in original pixels over the mean focal length.
    confidence: at which the solver stops.
    max_iterations: None takes the solver's own (1,000 for 'ransac').
    epipolar_threshold: for precision, squared and normalised: 5e-4 indoor, 1e-4
        outdoor. (The released outdoor configuration forgets to set it and
        reports at 5e-4.)
    size: the network's input, (w, h) or the longer side; for the card alone,
        the dataset decides. ``evaluate`` fills it in where it is None.
    max_pairs: evaluate this many, evenly spread over the data; None for all.
    seed: of the solvers; each pair adds its index, so order does not matter.
    data: what the pairs are, for the card.

    Raises:
        ConfigError: an unknown solver, or a number out of range.
    """

    solver: str = "ransac"
    threshold_px: float = 0.5
    confidence: float = 0.99999
    max_iterations: int | None = None
    epipolar_threshold: float = 5e-4
    size: tuple[int, int] | int | None = None
    max_pairs: int | None = None
    seed: int = 0
    data: str = ""

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            hint = nearest(self.solver, SOLVERS)
            raise ConfigError(f"no solver is called {self.solver!r}; {hint}")
        for name in ("threshold_px", "epipolar_threshold"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} = {getattr(self, name)}: it must be above 0")
        if not 0 < self.confidence < 1:
            raise ConfigError(f"confidence = {self.confidence}: between 0 and 1")
        for name in ("max_iterations", "max_pairs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} = {value}: at least 1, or None")
        if self.seed < 0:
            raise ConfigError(f"seed = {self.seed}: an integer from 0 on")

    def card(self, pairs: int | None = None, total: int | None = None) -> str:
        """The protocol in lines of text, to print beside each score.

        Args:
            pairs: how many were evaluated. total: how many the data has.
        """
        rows = {
            "data": self.data,
            "pairs": self._pairs(pairs, total),
            "input": f"{self._size()}; keypoints and K in pixels of the original",
            "pose": self._pose(),
            "error": "larger of rotation and direction of translation (up to sign), "
            "degrees; no pose counts as infinite",
            "AUC": "area under recall against error, trapezoids, percent",
            "precision": "matches with squared symmetric epipolar distance under "
            f"{self.epipolar_threshold:g} (normalised), percent, mean over pairs",
            "seed": f"{self.seed} plus the pair's index",
            "caution": CAUTION,
        }
        lines = [_row(name, text) for name, text in rows.items() if text]
        return "\n".join(["protocol", *lines])

    def as_dict(self) -> dict[str, object]:
        """The fields and the solver's version, as plain values for JSON."""
        fields = dataclasses.asdict(self)
        fields["max_iterations"] = self.iterations
        fields["library"] = solver_version(self.solver)
        return fields

    @property
    def iterations(self) -> int:
        """The most iterations that the solver runs."""
        return self.max_iterations or SOLVERS[self.solver].iterations

    def _pose(self) -> str:
        return (
            f"{self.solver}: {SOLVERS[self.solver].library} "
            f"({solver_version(self.solver)}), {self.threshold_px:g} px over the "
            f"mean focal length, confidence {self.confidence:g}, at most "
            f"{self.iterations:,} iterations"
        )

    def _size(self) -> str:
        if self.size is None:
            return "size as the data gives it"
        if isinstance(self.size, int):
            return f"longer side {self.size}"
        return "{}x{}".format(*self.size)

    def _pairs(self, pairs: int | None, total: int | None) -> str:
        if pairs is None:
            return f"at most {self.max_pairs:,}" if self.max_pairs else "all"
        if total is None or total == pairs:
            return f"all {pairs:,}" if total == pairs else f"{pairs:,}"
        return f"{pairs:,} of {total:,}, evenly spread"


INDOOR = Protocol(size=(640, 480))
OUTDOOR = Protocol(size=840, epipolar_threshold=1e-4)


def solver_version(solver: str) -> str:
    """Name and version of the library behind a solver, ``"cv2 4.12.0"``."""
    module = SOLVERS[solver].module
    if module == "cv2":
        return f"cv2 {cv2.__version__}"
    try:
        return f"{module} {metadata.version(module)}"
    except metadata.PackageNotFoundError:
        return f"{module}, not installed"


def _row(name: str, text: str) -> str:
    head = f"  {name:<10}"
    return textwrap.fill(
        text, width=79, initial_indent=head, subsequent_indent=" " * len(head)
    )
