"""The rounding of channel counts that mobile networks share."""


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of ``divisor``, at least ``divisor`` and at least 0.9 of ``channels``.

    Source: the reference code of Sandler et al. 2018 (MobileNetV2).
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
