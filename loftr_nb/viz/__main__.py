"""Draw the picture of the first page.

    python -m loftr_nb.viz notebooks/figures/overview.png

Uses ``data/mini`` (rendered if it is missing) and the weights of the repository.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import LoftrNbError
from .overview import show_overview
from .style import save


def main(argv: list[str] | None = None) -> int:
    """Draw and save. Returns 0, or 2 where something is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m loftr_nb.viz", description="The project in one picture."
    )
    parser.add_argument("out", type=Path, help="file to write: .png, .pdf or .svg")
    parser.add_argument("--data", type=Path, default=Path("data/mini"))
    args = parser.parse_args(argv)
    try:
        path = save(show_overview(args.data), args.out)
    except LoftrNbError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
