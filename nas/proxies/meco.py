"""How far the channels of every layer are from depending on each other."""

import numpy as np

from nas.proxies.passes import Passes


def meco(passes: Passes) -> float:
    """Sum over convolutions of the least eigenvalue of the correlation of the output's channels, for one noise image.

    A correlation that does not exist, of a constant channel or of one position, counts as 0, as in the authors' code.
    nan for a network without convolutions. Source: Jiang et al. 2023, "MeCo" (NeurIPS).
    """
    if not passes.positions:
        return float("nan")
    total = 0.0
    for features in passes.positions:
        if features.shape[1] < 2:
            continue
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = np.atleast_2d(np.corrcoef(features.double().numpy()))
        total += float(np.linalg.eigvalsh(np.nan_to_num(correlation, posinf=0.0, neginf=0.0))[0])
    return total
