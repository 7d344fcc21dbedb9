"""Image sizes that networks accept, and the number of times that networks halve them."""

from __future__ import annotations

from typing import NamedTuple

ImageSize = int | tuple[int, ...]

_SMALLEST, _STEP = 4, 4
_LARGE = 64  # from here on, residual networks have the paper's 64-pixel architecture


class Halvings(NamedTuple):
    """Halvings from an image to the smallest size inside a network.

    Attributes:
      sides: height and width of the image.
      times: number of times that both sides are halved.
      smallest: height and width after halving.
    """

    sides: tuple[int, int]
    times: int
    smallest: tuple[int, int]

    @property
    def is_large(self) -> bool:
        """Whether a side has at least 64 pixels."""
        return max(self.sides) >= _LARGE

    @property
    def area(self) -> int:
        """Number of pixels of the smallest size."""
        return self.smallest[0] * self.smallest[1]


def halvings(image_size: ImageSize) -> Halvings:
    """Halve an image, given by one side or height and width, while both have 4 or more pixels.

    Raises:
      ValueError: a side is not a multiple of 4 pixels.

    Example:
      >>> halvings(64)
      Halvings(sides=(64, 64), times=4, smallest=(4, 4))
      >>> halvings((48, 28)).smallest
      (12, 7)
    """
    sides = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sides) != 2 or any(side < _STEP or side % _STEP for side in sides):
        below = max(_STEP, next((side for side in sides if side % _STEP), 0) // _STEP * _STEP)
        raise ValueError(
            f"image_size takes one side or height and width, multiples of {_STEP} pixels, got "
            f"{image_size}; use {below} or {below + _STEP}"
        )
    height, width = sides
    times = 1
    while all(side % 2 ** (times + 1) == 0 and side >> (times + 1) >= _SMALLEST for side in sides):
        times += 1
    return Halvings((height, width), times, (height >> times, width >> times))


def residual_widths(image_size: ImageSize) -> list[int]:
    """Return the widths of a residual generator's blocks in order, as multiples of its filters.

    Example:
      >>> residual_widths(32), residual_widths(64), residual_widths(128)
      ([1, 1, 1], [8, 4, 2, 1], [8, 8, 4, 2, 1])
    """
    plan = halvings(image_size)
    return [min(8, 2**k) if plan.is_large else 1 for k in reversed(range(plan.times))]


def residual_halvings(image_size: ImageSize) -> int:
    """Return the number of times that a residual critic halves an image.

    Example:
      >>> residual_halvings(16), residual_halvings(32), residual_halvings(64)
      (1, 2, 4)
    """
    plan = halvings(image_size)
    return plan.times if plan.is_large else 1 + (min(plan.sides) >= 32)
