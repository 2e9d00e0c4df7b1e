"""Weights for other programs, and back: what they need travels with them.

``kornia``       a state dict for ``kornia.feature.LoFTR``
``original``     the layout of the released checkpoints, names under ``matcher.``
``safetensors``  one file that any framework reads, settings in its metadata
``ours``         what :meth:`LoFTR.save` writes

The first two have no place for settings, so a JSON beside them holds the dict that the
other program takes, the position encoding in it. All four are read by
:meth:`LoFTR.load`, weights equal to the bit.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError, ConfigError, LoftrNbError, nearest
from ..files.checkpoints import atomic_save, reason
from ..files.write import write_whole
from . import weights
from .config import LoFTRConfig
from .loftr import LoFTR
from .source import open_source
from .weights_file import FORMAT, VERSION, beside, sha256

FORMS = ("kornia", "original", "safetensors", "ours")
SUFFIX = ".safetensors"

_HOW = {
    "kornia": """\
import json, torch, kornia
config = json.load(open({beside!r}))["config"]
config["resolution"] = tuple(config["resolution"])  # JSON has no tuples
matcher = kornia.feature.LoFTR(pretrained=None, config=config)
matcher.load_state_dict(torch.load({path!r}, weights_only=True))
matcher.eval()  # kornia leaves it in training mode""",
    "original": """\
import json, torch
from src.loftr import LoFTR  # in a clone of zju3dv/LoFTR
config = json.load(open({beside!r}))["config"]
config["resolution"] = tuple(config["resolution"])  # JSON has no tuples
matcher = LoFTR(config=config)
matcher.load_state_dict(torch.load({path!r})["state_dict"])
matcher.eval()""",
    "safetensors": """\
from loftr_nb.model import LoFTR
matcher = LoFTR.load({path!r})
# without this package: weights and settings
from safetensors import safe_open
with safe_open({path!r}, framework="pt") as file:
    state = {{name: file.get_tensor(name) for name in file.keys()}}
    settings = file.metadata()["config"]""",
    "ours": """\
from loftr_nb.model import LoFTR
matcher = LoFTR.load({path!r})""",
}


@dataclass(frozen=True)
class Exported:
    """What :func:`export` wrote.

    to: the form. path: the weights. beside: the JSON with the settings, or None where
    the file itself has them. position, matcher: of the weights. how: Python that
    loads them. provenance: what is known of where they come from.
    """

    to: str
    path: Path
    beside: Path | None
    position: str
    matcher: str
    tensors: int
    parameters: int
    how: str
    provenance: dict[str, Any]


def export(
    source: LoFTR | str | os.PathLike[str],
    to: str,
    out: str | os.PathLike[str],
    position: str | None = None,
    force: bool = False,
) -> Exported:
    """Write weights in the form that another program reads, and read them back.

    Args:
        source: a model, or what :func:`.source.find_weights` takes.
        to: ``kornia``, ``original``, ``safetensors`` or ``ours``.
        out: the file; its folder is made.
        position: of a source that does not say how it was trained.
        force: replace files that are there.

    Raises:
        ConfigError: the form cannot hold these weights, with the value that it has no
            word for; a name for ``out`` that would mislead; or ``out`` exists.
        CheckpointError: the source cannot be read, or what was written is not the
            same.
        DataError: the disk is full or the folder cannot be written to.
    """
    out = Path(out)
    if to not in FORMS:
        raise ConfigError(f"--to {to} is unknown; {nearest(to, FORMS)}")
    model, provenance = open_source(source, position)
    config = model.config
    _refuse(config, to, out)
    state = _plain(model)
    settings = beside(out) if to in ("kornia", "original") else None
    for path in (out, settings):
        if path is not None and path.exists():
            _check_free(path, force)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{out.parent} is no folder and none can be made ({reason(error)}): give "
            "another --out"
        ) from error
    _write(out, to, state, config, provenance)
    if settings is not None:
        words = _words(out, to, config, provenance)
        write_whole(settings, lambda file: file.write(words))
    _check_equal(out, state, config)
    names = {"path": str(out), "beside": str(settings)}
    return Exported(
        to,
        out,
        settings,
        config.position,
        config.matcher,
        len(state),
        sum(p.numel() for p in model.parameters()),
        _HOW[to].format(**names),
        provenance,
    )


