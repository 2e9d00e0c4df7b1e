"""The same training under ``torchrun --nproc-per-node N -m loftr_nb.training``."""

from __future__ import annotations

import argparse
import os
import sys

from ..errors import LoftrNbError
from .command import add_arguments, run
from .signals import Stopped


def main() -> int:
    """Train as one of the processes that torchrun starts."""
    parser = argparse.ArgumentParser(prog="python -m loftr_nb.training")
    add_arguments(parser)
    try:
        return run(parser.parse_intermixed_args()) or 0
    except Stopped as stopped:
        # All processes stop after the same step: one of them says so.
        if os.environ.get("RANK", "0") == "0":
            print(f"loftr_nb.training: {stopped}", file=sys.stderr)
        return stopped.exit_status
    except LoftrNbError as error:
        print(f"loftr_nb.training: {error}", file=sys.stderr)
        return error.exit_status


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is written and the group is closed. Leaving without the
    # interpreter's teardown keeps gloo's threads from being destroyed while they
    # end, which was seen to abort a finished process.
    os._exit(status)
