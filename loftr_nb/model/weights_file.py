"""What a file of weights holds, whichever of the known forms it has.

torch's zip (ours, a training checkpoint, the original release's, kornia's) or
safetensors. A file that says nothing of its network may have a JSON beside it, which
:mod:`.export` writes: it is read with the weights, and bound to them by a checksum.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..files.checkpoints import reason

FORMAT = "loftr_nb"
VERSION = 1


@dataclass(frozen=True)
class WeightsFile:
    """state: weights under kornia's names. settings: of the network, as
    :meth:`LoFTRConfig.to_dict` gives them, or None where nobody says. provenance:
    where the weights come from, as far as the file says."""

    state: dict[str, Tensor]
    settings: Any
    provenance: dict[str, Any] = field(default_factory=dict)


def open_weights(path: Path) -> WeightsFile:
    """Read a file of weights; nothing in it is executed.

    Raises:
        CheckpointError: missing, damaged, holds no weights, is of a later version, or
            the JSON beside it is of other weights.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"checkpoint {path} {what}: give the path of a file")
    raw = _read_safetensors(path) if is_safetensors(path) else _read_torch(path)
    if isinstance(raw, Mapping) and isinstance(raw.get("model"), Mapping):
        raw = raw["model"]
    _check_version(raw, path)
    stored = raw.get("config") if isinstance(raw, Mapping) else None
    origin = raw.get("provenance") if isinstance(raw, Mapping) else None
    state = _state(raw, path)
    if stored is None:
        stored, origin = _read_beside(path)
    return WeightsFile(state, stored, dict(origin or {}))


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: a length, then a JSON of that length."""
    with open(path, "rb") as file:
        head = file.read(9)
    length = int.from_bytes(head[:8], "little")
    return len(head) == 9 and head[8:] == b"{" and length < 2**27


def beside(path: Path) -> Path:
    """The JSON that goes with weights which cannot carry their configuration."""
    return path.with_name(path.name + ".json")


def sha256(path: Path) -> str:
    """The file's SHA-256, in hexadecimal.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error.strerror or error}"
        ) from error


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and torch each have their own kinds
        raise _unreadable(path, error, "checkpoint") from error


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}
            words = file.metadata() or {}
    except Exception as error:  # SafetensorError, or what the disk says
        raise _unreadable(path, error, "safetensors file") from error
    raw: dict[str, Any] = {"state_dict": state}
    if FORMAT not in words:  # another program's: weights alone
        return raw
    try:
        version, config = int(words[FORMAT]), json.loads(words["config"])
        origin = json.loads(words.get("provenance", "{}"))
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"the metadata of {path} does not hold the network's configuration "
            f"({type(error).__name__}: {error}): export the weights again"
        ) from error
    return raw | {"version": version, "config": config, "provenance": origin}


def _unreadable(path: Path, error: Exception, kind: str) -> CheckpointError:
    first = str(error).splitlines()[0] if str(error) else ""
    return CheckpointError(
        f"{path} ({path.stat().st_size} bytes) is not a readable {kind}: it "
        "is cut short, another kind of file, or holds more than tensors and "
        f"plain values ({type(error).__name__}: {first[:200]}). Fetch or train it "
        "again; of a file that you trust, re-save its state_dict alone"
    )


def _check_version(raw: Any, path: Path) -> None:
    if isinstance(raw, Mapping) and raw.get("version", VERSION) != VERSION:
        raise CheckpointError(
            f"{path} is of version {raw['version']!r}, this package reads {VERSION}: "
            "update the package"
        )


def _state(raw: Any, path: Path) -> dict[str, Tensor]:
    """The weights in what a file held, without the release's prefix."""
    state = raw.get("state_dict", raw) if isinstance(raw, Mapping) else None
    if (
        not isinstance(state, Mapping)
        or not state
        or not all(isinstance(v, Tensor) for v in state.values())
    ):
        raise CheckpointError(
            f"{path} holds no weights: a state_dict is needed, at the top or under "
            f"'model', and this is {_describe(raw)}"
        )
    return {str(k).removeprefix("matcher."): v for k, v in state.items()}


def _describe(raw: Any) -> str:
    if not isinstance(raw, Mapping):
        return f"a {type(raw).__name__}"
    return f"a dict with {', '.join(map(repr, list(raw)[:6])) or 'nothing'}"


def _read_beside(path: Path) -> tuple[Any, Any]:
    """Settings and provenance in the JSON beside ``path``; None without one of ours."""
    where = beside(path)
    if not where.is_file():
        return None, None
    try:
        ours = json.loads(where.read_text(encoding="utf-8")).get(FORMAT)
    except (OSError, ValueError, AttributeError) as error:
        words = reason(error) if isinstance(error, OSError) else "not a JSON object"
        raise CheckpointError(
            f"{where} lies beside the weights and cannot be read ({words}): mend it, "
            "or move it away and say with position= how the weights were trained"
        ) from error
    if not isinstance(ours, Mapping):
        return None, None
    if ours.get("weights_sha256") != sha256(path):
        raise CheckpointError(
            f"{where} describes other weights than {path.name}: export both again, or "
            "move the JSON away and say with position= how the weights were trained"
        )
    return ours.get("settings"), ours.get("provenance")
