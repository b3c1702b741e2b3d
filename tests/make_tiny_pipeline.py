"""Make a tiny untrained pipeline, save it, load it and paint: shows that an installation works.

    python tests/make_tiny_pipeline.py --run out/

The strip shows condition, exemplar, warped exemplar and picture. Nothing is trained, so the picture
is only coloured texture; the warped exemplar is made of the exemplar's colours.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import tiny
from PIL import Image, ImageDraw

from cocosnet_hf import CoCosPipeline, EdgeCondition

SIZE = 128


def draw_condition() -> Image.Image:
    """A white tower and a disc on black: {"edges": drawing} takes such strokes."""
    drawing = Image.new("L", (SIZE, SIZE))
    draw = ImageDraw.Draw(drawing)
    draw.ellipse((60, 36, 116, 92), outline=255, width=2)
    draw.polygon([(12, 120), (12, 56), (30, 24), (48, 56), (48, 120)], outline=255, width=2)
    return drawing


def draw_exemplar() -> Image.Image:
    """A house before a sunset, (3 SIZE / 2) pixels wide."""
    sky = np.linspace((250, 150, 60), (90, 60, 140), SIZE)[::-1]
    picture = Image.fromarray(np.repeat(sky[:, None], 3 * SIZE // 2, axis=1).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((120, 48, 168, 96), fill=(255, 220, 90))
    draw.rectangle((0, 96, 192, 128), fill=(40, 90, 50))
    draw.rectangle((30, 56, 90, 112), fill=(150, 60, 50))
    draw.polygon([(24, 56), (60, 20), (96, 56)], fill=(80, 30, 30))
    draw.rectangle((52, 80, 68, 112), fill=(240, 230, 200))
    return picture


def strip(pictures: list[Image.Image]) -> Image.Image:
    """The pictures side by side, all as high as the first."""
    height = pictures[0].height
    fitted = [p.resize((p.width * height // p.height, height)) for p in pictures]
    joined = Image.new("RGB", (sum(p.width for p in fitted), height))
    left = 0
    for picture in fitted:
        joined.paste(picture, (left, 0))
        left += picture.width
    return joined


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, type=Path, metavar="OUT", help="folder of the PNG")
    folder = parser.parse_args().run
    with tempfile.TemporaryDirectory() as saved:
        tiny.pipeline(EdgeCondition(), image_size=SIZE).save_pretrained(saved)
        pipe = CoCosPipeline.from_pretrained(saved)
        source, exemplar = {"edges": draw_condition()}, draw_exemplar()
        out = pipe(source, exemplar)
    shown = pipe.condition.preview(pipe.condition.encode(source, SIZE, SIZE))
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "tiny-pipeline.png"
    strip([shown, exemplar, out.warped_exemplars[0], out.images[0]]).save(target)
    print(f"condition, exemplar, warped exemplar and picture (untrained): {target}")


if __name__ == "__main__":
    main()
