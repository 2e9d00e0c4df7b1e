"""What a run writes: metrics.jsonl."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

from ..errors import RunError
from ..files.memory import peak_resident_mb
from ..viz import read_metrics
from .board import Board

MB = 2**20


class Metrics:
    """Rows of ``metrics.jsonl``, one JSON object a line.

    Every row has ``event`` (train or validation) and ``step``. A run that goes on
    from step n drops later rows first, so that no step appears twice.
    """

    def __init__(
        self,
        path: Path,
        keep_until: int | None = None,
        board: Board | None = None,
    ) -> None:
        """
        Args:
            keep_until: the step that is gone on from.
            board: gets every number too.
        """
        self.path, self.board = path, board or Board()
        if keep_until is not None and path.exists():
            kept = [r for r in read_metrics(path) if r["step"] <= keep_until]
            part = path.with_name(path.name + ".part")
            part.write_text("".join(json.dumps(r) + "\n" for r in kept))
            part.replace(path)

    def add(self, event: str, step: int, **values: Any) -> None:
        """Append one row; NaN and infinity become null, which JSON can hold."""
        row = {"event": event, "step": step}
        for name, value in values.items():
            if isinstance(value, float):
                value = float(f"{value:.6g}") if math.isfinite(value) else None
            row[name] = value
        try:
            with open(self.path, "a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise RunError(f"{self.path} could not be written: {error}") from error
        self.board.add(event, step, **values)


def peak_memory_mb(device: torch.device) -> float:
    """Most memory so far in MiB: of the card on a GPU, of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MB
    return peak_resident_mb()
