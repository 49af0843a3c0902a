"""The rounding of channel counts that mobile networks share."""


def make_divisible(channels: float, divisor: int = 8, least: float = 0.9) -> int:
    """The nearest multiple of ``divisor``, at least ``divisor`` and at least ``least`` of ``channels``.

    Source: the reference code of Sandler et al. 2018 (MobileNetV2).
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < least * channels else rounded
