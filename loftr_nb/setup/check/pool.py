"""Frames checked in parallel, in order, with a bounded number under way.

Threads: OpenCV decodes without holding Python's lock, and they need neither fork
nor a copy of each scene. Measured in turns on two busy cores, threads were faster than
processes each time (``bench/data_check.py``).
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ...errors import ConfigError
from ...progress import duration

T = TypeVar("T")
CHUNK = 16  # frames of one task


def worker_count(workers: int | None) -> int:
    """How many threads: the cores that there are, 16 at most, unless it is said.

    Raises:
        ConfigError: not positive.
    """
    if workers is None:
        return min(os.cpu_count() or 1, 16)
    if workers < 1:
        raise ConfigError(f"workers is {workers}; the check needs at least 1")
    return workers


def in_parallel(tasks: Iterable[Callable[[], T]], workers: int) -> Iterator[T]:
    """Results of tasks in their order; only a few are under way at a time."""
    tasks = iter(tasks)
    with ThreadPoolExecutor(workers) as pool:
        under_way: deque[Future] = deque()
        try:
            while True:
                while len(under_way) < 4 * workers:
                    task = next(tasks, None)
                    if task is None:
                        break
                    under_way.append(pool.submit(task))
                if not under_way:
                    return
                yield under_way.popleft().result()
        except BaseException:  # Ctrl-C, too: what has not begun never begins
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class Pace:
    """Progress in words: rate and time left."""

    def __init__(
        self, total: int, report: Callable[[int, int, str], None] | None, what: str
    ) -> None:
        self.total, self.report, self.what = total, report, what
        self.done, self.began = 0, time.perf_counter()

    def step(self, count: int, words: Any = "") -> None:
        """So many more are done."""
        self.done += count
        if self.report is None:
            return
        seconds = max(time.perf_counter() - self.began, 1e-6)
        rate = self.done / seconds
        left = duration((self.total - self.done) / rate) if rate else "unknown"
        text = f"{self.what}, {rate:,.0f}/s, {left} left {words}".rstrip()
        self.report(self.done, self.total, text)
