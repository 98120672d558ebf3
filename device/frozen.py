"""Notices a camera that gives the very same picture again and again.

A live sensor has noise: two of its pictures are never the same to the bit, however still the scene.
A driver or a network camera that has lost its sensor and repeats its last picture gives exactly
that. What is compared is a checksum of the picture's pixels, not its embedding, which rightly stays
the same while nothing happens.
"""

from __future__ import annotations


class FrozenView:
    """Of one camera; what it has seen outlives a process of it."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._checksum: int | None = None
        self._since = 0.0
        self.frozen = False

    def look(self, checksum: int, now: float) -> bool:
        """Take the next picture's; whether the view counts as frozen from now on."""
        if checksum != self._checksum:
            self._checksum, self._since, self.frozen = checksum, now, False
        elif not self.frozen and now - self._since >= self._after_s:
            self.frozen = True
            return True
        return False
