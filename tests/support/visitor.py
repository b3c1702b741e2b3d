"""What a painter gives, and what the page answered."""

from pathlib import Path
from typing import Any

import numpy as np
from studio.painters import Painter  # noqa: E402

from tests.support.pictures import whole_picture


def painted(painter: Painter, files: Path, condition: Any, *own: Any) -> list[np.ndarray]:
    out = painter.pipe(condition, whole_picture(files / "exemplar.png"), *own)
    return [np.asarray(out.images[0]), np.asarray(out.warped_exemplars[0])]


def answered(pictures: tuple[str, str]) -> list[np.ndarray]:
    return [np.asarray(whole_picture(path).convert("RGB")) for path in pictures]
