"""The owner's images: which there are, which of them are held out, and their pixels. A leaf."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from aiflow.common.errors import ConfigError
from aiflow.common.pictures import is_picture

LEAST: Final = 8
"""Images without which nothing can be fitted."""
ENOUGH: Final = 200
"""Images below which figures and confidence say little."""
MOST: Final = 1000
"""Images that are looked at; of more, evenly spaced ones."""
BLOCK: Final = 16
"""Images, of which the last quarter is held out.

In blocks, and not here and there: neighbours in a camera's recording are nearly the same picture.
"""


class OwnImages:
    """The images of a folder in the order of their names, at the size of a model's input."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError where there are too few."""
        if not folder.is_dir():
            raise ConfigError(f"--images {folder} is no directory; name one with images of yours")
        try:
            files = [path for path in sorted(folder.iterdir()) if path.is_file()]
        except OSError as exc:
            raise ConfigError(f"--images {folder} cannot be read: {exc.strerror}") from exc
        paths = [path for path in files if is_picture(path) and cv2.haveImageReader(str(path))]
        if len(paths) < LEAST:
            raise ConfigError(
                f"{folder} holds {len(paths)} images that can be read; at least {LEAST} are needed,"
                f" and {ENOUGH} of what the camera will see are advised"
            )
        chosen = np.linspace(0, len(paths) - 1, min(len(paths), MOST)).round().astype(int)
        self._paths = [paths[index] for index in chosen]

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
        """Each image, uint8 (H, W, 3) BGR, brought to `size` (width, height) as on a device.

        Raises ConfigError for a file that is broken.
        """
        for path in self._paths:
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                raise ConfigError(f"image {path} is broken; remove it")
            yield cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def held_out(count: int) -> NDArray[np.bool_]:
    """Which of `count` images, in their order, are not to be fitted to: about a quarter."""
    block = min(BLOCK, count)
    return np.asarray(np.arange(count) % block >= block - max(1, block // 4), np.bool_)
