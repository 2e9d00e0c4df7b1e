"""Get, check and prepare data.

In the order of use:
  loftr-nb data mini                    render the embedded data into data/mini
  loftr-nb data extract FILE ...        unpack the released archives into data
  loftr-nb data link LAYOUT ...         data/<layout>/{train,test,index} from them
  loftr-nb data import KIND SOURCE ...  .sens, 7-Scenes, TUM, COLMAP, plain photos
  loftr-nb data check DIR               files, poses, K, and whether they fit
  loftr-nb data index DIR --out INDEX   pairs of frames without an index, by overlap
  loftr-nb data rewrite INDEX --images DIR --out NEW    MegaDepth without D2-Net
  loftr-nb data convert INDEX --out train.h5            an index of any size at once
  loftr-nb data pack DIR --out PACK     what training reads, at its size, read fast
  loftr-nb data report DIR --out page.html              all of it on one page
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``loftr-nb data``: one module of this folder for each action."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        module = importlib.import_module(f"{__name__}.{name}")
        action = name.rstrip("_")  # `import` is a word of Python's
        one = actions.add_parser(
            action,
            help=module.__doc__.strip().splitlines()[0],
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(one)
        one.set_defaults(run=module.run)
