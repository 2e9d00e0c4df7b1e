"""A small table that a notebook shows as a table and a terminal as columns."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence


class Table:
    """Rows under headings. Numbers are set to the right; floats get 4 digits."""

    def __init__(self, rows: Sequence[Mapping[str, object]]) -> None:
        self.head = list(rows[0]) if rows else []
        self.rows = [[_cell(row.get(name, "")) for name in self.head] for row in rows]
        self.right = [
            isinstance(rows[0][name], (int, float)) for name in self.head
        ]  # by the first row: a column holds one kind of value

    def __repr__(self) -> str:
        lines = [self.head, *self.rows]
        widths = [max(len(line[n]) for line in lines) for n in range(len(self.head))]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(line, widths, self.right, strict=True)
            ).rstrip()
            for line in lines
        )

    def _repr_html_(self) -> str:
        sides = ["right" if right else "left" for right in self.right]

        def line(cells: Sequence[str], tag: str) -> str:
            return "".join(
                f'<{tag} style="text-align:{side}">{html.escape(cell)}</{tag}>'
                for cell, side in zip(cells, sides, strict=True)
            )

        body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in self.rows)
        return f"<table><tr>{line(self.head, 'th')}</tr>{body}</table>"


def table(rows: Sequence[Mapping[str, object]]) -> Table:
    """A table of rows that share their keys; the keys are the headings."""
    return Table(rows)


def _cell(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
