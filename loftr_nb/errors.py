"""Errors that a user can act on: each names the file, the value and the way out.

Everything the package raises on purpose derives from :class:`LoftrNbError`. The
command line prints its message without a traceback and exits with status 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LoftrNbError(Exception):
    """Base of every error that the package raises on purpose.

    exit_status: what the command line ends with.
    """

    exit_status = 2


class DataError(LoftrNbError):
    """A file or folder of a dataset is missing, damaged or contradicts itself."""


class ConfigError(LoftrNbError):
    """A recipe, an override or an argument asks for something that cannot be."""


class CheckpointError(LoftrNbError):
    """A checkpoint is damaged, is no checkpoint, or belongs to another model."""


class RunError(LoftrNbError):
    """A run folder or a training run is in a state that work cannot go on from."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Words that send a reader from a mistyped name to the names that exist.

    Returns ``"did you mean 'mini_ds' or 'mini_ot'?"``, or the whole list of
    names when nothing comes close.
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, n=count, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(k) for k in close) + "?"
    return "known: " + ", ".join(known)
