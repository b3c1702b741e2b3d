"""Pictures of files, read whole."""

from os import PathLike

from PIL import Image


def whole_picture(path: str | PathLike[str]) -> Image.Image:
    """As `Image.open`, but the file does not stay open."""
    with Image.open(path) as picture:
        picture.load()
    return picture
