"""Energy of one call, where a device states its power, or its energy by operation and access."""

from __future__ import annotations

from latency_models.catalogue import AccessEnergy, AnalyticDevice


def kernel_energy_pj(
    energy: AccessEnergy | None, precision: str, macs: float, on_chip_bytes: float, off_chip_bytes: float
) -> float:
    """Picojoules of a kernel's MACs and accesses; 0 where the device does not state them.

    Operations that do not multiply are left out: an addition costs a hundredth of the bytes that it moves
    (Horowitz 2014, ISSCC, figure 1.1.9).
    """
    if energy is None:
        return 0.0
    return (
        energy.pj_per_mac[precision] * macs  # type: ignore[index]
        + energy.pj_per_byte_on_chip * on_chip_bytes
        + energy.pj_per_byte_off_chip * off_chip_bytes
    )


def network_energy_mj(facts: AnalyticDevice, seconds: float, kernels_pj: float) -> float:
    """Millijoules of a call that takes ``seconds``: its power over that time, or its kernels' energy and the static
    power over that time.
    """
    if facts.energy is None:
        return 1e3 * (facts.power_w or 0.0) * seconds
    return 1e-9 * kernels_pj + 1e3 * facts.energy.static_power_w * seconds
