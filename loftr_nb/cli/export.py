"""Write weights in a form that other programs read.

  loftr-nb export runs/mini_ds --to kornia --out mini_kornia.pt
  loftr-nb export mini_ds --to safetensors --out mini.safetensors
  loftr-nb export indoor.ckpt --position released --to ours --out indoor.pt

kornia       a state dict that kornia.feature.LoFTR takes, its config in a JSON beside
original     the released checkpoints' layout, its config in a JSON beside
safetensors  one file for any framework, with the settings in its metadata
ours         what training writes

Weights of optimal transport cannot go to kornia, which has none that runs. Whatever is
written is read back and compared. All four forms are read by --weights, --start and
LoFTR.load.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from ..model.export import FORMS, Exported, export


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb export``."""
    add = parser.add_argument
    add(
        "source",
        metavar="RUN_OR_CHECKPOINT",
        help="run folder, file of weights, mini_ds (comes with the repository), or "
        "outdoor, indoor, indoor_new (fetched)",
    )
    add("--to", required=True, choices=FORMS, help="the form")
    add("--out", required=True, type=Path, help="file to write")
    add(
        "--position",
        choices=["fixed", "released"],
        help="position encoding of weights that do not carry it: released for "
        "outdoor_ds, indoor_ds and the _ot ones, fixed for indoor_ds_new",
    )
    add("--force", action="store_true", help="replace files that are there")
    add("--json", action="store_true", help="print what was written as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Export, and say how to load it."""
    done = export(args.source, args.to, args.out, args.position, args.force)
    if args.json:
        row = dataclasses.asdict(done)
        print(json.dumps(row, default=str, indent=2))
        return
    for line in words(done):
        print(line)


def words(done: Exported) -> list[str]:
    """What was written and how it is loaded, line by line."""
    size = done.path.stat().st_size / 1e6
    lines = [
        f"weights   {done.path} ({size:.1f} MB, {done.parameters:,} parameters)",
        f"position  {done.position}: the encoding these weights were trained with",
    ]
    if done.beside is not None:
        lines.append(f"settings  {done.beside}: keep it with the weights")
    lines.append(f"checked   read back, {done.tensors} tensors equal to the bit")
    lines += [f"note      {note}" for note in _notes(done)]
    code = [f"  {line}" for line in done.how.splitlines()]
    return [*lines, "", "Load it in Python:", "", *code]


def _notes(done: Exported) -> list[str]:
    """What goes wrong in the other program without a word of it."""
    notes = []
    if done.to == "kornia" and done.position == "fixed":
        notes.append("without this config kornia uses the released encoding, silently")
    if done.to == "original" and done.position == "fixed":
        notes.append("its older copies know no temp_bug_fix, and use the released one")
    if done.to == "original" and done.matcher == "ot":
        notes.append("for optimal transport its code needs SuperGlue's file")
    return notes
