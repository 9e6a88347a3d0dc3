"""The frame: a shift and a power-of-two scale per column that make all arithmetic safe at any offset and unit.

Without it ``L x - L mu`` loses the digits that an offset of 1e8 takes, and squares of 1e-200 vanish. Shifting costs
one subtraction a value; multiplying by a power of two is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mixtura._types import FloatArray, IntArray

EPS = float(np.finfo(np.float64).eps)

LARGEST_SPAN = 2.0**508  # beyond, the square of a span, a variance, comes too near the largest float64
LARGEST_EXPONENT = 500  # of a scale; keeps reg_covar * scale**2 finite for columns of subnormal numbers
SMALLEST_SD = 2.0**-508  # below, a precision in the data's own units would overflow
HORIZON = 1e150  # squares of this still are numbers
ARITHMETIC_FLOOR = 2.0**-42  # 1024 roundings of a span: whitening errs by 1e-3 at most


@dataclass(frozen=True, eq=False)
class Frame:
    """Coordinates ``z = (x - shift) * scale`` in which parameters are held and kernels compute.

    Attributes
    ----------
    shift, scale : (d,) array
        Centre, and power of two near one over the half-span, of each column.
    floor : (d,) array
        Least standard deviation, in frame units, that the numbers can carry: one rounding of the column's
        largest value, and 1024 of its span.
    """

    shift: FloatArray
    scale: FloatArray
    floor: FloatArray

    @classmethod
    def from_range(cls, low: FloatArray, high: FloatArray, centre: FloatArray, *, isotropic: bool = False) -> Frame:
        """Build the frame of columns that run from `low` to `high` about `centre`.

        With `isotropic`, all columns get one scale, as a model that compares distances across columns needs.
        """
        largest = np.maximum(np.abs(low), np.abs(high))
        span = np.maximum(high / 2 - low / 2, 0.0)
        if (wide := span > LARGEST_SPAN).any():
            j = int(np.argmax(wide))
            raise ValueError(
                f"column {j} runs from {low[j]:g} to {high[j]:g}: its variance exceeds the largest float64; "
                f"rescale the column, or remove the outlier"
            )
        reach = np.maximum(high - centre, centre - low)
        reach = np.where(reach > 0, reach, np.where(largest > 0, largest, 1.0))  # zeros alone have no unit
        if isotropic:
            reach = np.full_like(reach, reach[span > 0].max() if (span > 0).any() else reach.max())
        scale = np.ldexp(1.0, np.minimum(-np.frexp(reach)[1], LARGEST_EXPONENT))
        floor = np.maximum.reduce([EPS * largest * scale, np.full_like(scale, ARITHMETIC_FLOOR), SMALLEST_SD * scale])
        return cls(shift=centre, scale=scale, floor=floor)

    @classmethod
    def identity(cls, d: int) -> Frame:
        """Return the frame that leaves d columns as they are."""
        return cls(shift=np.zeros(d), scale=np.ones(d), floor=np.full(d, ARITHMETIC_FLOOR))

    def select(self, columns: IntArray) -> Frame:
        """Return the frame of these columns, in this order."""
        return Frame(shift=self.shift[columns], scale=self.scale[columns], floor=self.floor[columns])

    def check(self, d: int) -> None:
        """Raise a `ValueError` that names what about a frame from elsewhere, of d columns, cannot be."""
        for name, array in vars(self).items():
            if array.shape != (d,):
                raise ValueError(f"frame.{name}: expected shape ({d},), found {array.shape}")
        if not (np.frexp(self.scale)[0] == 0.5).all() or not (self.floor > 0).all():
            raise ValueError("frame: expected scales that are powers of two, and positive floors")

    @property
    def log_jacobian(self) -> float:
        """Log of |dz/dx|, to be added to a log-density of z to give that of x."""
        return float(np.log(self.scale).sum())

    def enter(self, x: FloatArray) -> FloatArray:
        """Return the frame coordinates of rows `x` of shape (n, d).

        Rows beyond all reason are brought to `HORIZON`: their density is 0 either way, and nothing overflows. The
        result lies column by column in memory: NumPy is several times as fast along rows as along few columns.
        """
        with np.errstate(over="ignore"):
            z = (np.asfortranarray(x) - self.shift) * self.scale
        return np.clip(z, -HORIZON, HORIZON)

    def leave(self, z: FloatArray) -> FloatArray:
        """Return the data's own coordinates of `z`, of shape (n, d)."""
        x: FloatArray = z / self.scale + self.shift
        return x
