"""Packets of a call that never arrive."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.audio import SAMPLE_RATE
from earwitness.augment.base import Augment, Drawn, Wave, require_range

__all__ = ["PacketLoss"]


class PacketLoss(Augment):
    """Packets lost in bursts, as on the Internet: Gilbert's two-state model (1960).

    A share ``share`` of the packets of ``packet`` seconds is lost, ``burst`` in a row on average: a
    lost packet is followed by one that arrives with probability ``1 / burst``, and the other way with
    that which gives the share. A gap is filled with ``zeros``, or by ``repeat``: the last packet that
    came is said again, at half the amplitude each time (the simple form of ITU-T G.711 Appendix I,
    without matching of the pitch). Before the first packet that came there are zeros.

    >>> torn, drawn = PacketLoss(share=(0.3, 0.3))(np.ones(3200), np.random.default_rng(1))
    >>> drawn["lost"], [float(torn[320 * n]) for n in range(10)]
    ([0, 7], [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0])

    Raises:
        SettingsError: a share that isn't within 0 to 0.5, a burst under 1 packet, or packets that
        aren't
            of 2.5 ms to 1 s.
    """

    def __init__(
        self,
        *,
        share: tuple[float, float] = (0.01, 0.2),
        burst: tuple[float, float] = (1.0, 3.0),
        packet: float = 0.02,
        conceal: Literal["zeros", "repeat"] = "zeros",
    ):
        require_range("packet_loss: share", share, 0, 0.5)
        require_range("packet_loss: burst", burst, 1, 100)
        require_range("packet_loss: [packet, packet], seconds", (packet, packet), 0.0025, 1)
        self.share, self.burst, self.packet, self.conceal = share, burst, packet, conceal

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The numbers of the packets that are lost, counted from 0, and what they were drawn from."""
        share, burst = rng.uniform(*self.share), rng.uniform(*self.burst)
        chance = {True: 1 - 1 / burst, False: share / (burst * (1 - share))}
        lost, is_lost = [], bool(rng.random() < share)
        for number, toss in enumerate(rng.random(-(-samples // self._samples)).tolist()):
            if is_lost:
                lost.append(number)
            is_lost = toss < chance[is_lost]
        return {"share": share, "burst": burst, "lost": lost}

    @property
    def _samples(self) -> int:
        return round(self.packet * SAMPLE_RATE)

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[np.float32]:
        """Fill the gaps."""
        count = -(-len(wave) // self._samples)
        is_lost = np.zeros(count, dtype=bool)
        is_lost[[number for number in drawn["lost"] if number < count]] = True
        packets = np.zeros((count, self._samples), dtype=np.float32)
        packets.ravel()[: len(wave)] = wave
        if self.conceal == "repeat":
            packets = _repeated(packets, is_lost)
        else:
            packets[is_lost] = 0
        return packets.ravel()[: len(wave)]


def _repeated(packets: NDArray[np.float32], is_lost: NDArray[np.bool_]) -> NDArray[np.float32]:
    numbers = np.arange(len(packets))
    came = np.maximum.accumulate(np.where(is_lost, -1, numbers))
    fade = np.where(came < 0, 0.0, 0.5 ** (numbers - came)).astype(np.float32)
    return packets[np.maximum(came, 0)] * fade[:, None]
