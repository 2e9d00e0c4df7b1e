"""Say in words what this machine has, what is wrong, and how to mend it.

Python, PyTorch and CUDA, cores, memory, shared memory, open files, packages, folders:
  loftr-nb doctor
  loftr-nb doctor --data /data/scannet --runs /scratch/runs --json
The exit status is 1 if something is bad.
"""

from __future__ import annotations

import argparse
import json
import sys

from ..doctor import doctor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb doctor``."""
    parser.add_argument("--data", default="data", help="folder of data (default data)")
    parser.add_argument("--runs", default="runs", help="folder of runs (default runs)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report. Returns 1 if something is bad."""
    report = doctor(args.data, args.runs)
    print(json.dumps(report.as_dict(), indent=2) if args.json else report)
    return 1 if report.is_bad else 0


def instead(error: ImportError) -> int:
    """The report in place of a command that could not even be imported."""
    asked_json = "doctor" in sys.argv and "--json" in sys.argv
    report = doctor()
    if asked_json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        print(report, file=sys.stderr)
        # Last, after a verdict on the machine that may well be "ready to train".
        print(
            f"\nbut loftr-nb itself cannot start: {error}. Install it again "
            "(`make install`, or pip install -e .)",
            file=sys.stderr,
        )
    return 1
