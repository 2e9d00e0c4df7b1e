"""What the cores give: the backbone's largest convolutions alone, in GFLOP/s.

    nice python bench/convolutions.py     # a minute on two idle cores

Channels last, two images, forward, gradient by input and by weight; and a product of
two large matrices. The best of three runs each: the most a training step can hope for.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

# Channels in and out, height and width of the map, for an input of 640x480.
LARGEST = ((128, 128, 240, 320), (196, 196, 240, 320), (256, 256, 120, 160))
PADDED = ((208, 208, 240, 320),)  # 196, as a multiple of 16
SIDE = 4096


def best_of_three(run: Callable[[], object]) -> float:
    """Seconds of the fastest of three runs, after one that is not counted."""
    run()
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def convolution(
    inputs: int, outputs: int, height: int, width: int, dtype: torch.dtype
) -> list[float]:
    """GFLOP/s forward, by input and by weight of one 3x3 convolution."""
    last = {"memory_format": torch.channels_last}
    x = torch.randn(2, inputs, height, width).to(dtype).contiguous(**last)
    weight = torch.randn(outputs, inputs, 3, 3).to(dtype).contiguous(**last)
    by_y = torch.randn(2, outputs, height, width).to(dtype).contiguous(**last)
    work = 2 * 9 * inputs * outputs * height * width * 2 / 1e9

    def backward(by_input: bool) -> object:
        return torch.ops.aten.convolution_backward(
            by_y, x, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1,
            [by_input, not by_input, False],
        )  # fmt: skip

    runs = (
        lambda: F.conv2d(x, weight, padding=1),
        lambda: backward(True),
        lambda: backward(False),
    )
    return [work / best_of_three(run) for run in runs]


def main() -> None:
    """Print the table."""
    print(f"{torch.get_num_threads()} threads, GFLOP/s")
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        for shape in LARGEST + PADDED:
            rates = convolution(*shape, dtype)
            inputs, outputs, height, width = shape
            print(
                f"{name}: 3x3, {inputs} to {outputs}, {height}x{width}: forward "
                "{:.0f}, by input {:.0f}, by weight {:.0f}".format(*rates),
                flush=True,
            )
        a, b = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
        rate = 2 * SIDE**3 / 1e9 / best_of_three(lambda a=a, b=b: a @ b)
        print(f"{name}: product of two {SIDE}x{SIDE} matrices: {rate:.0f}")


if __name__ == "__main__":
    main()
