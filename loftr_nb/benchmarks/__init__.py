"""Side by side with a peer: time, memory and equality, for anyone to repeat."""

from .compare import Comparison, Side, compare
from .draw import growth_picture
from .index import IndexReport, IndexSide, compare_indices
from .loader import LoaderReport, compare_loaders

__all__ = [
    "Comparison",
    "IndexReport",
    "IndexSide",
    "LoaderReport",
    "Side",
    "compare",
    "compare_indices",
    "compare_loaders",
    "growth_picture",
]
