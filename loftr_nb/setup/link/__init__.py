"""Build ``data/<layout>/{train,test,index}`` from downloads, and take it back."""

from .manifest import MANIFEST
from .run import LinkReport, link
from .undo import UndoReport, unlink

__all__ = ["MANIFEST", "LinkReport", "UndoReport", "link", "unlink"]
