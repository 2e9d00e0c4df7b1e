"""Memory and time of a recipe's steps on this machine, predicted and then measured.

A process of its own takes the steps, so that its peak is theirs alone. Before it
meets the real size it takes steps with small images: what they need, and what is
known of the confidence matrix, tells whether the real size fits. What does not is
refused, not tried.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ..errors import ConfigError, RunError
from ..geometry import COARSE_STRIDE
from ..progress import StatusLine
from .config import Recipe
from .estimate import Estimate, Measurement, matrix_bytes
from .machine import free_memory
from .recipes import recipe_to_dict
from .stand_in import input_size

SMALL = (12_288, 49_152)  # pixels of the two sizes that are tried first
SAFE = 0.9  # share of the free memory that a step may take
WARMUP = 3


def measure(
    recipe: Recipe,
    processes: int = 1,
    device: str | None = None,
    steps: int = 20,
    data: Path | None = None,
    status: StatusLine | None = None,
) -> Measurement:
    """Take ``steps`` real steps of the recipe in a process of its own.

    Args:
        processes: that will share this machine; on CPUs they share its memory, too.
        device: ``cpu`` or ``cuda``; by default a GPU where there is one.
        data: folder of the data, read by the recipe's loader workers; None measures
            with a made pair, and so without reading.
        status: where to say how far it is.

    Raises:
        ConfigError: fewer than one step, or a device that is not there.
        RunError: the process ended for another reason than memory.
    """
    if steps < 1:
        raise ConfigError(f"steps is {steps}: at least 1 is needed")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"--device {device}: PyTorch sees no GPU here, `loftr-nb doctor` says why"
        )
    status = status or StatusLine(on=False)
    size, pairs = input_size(recipe), recipe.optim.batch
    free = SAFE * free_memory() / processes
    job = {
        "recipe": recipe_to_dict(recipe),
        "batch": pairs,
        "parts": min(2, recipe.optim.accumulate),
        "steps": steps,
        "warmup": WARMUP,
        "device": device,
        "data": None if data is None else str(data),
        "small": _small_sizes(size, pairs),
    }
    return _Talk(job, recipe, free, status).hold()


class _Talk:
    """The conversation with the process that takes the steps."""

    def __init__(
        self, job: dict[str, Any], recipe: Recipe, free: float, status: StatusLine
    ) -> None:
        self.job, self.recipe, self.status = job, recipe, status
        self.free = free
        self.name = "CPU"
        self.said: dict[str, Any] = {}

    def hold(self) -> Measurement:
        """Ask for everything that can be had without running out of memory."""
        with subprocess.Popen(
            [sys.executable, "-m", "loftr_nb.training.probe"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            try:
                return self._hold(child)
            finally:
                child.kill()

    def _hold(self, child: subprocess.Popen) -> Measurement:
        self.status.show(lambda: "measuring: small sizes first", force=True)
        self._write(child, json.dumps(self.job))
        ready = next(self._lines(child, {"ready"}))
        self.name = ready["name"]
        if ready["free"] is not None:
            self.free = SAFE * ready["free"]
        probes = [next(self._lines(child, {"probe"})) for _ in self.job["small"]]
        estimate = self._estimate(probes)
        found = self._found(estimate)
        if estimate and found.predicted > self.free:
            return found
        self._write(child, "go")
        for line in self._lines(child, {"step", "result", "trouble"}):
            if line["kind"] == "step":
                self._show(line)
            elif line["kind"] == "trouble":  # memory: others are raised
                return self._found(estimate, out_of_memory=True)
            else:
                rows = tuple(tuple(row) for row in line["rows"])
                return self._found(
                    estimate,
                    peak=line["peak"],
                    rows=rows,
                    batch_bytes=line["batch_bytes"],
                )
        return self._found(estimate, out_of_memory=self._ended(child))

    def _lines(
        self, child: subprocess.Popen, kinds: set[str]
    ) -> Iterator[dict[str, Any]]:
        """What the process says, of these kinds, until it ends.

        Raises:
            RunError: it says that something else than memory is wrong, or it ends
                before it has said what the caller waits for.
        """
        for text in child.stdout:
            if not text.startswith("{"):
                continue  # a library that speaks of itself
            line = json.loads(text)
            if line["kind"] == "trouble" and line["what"] != "memory":
                raise RunError(f"the measurement failed: {line['words']}")
            if line["kind"] in kinds:
                yield line
            elif line["kind"] == "trouble":
                raise RunError(f"out of memory before the real size: {line['words']}")
        if kinds & {"ready", "probe"}:
            self._ended(child)
            raise RunError("the measuring process was killed before it began")

    def _ended(self, child: subprocess.Popen) -> bool:
        """Whether the system killed it, which is what it does without memory.

        Raises:
            RunError: it ended for another reason; the message has its last words.
        """
        status = child.wait()
        if status == -9:
            return True
        last = (child.stderr.read().strip().splitlines() or ["no word"])[-1]
        raise RunError(f"the measuring process ended with status {status}: {last}")

    def _write(self, child: subprocess.Popen, text: str) -> None:
        try:
            child.stdin.write(text + "\n")
            child.stdin.flush()
        except BrokenPipeError:
            self._ended(child)

    def _estimate(self, probes: list[dict[str, Any]]) -> Estimate | None:
        if len(probes) < 2:
            return None
        matrix = matrix_bytes(self.recipe)
        (n0, y0), (n1, y1) = (
            (p["pixels"], p["peak"] - matrix * (p["pixels"] / COARSE_STRIDE**2) ** 2)
            for p in probes
        )
        slope = max(0.0, (y1 - y0) / (n1 - n0))
        return Estimate(y0 - slope * n0, slope, matrix)

    def _found(self, estimate: Estimate | None, **more: Any) -> Measurement:
        job = self.job
        return Measurement(
            self.recipe,
            job["device"],
            self.name,
            job["batch"],
            input_size(self.recipe),
            job["parts"],
            job["data"],
            self.free,
            estimate,
            **more,
        )

    def _show(self, line: dict[str, Any]) -> None:
        total = self.job["warmup"] + self.job["steps"]
        self.status.show(
            lambda: (
                f"measuring: step {line['number']} of {total}, "
                f"{line['seconds']:.2f} s each"
            )
        )


def _small_sizes(size: tuple[int, int], pairs: int) -> list[tuple[int, int]]:
    """Two small sizes of the same shape; none where the real one is no larger."""
    area = size[0] * size[1]
    if pairs * area <= 2 * SMALL[-1]:
        return []
    return [
        tuple(
            max(
                64, round(side * (pixels / area) ** 0.5 / COARSE_STRIDE) * COARSE_STRIDE
            )
            for side in size
        )
        for pixels in SMALL
    ]
