"""The same training under ``torchrun --nproc-per-node N -m loftr_nb.training``."""

from __future__ import annotations

import argparse
import os
import sys
import traceback

from ..errors import LoftrNbError
from .command import add_arguments, run
from .peers import PeerError
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
    except PeerError as error:
        # The process at fault says so itself; once a machine is enough beside it.
        if os.environ.get("LOCAL_RANK", "0") == "0":
            say(error)
        return error.exit_status
    except LoftrNbError as error:
        say(error)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except Exception:
        traceback.print_exc()
        return 1


def say(error: LoftrNbError) -> None:
    """The error, and whose it is where there are several processes."""
    many = int(os.environ.get("WORLD_SIZE", "1")) > 1
    who = f"rank {os.environ['RANK']}: " if many else ""
    print(f"loftr_nb.training: {who}{error}", file=sys.stderr)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is written and the group is closed. Leaving without the
    # interpreter's teardown keeps gloo's threads from being destroyed while they
    # end, which was seen to abort a finished process, or to keep one that failed.
    os._exit(status)
