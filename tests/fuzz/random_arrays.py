"""Arrays as users hand them over, and as they should not."""

import numpy as np

FLOATS = (np.float32, np.float64, np.float16)
ODD_TYPES = (">f4", ">f8", np.longdouble, np.int8, np.uint8, np.int64, np.uint64, bool, complex, object, "U3", "M8[s]")
SPECIALS = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 1e-40, 1e-320, 1e30, -1e30, 3e38, 1e300, -1.0, 255.0)


class Draw:
    """Random choices. What should be rare asks `rarely`; a tame one draws only what must be accepted."""

    def __init__(self, seed, tame):
        self.rng = np.random.default_rng(seed)
        self.tame = tame
        self.odd = 0.0 if tame else 0.05

    def rarely(self, times=1.0):
        return self.rng.random() < self.odd * times

    def chance(self, share):
        return self.rng.random() < share

    def pick(self, *options):
        return options[self.rng.integers(len(options))]

    def whole(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def size(self, low, high):
        """Small numbers as often as large ones."""
        return round(float(np.exp(self.rng.uniform(np.log(low), np.log(high)))))

    def number(self):
        """Any positive number from 1e-30 to 1e30, most often an ordinary one."""
        return float(10 ** (self.rng.uniform(-1, 2) if self.tame or self.chance(0.8) else self.rng.uniform(-30, 30)))

    def nonsense(self):
        return self.pick(None, "a", -1, 0, -1e300, np.nan, np.inf, 10**400, 1j, [], {}, b"", True, np.float64(2), [[1]])


def probabilities(draw, shape):
    values = draw.rng.normal(size=shape) * 10 ** draw.rng.uniform(-2, 2)
    values = np.exp(values - values.max(axis=0, initial=-np.inf, keepdims=True))
    return values / values.sum(axis=0, keepdims=True) if values.size else values


def numbers(draw, shape):
    """Normal, uniform, constant, sorted; of any magnitude."""
    kind = draw.pick("normal", "uniform", "constant", "whole", "few")
    if kind == "normal":
        values = draw.rng.normal(size=shape)
    elif kind == "uniform":
        values = draw.rng.random(size=shape)
    elif kind == "constant":
        values = np.full(shape, draw.rng.normal())
    elif kind == "whole":
        values = draw.rng.integers(-5, 6, size=shape).astype(float)
    else:
        values = draw.rng.choice(draw.rng.normal(size=3), size=shape)
    return values * (draw.number() if draw.chance(0.3) else 1.0)


def spoiled(draw, values):
    """Some values that are hard to compute with, or impossible."""
    values = np.array(values)
    with np.errstate(all="ignore"):
        for _ in range(draw.whole(1, 3)):
            if values.size:
                values.flat[draw.whole(0, values.size - 1)] = draw.pick(
                    *SPECIALS if values.dtype.kind == "f" else (0, 255)
                )
    return values


def typed(draw, values):
    kind = draw.pick(*ODD_TYPES) if draw.rarely(2) else draw.pick(*FLOATS)
    with np.errstate(all="ignore"):
        try:
            return values.astype(kind)
        except (TypeError, ValueError, OverflowError):
            return values


def laid_out(draw, array):
    """The same values elsewhere in memory."""
    layout = draw.pick(
        "as it is", "as it is", "Fortran", "backward", "strided", "read-only", "misaligned", "list", "repeated"
    )
    if layout == "Fortran":
        return np.asfortranarray(array)
    if layout == "backward" and array.ndim:
        return np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    if layout == "strided" and array.ndim:
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1] + 1), array.dtype)
        wide[..., 1::2] = array
        return wide[..., 1::2]
    if layout == "read-only":
        array = array.copy()
        array.flags.writeable = False
    elif layout == "misaligned" and array.dtype.kind in "fiub":
        packed = np.zeros(array.shape, np.dtype([("gap", "u1"), ("value", array.dtype)]))
        packed["value"] = array
        return packed["value"]
    elif layout == "list" and array.size < 5000:
        return array.tolist()
    elif layout == "repeated" and array.ndim and array.size:
        return np.broadcast_to(array[..., :1], array.shape)
    return array


def mistaken_shape(draw, shape):
    shape = list(shape)
    change = draw.pick("empty", "longer", "shorter", "swapped")
    at = draw.whole(0, len(shape) - 1)
    if change == "empty":
        shape[at] = 0
    elif change == "longer":
        shape.insert(at, draw.whole(1, 2))
    elif change == "shorter":
        del shape[at]
    else:
        shape.reverse()
    return tuple(shape)
