"""``loftr-nb``: train, evaluate, match and plan from a terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import LoftrNbError, nearest
from . import doctor

try:
    from . import bench, data, evaluate, export, match, plan, slurm, train
except ImportError as error:  # a broken package: say which, and how to mend it
    raise SystemExit(doctor.instead(error)) from None

COMMANDS = {
    "train": train,
    "eval": evaluate,
    "match": match,
    "export": export,
    "plan": plan,
    "slurm": slurm,
    "data": data,
    "doctor": doctor,
    "bench": bench,
}

DESCRIPTION = """\
LoFTR from images with depth to a trained, evaluated matcher.

A first tour, on the embedded data:
  loftr-nb doctor                              what this machine has and lacks
  loftr-nb data mini                           render the data (a minute or two)
  loftr-nb plan mini_ds                        what the run will do
  loftr-nb train mini_ds --out runs/first      train and evaluate
  loftr-nb match a.jpg b.jpg --weights runs/first --max-size 160 --out matches.png
"""


class Parser(argparse.ArgumentParser):
    """Errors that name the nearest right word."""

    def error(self, message: str) -> None:
        if "invalid choice:" in message:
            wrong = message.split("invalid choice: ")[1].split(" ")[0].strip("'\"")
            known = message.split("choose from ")[1].rstrip(")").split(", ")
            hint = nearest(wrong, [k.strip("'\"") for k in known])
            message = f"there is no {wrong!r}: {hint}"
        print(f"{self.prog}: {message}\nTry {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; ``--help`` of every command comes from here."""
    parser = Parser(
        prog="loftr-nb",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        first = module.__doc__.strip().splitlines()[0]
        module.add_arguments(
            commands.add_parser(
                name,
                help=first,
                description=module.__doc__,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
    return parser


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Arguments of one command; ``field=value`` may stand before or after options."""
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    # argparse takes positional words from one place only.
    strange = [r for r in rest if r.startswith("-") or "=" not in r]
    if strange or (rest and not hasattr(args, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(strange or rest)}")
    if rest:
        args.overrides = [*args.overrides, *rest]
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status (2 for an error of the user's,
    75 for a training that was asked to stop and is saved)."""
    args = parse(argv)
    try:
        return args.run(args) or 0
    except LoftrNbError as error:
        print(f"loftr-nb {args.command}: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
