"""Paint a condition with the look of an exemplar.

    python -m cocosnet_hf CONDITION EXEMPLAR --model edge-to-face -o out.png --show

CONDITION is what the model paints from. For edges a photo, which is turned into edges, or with
--drawing the lines themselves; for masks a label map or colour-coded picture; for poses a keypoint
file, or with --photo a photo, in which the layout of its person is found; --read-exemplar finds
that of the exemplar, which moves its limbs rightly. --fit face or --fit person brings photos to
what the bundled models have learned. --show saves condition, exemplar, warped exemplar (of a model
that matches) and result side by side.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from .bundled import bundled_names, open_model
from .image_translation import ImageTranslationPipeline
from .measuring import unusable
from .own_modules import add_import
from .photos import crop_to_face, crop_to_person, cut_out
from .pictures import open_photo
from .strips import call_strip

FITS = {"face": (crop_to_face, crop_to_face), "person": (crop_to_person, cut_out)}
"""What is done to a photo that becomes a layout, and to the exemplar."""


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m cocosnet_hf",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("condition", help="photo, drawing, label map or keypoint file")
    parser.add_argument("exemplar", help="photo whose look is wanted")
    parser.add_argument(
        "--model",
        required=True,
        help=f"{', '.join(bundled_names())}, or the folder or Hub id of another pipeline",
    )
    parser.add_argument("-o", "--output", required=True, type=Path, help="picture to write")
    parser.add_argument("--show", action="store_true", help="write the strip of all instead")
    of_condition = parser.add_mutually_exclusive_group()
    of_condition.add_argument("--drawing", action="store_true", help="the condition is drawn lines")
    of_condition.add_argument(
        "--photo", action="store_true", help="the condition is a photo, whose layout is found"
    )
    parser.add_argument(
        "--fit",
        choices=FITS,
        help="find the face in photos and crop them to it, or the person and cut it out on white",
    )
    parser.add_argument(
        "--condition-size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="of the picture that a keypoint file belongs to, where the file does not say",
    )
    parser.add_argument(
        "--person",
        type=int,
        metavar="N",
        help="which of several people in a keypoint file, from 0; default: who is there most",
    )
    parser.add_argument(
        "--frame",
        metavar="N|NAME",
        help="which frame of a keypoint file of many, from 0 or by name; default: the first",
    )
    of_exemplar = parser.add_mutually_exclusive_group()
    of_exemplar.add_argument(
        "--exemplar-condition", help="the exemplar's own, if the model uses it"
    )
    of_exemplar.add_argument(
        "--read-exemplar", action="store_true", help="find the exemplar's own in its photo"
    )
    parser.add_argument(
        "--exemplar-condition-size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="of the exemplar, where the keypoint file of --exemplar-condition does not say",
    )
    parser.add_argument(
        "--exemplar-person", type=int, metavar="N", help="as --person, of --exemplar-condition"
    )
    parser.add_argument(
        "--exemplar-frame", metavar="N|NAME", help="as --frame, of --exemplar-condition"
    )
    parser.add_argument("--variant", help="of the model's weights on the Hub, such as fp16")
    parser.add_argument("--height", type=int, help="of the result, if not the model's own size")
    parser.add_argument("--width", type=int, help="of the result")
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="such as cpu or cuda:1; default: cuda where it can be used",
    )
    add_import(parser)
    options = parser.parse_args(argv)
    if Image.registered_extensions().get(options.output.suffix.lower()) not in Image.SAVE:
        parser.error(f"-o must name a picture such as out.png, got '{options.output}'.")
    if reason := unusable(options.device):
        parser.error(f"--device {options.device} cannot be used: {reason}")
    try:
        pipe = open_model(options.model, options.variant).fold().to(options.device)
        picture = paint(pipe, options)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        picture.save(options.output)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(options.output)


def paint(pipe: ImageTranslationPipeline, options: argparse.Namespace) -> Image.Image:
    """The result, or with `show` the strip of what it came from and the result.

    Raises ValueError for input that the pipeline refuses.
    """
    source: Any = options.condition
    exemplar = open_photo(options.exemplar, "exemplar")
    if options.fit is not None:
        fit_layout, fit_exemplar = FITS[options.fit]
        exemplar = fit_exemplar(exemplar)
        if options.photo or (pipe.condition.needs_only_photo and not options.drawing):
            source = fit_layout(source)
    if options.photo:
        source = pipe.condition.from_photo(source)
    if options.drawing:
        source = pipe.condition.as_drawing(source)
        if source is None:
            raise ValueError(f"--drawing is for edges; {options.model} paints from other input.")
    source = sized(source, options.condition_size, pipe, "--condition-size")
    source = of_several(source, options.person, options.frame, pipe, "--")
    own = options.exemplar_condition
    if options.read_exemplar:
        if not pipe.takes_exemplar_condition:
            raise ValueError(f"--read-exemplar: {options.model} uses no condition of the exemplar.")
        own = pipe.condition.from_photo(exemplar)
    own = sized(
        own,
        options.exemplar_condition_size,
        pipe,
        "--exemplar-condition-size",
    )
    own = of_several(own, options.exemplar_person, options.exemplar_frame, pipe, "--exemplar-")
    pipe.set_progress_bar_config(disable=True)
    source = pipe.condition.open(source)
    out = pipe(
        source,
        exemplar,
        own,
        height=options.height,
        width=options.width,
    )
    if not options.show:
        return out.images[0]
    return call_strip(pipe, source, exemplar, out)


def sized(source: Any, size: list[int] | None, pipe: ImageTranslationPipeline, flag: str) -> Any:
    """A keypoint file together with the (height, width) given for it, or any source without one.

    Raises ValueError for a size without a keypoint file, and where the pipeline paints from others.
    """
    if size is None:
        return source
    height, width = size
    known = pipe.condition.with_size(source, (height, width))
    return for_keypoints(known, source, pipe, flag)


def of_several(
    source: Any, person: int | None, frame: str | None, pipe: ImageTranslationPipeline, prefix: str
) -> Any:
    """A keypoint file with the person and frame meant, or any source where none is named.

    prefix: of both flags. Raises ValueError as `sized`.
    """
    if person is None and frame is None:
        return source
    flag = f"{prefix}frame" if person is None else f"{prefix}person"
    wanted = int(frame) if frame is not None and frame.isdecimal() else frame
    return for_keypoints(pipe.condition.of_several(source, person, wanted), source, pipe, flag)


def for_keypoints(known: Any | None, source: Any, pipe: ImageTranslationPipeline, flag: str) -> Any:
    """What a flag about keypoints made of a source.

    Raises ValueError without a keypoint file, and where the pipeline paints from something else.
    """
    if known is None:
        name = type(pipe.condition).__name__
        raise ValueError(
            f"{flag} is for keypoint files, but the model takes a {name}: leave it out."
        )
    if source is None:
        raise ValueError(f"{flag} needs a keypoint file beside it; give one or leave it out.")
    return known


if __name__ == "__main__":
    main()
