"""A line over time as an SVG, without a script or a style of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600, 120
ROOM = 4  # above the highest point, so that the line is not cut


@dataclass(frozen=True, slots=True)
class Chart:
    """`counts` from the oldest to now, evenly spaced."""

    counts: Sequence[int]

    @property
    def now(self) -> int:
        return self.counts[-1]

    @property
    def most(self) -> int:
        return max(self.counts)

    @property
    def size(self) -> str:
        return f"0 0 {WIDTH} {HEIGHT}"

    @property
    def line(self) -> str:
        """The points of a polyline."""
        step = WIDTH / max(1, len(self.counts) - 1)
        high = (HEIGHT - ROOM) / max(1, self.most)
        return " ".join(
            f"{number * step:.1f},{HEIGHT - count * high:.1f}"
            for number, count in enumerate(self.counts)
        )

    @property
    def area(self) -> str:
        """The points of the polygon under it."""
        return f"0,{HEIGHT} {self.line} {WIDTH},{HEIGHT}"