def twin_config(config: LoFTRConfig, to: str) -> dict[str, Any]:
    """The ``config`` that ``kornia`` or the ``original`` code makes this network from.

    Raises:
        ConfigError: kornia has no word for a value of it.
    """
    _refuse_twin(config, to)
    twin = dataclasses.replace(config, matcher="ds").to_kornia()
    if to == "original":
        kind = {"ds": "dual_softmax", "ot": "sinkhorn"}[config.matcher]
        # Asked for at every call of the sinkhorn branch, and by training.
        twin["match_coarse"] |= {"match_type": kind, "sparse_spvs": False}
    return twin


def _refuse_twin(config: LoFTRConfig, to: str) -> None:
    if to == "kornia" and config.matcher != "ds":
        raise ConfigError(
            f"matcher={config.matcher!r} cannot go to kornia, which has no optimal "
            "transport that runs: export --to original or --to safetensors, or train "
            "one with dual-softmax (matcher='ds') for kornia"
        )


def _refuse(config: LoFTRConfig, to: str, out: Path) -> None:
    _refuse_twin(config, to)
    if (out.suffix == SUFFIX) != (to == "safetensors"):
        wanted = f"in {SUFFIX}" if to == "safetensors" else "in .pt or .ckpt"
        raise ConfigError(
            f"{out.name} would mislead whoever reads it: a file --to {to} has a name "
            f"that ends {wanted}"
        )
    published = weights.PUBLISHED_FILES.get(out.name, config.position)
    if published != config.position:
        raise ConfigError(
            f"{out.name} is the name of published weights, which are of "
            f"position={published!r}, and these are of position={config.position!r}: "
            "give the file another name"
        )


def _check_free(path: Path, force: bool) -> None:
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: give the name of a file")
    if not force:
        raise ConfigError(
            f"{path} exists and is left as it is: give another --out, or --force to "
            "replace it"
        )


def _plain(model: LoFTR) -> dict[str, Tensor]:
    """The weights as every reader expects them: float32, on the CPU, finite."""
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    for name, value in state.items():
        if value.is_floating_point() and value.dtype != torch.float32:
            raise ConfigError(
                f"{name} is {value.dtype}, and weights are exported as float32: call "
                "float() on the model first"
            )
        if not torch.isfinite(value).all():
            raise ConfigError(
                f"{name} is not finite: training diverged, take an earlier checkpoint"
            )
    return state


def _write(
    out: Path,
    to: str,
    state: Mapping[str, Tensor],
    config: LoFTRConfig,
    provenance: dict[str, Any],
) -> None:
    if to == "safetensors":
        content = _safetensors(state, config, provenance)
        write_whole(out, lambda file: file.write(content))
        return
    payload: Any = dict(state)
    if to == "original":
        payload = {"state_dict": {f"matcher.{k}": v for k, v in state.items()}}
    if to == "ours":
        ours = {"format": FORMAT, "version": VERSION, "config": config.to_dict()}
        payload = ours | {"state_dict": payload, "provenance": provenance}
    atomic_save(payload, out)


def _safetensors(
    state: Mapping[str, Tensor], config: LoFTRConfig, provenance: dict[str, Any]
) -> bytes:
    """A file whose bytes depend on nothing but what is in it."""
    from safetensors.torch import save

    words = {
        "format": "pt",
        FORMAT: str(VERSION),
        "config": json.dumps(config.to_dict(), sort_keys=True),
        "position": config.position,
        "provenance": json.dumps(provenance, sort_keys=True),
    }
    content = save(dict(state))
    # The library writes metadata in random order: equal weights would not be equal
    # files. The header is JSON behind its length, padded to 8 bytes.
    length = int.from_bytes(content[:8], "little")
    header = {"__metadata__": words} | json.loads(content[8 : 8 + length])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _words(
    out: Path, to: str, config: LoFTRConfig, provenance: dict[str, Any]
) -> bytes:
    ours = {
        "to": to,
        "position": config.position,
        "settings": config.to_dict(),
        "weights_sha256": sha256(out),
        "provenance": provenance,
    }
    both = {"config": twin_config(config, to), FORMAT: ours}
    return (json.dumps(both, indent=2) + "\n").encode()


def _check_equal(out: Path, state: Mapping[str, Tensor], config: LoFTRConfig) -> None:
    """Read the file as a stranger would: nothing is claimed that was not seen."""
    try:
        again = weights.load(out)
    except LoftrNbError as error:
        raise CheckpointError(
            f"{out} was written and cannot be read: {error}"
        ) from error
    theirs = again.state_dict()
    same = list(theirs) == list(state) and all(
        torch.equal(value, theirs[name]) and value.dtype == theirs[name].dtype
        for name, value in state.items()
    )
    if not same or again.config != config:
        raise CheckpointError(
            f"{out} was written and does not hold the same weights: its disk is at "
            "fault, or another program writes there. Export to another folder"
        )
