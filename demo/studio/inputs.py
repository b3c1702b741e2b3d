"""What a visitor sends, read with suspicion: files, drawings and poses."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import functools
import html
import io
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch
from gradio.utils import get_upload_folder
from huggingface_hub import snapshot_download
from PIL import Image

from cocosnet_hf import MaskCondition, Pose
from cocosnet_hf.call_inputs import MAX_ASPECT
from cocosnet_hf.conditions import joints, open_image, open_photo
from cocosnet_hf.conditions.joints import JOINTS
from cocosnet_hf.conditions.label_maps import nearest_classes
from cocosnet_hf.landscape_reader import LANDSCAPE
from cocosnet_hf.notes import Note, log, warn
from cocosnet_hf.pairing import lying_on
from cocosnet_hf.person_reader import PERSON
from cocosnet_hf.picture_files import register_heic
from cocosnet_hf.pictures import Refused, Unreadable

from .memory import alone
from .shrinking import require_few_pixels, shrunk
from .words import P, R, in_words, no_mask, no_pose

MAX_SIDE = 1024
"""Photos and label maps are made smaller to this longer side; canvases have no longer one."""

CANVAS_SIDE = 256
"""Shorter side of a canvas, in pixels, unless the longer one would have more than `MAX_SIDE`."""

FIGURE_SIDE = 256
"""Figures are drawn on canvases of at most this longer side: a limb has a fixed width in pixels,
and models learn from photos of about this size."""

FIGURE_SHARE = 0.8
"""How much of a square canvas a figure spans whose file does not say where it stood."""

MAX_JSON_BYTES = 1_000_000

register_heic()
Image.init()  # Pillow knows no format by name before
FORMATS = tuple(
    name
    for name in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
    if name in Image.OPEN
)
"""What is read: AVIF where Pillow was built with it, HEIC where pillow-heif is installed."""

READABLE = ", ".join(name for name in ("PNG", "JPEG", "WebP", "AVIF") if name.upper() in FORMATS)
if "HEIF" in FORMATS:
    READABLE += ", HEIC"

PNG_URL = "data:image/png;base64,"

# A picture takes 100 MB until it is made smaller, in some formats thrice that, so that one is read
# at a time, and always by one thread: what others free, the allocator keeps for each of them.
_reader = ThreadPoolExecutor(1, thread_name_prefix="pictures")


def explained(handler: Callable[P, R]) -> Callable[P, R]:
    """Show a visitor what the library says about bad input, instead of a plain "error".

    One such handler works at a time, so that many requests take no more memory than the largest.
    """

    @functools.wraps(handler)
    def by_itself(*args: P.args, **kwargs: P.kwargs) -> R:
        with alone():
            return handler(*args, **kwargs)

    return in_words(by_itself)


def read_picture(
    upload: Mapping[str, Any] | None,
    what: str,
    smaller: Callable[[Image.Image], Image.Image] | None = None,
) -> Image.Image:
    """An uploaded picture in its own mode, upright.

    upload: gradio's description of a file. what: the picture's name in messages. smaller: makes it
    so before it is turned, while no other picture of the server is as large as its file; without,
    it stays as it is. Raises ValueError where there is none, for a file that is no picture, for one
    of too many pixels and for one that is more than `MAX_ASPECT` times as long as wide.
    """
    if not upload:
        raise ValueError(f"There is no {what} yet; upload or choose one.")
    path = _uploaded(upload, what)

    def check(image: Image.Image) -> None:
        require_few_pixels(image, what)
        if max(image.size) > MAX_ASPECT * min(image.size):
            raise Refused(
                f"The {what} has {image.width} x {image.height} pixels; pictures may be at "
                f"most {MAX_ASPECT} times as long as wide. Crop it first."
            )
        # The decoder of JPEG can make large photos smaller on its way.
        image.draft(image.mode, (MAX_SIDE, MAX_SIDE))

    def read() -> Image.Image:
        # As a file without a name: where it lies is not the visitor's affair.
        with path.open("rb") as file:
            return open_image(file, what, formats=FORMATS, before=check, decoded=smaller)

    try:
        return _reader.submit(read).result()
    except (FileNotFoundError, Unreadable) as error:
        raise ValueError(
            f"The {what} is not a picture that can be read; {READABLE} can."
        ) from error


def _uploaded(upload: Mapping[str, Any], what: str) -> Path:
    """Where an upload lies. Raises ValueError for any other file of this machine.

    gradio checks only what calls itself a file.
    """
    path = Path(upload.get("path") or "/").resolve()
    if not path.is_relative_to(Path(get_upload_folder()).resolve()):
        raise ValueError(f"The {what} must be an uploaded file.")
    return path


def read_photo(upload: Mapping[str, Any] | None, what: str, tells: bool = True) -> Image.Image:
    """An uploaded photo in sRGB, at most `MAX_SIDE` pixels long. Raises as `read_picture` does.

    tells: whether the visitor is told what was taken where the photo may mean two things.
    """
    photo = read_picture(upload, what, functools.partial(shrunk, side=MAX_SIDE))
    told = functools.partial(show, title="A photo that may mean two things")
    return open_photo(photo, what, told if tells else log)


def read_lines(upload: Mapping[str, Any] | None, what: str) -> Image.Image:
    """An uploaded drawing with its transparency, at most `MAX_SIDE` long; see `read_picture`."""

    def smaller(drawing: Image.Image) -> Image.Image:
        # Planes of more than 8 bits would lose what is above 255.
        keeps_mode = drawing.mode in ("RGBA", "LA", "I", "F") or drawing.mode.startswith("I;16")
        if max(drawing.size) > MAX_SIDE and not keeps_mode:
            drawing = drawing.convert("RGBA" if drawing.has_transparency_data else "RGB")
        return shrunk(drawing, MAX_SIDE)

    return read_picture(upload, what, smaller)


def read_label_map(upload: Mapping[str, Any] | None, what: str) -> Image.Image:
    """An uploaded label map in its own mode, at most `MAX_SIDE` pixels long.

    Raises what `read_picture` raises.
    """
    nearest = functools.partial(shrunk, side=MAX_SIDE, resample=Image.Resampling.NEAREST)
    return read_picture(upload, what, nearest)


def uploaded_mask(
    upload: Mapping[str, Any] | None,
    what: str,
    condition: MaskCondition,
    photo: Image.Image | None = None,
) -> Image.Image:
    """An uploaded label map, on its photo, as a drawing in class colours; see `mask_drawing`.

    The visitor is told what was taken. Raises what `read_picture`, `lying_on` and the condition do.
    """
    labels = read_label_map(upload, what)
    if photo is not None:
        labels, notes = lying_on(labels, photo, what)
        show(notes)
    try:
        return mask_drawing(labels, condition, *labels.size, tell=show)
    except ValueError as error:
        raise ValueError(no_mask(labels, what, condition, str(error))) from error


def show(notes: Iterable[Note], title: str = "A mask that may mean two things") -> None:
    """Tell the visitor what was taken where a file may mean two things."""
    for note in notes:
        gr.Warning(html.escape(note.text, quote=False), title=title)


def read_drawing(value: Mapping[str, Any] | None) -> Image.Image:
    """What is painted on a canvas (`canvas.js`), RGBA. Raises ValueError if nothing is."""
    drawing = _read_canvas(value)
    if not drawing.getchannel("A").getextrema()[1]:
        raise ValueError("The canvas is empty; draw something or start from an example.")
    return drawing


def read_start(value: Mapping[str, Any] | None) -> Image.Image:
    """What was on a canvas before a visitor painted on it, RGBA; it may have been empty.

    Raises ValueError if nothing is painted on it now.
    """
    blank = Image.new("RGBA", read_drawing(value).size)
    start = start_of(value) or {}
    return _read_canvas(start) if start.get("image") else blank


def _read_canvas(value: Mapping[str, Any] | None) -> Image.Image:
    url = (value or {}).get("image")
    if not isinstance(url, str) or not url.startswith(PNG_URL):
        raise ValueError("The canvas is empty; draw something or start from an example.")
    try:
        data = io.BytesIO(base64.b64decode(url.removeprefix(PNG_URL), validate=True))
    except binascii.Error as error:
        raise ValueError("The canvas did not send a picture; reload the page.") from error
    too_large = f"A canvas has at most {MAX_SIDE} x {MAX_SIDE} pixels; draw on a smaller one."
    try:
        with Image.open(data, formats=("PNG",)) as image:
            if max(image.size) > MAX_SIDE:
                raise ValueError(too_large)
            return open_image(image, "drawing").convert("RGBA")
    except Image.DecompressionBombError as error:
        raise ValueError(too_large) from error


def as_canvas(drawing: Image.Image) -> dict[str, Any]:
    """A drawing as `canvas.js` takes it."""
    return {"image": as_url(drawing.convert("RGBA")), "size": list(drawing.size)}


def canvas_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of the canvas for a picture of this size; its drawing can be read again."""
    scale = min(CANVAS_SIDE / min(width, height), MAX_SIDE / max(width, height))
    return round(width * scale), round(height * scale)


def empty_canvas(width: int, height: int) -> dict[str, Any]:
    """A canvas on which nothing is painted."""
    return {"image": "", "size": [width, height]}


def start_of(value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What was on a canvas when a visitor began to paint on it, as `canvas.js` sends it."""
    start = (value or {}).get("start")
    return start if isinstance(start, Mapping) else value


def as_url(picture: Image.Image) -> str:
    """A picture as a PNG within an address, for canvases."""
    data = io.BytesIO()
    picture.save(data, "PNG")
    return PNG_URL + base64.b64encode(data.getvalue()).decode()


def painted_mask(drawing: Image.Image, condition: MaskCondition) -> np.ndarray:
    """A mask drawn in class colours (RGBA) as one channel per class, (K, H, W) in [0, 1].

    What is not painted is of the class `unpainted`, or of none. Every other colour is the nearest
    class's: it comes from a canvas, which paints in no other and smooths its strokes.
    """
    ground = unpainted(condition)
    pixels = np.asarray(drawing)
    painted = pixels[:, :, 3] >= 128
    labels = np.where(painted, nearest_classes(pixels[:, :, :3], condition.palette), ground or 0)
    encoded = condition.one_hot(torch.from_numpy(labels)).numpy()
    if ground is None:
        encoded *= painted
    return encoded


def downloaded(model: str) -> str:
    """The folder of a model: itself one, or in the Hub's cache. Nothing is fetched for a visitor.

    The networks that ship with the package have their names instead.

    Raises FileNotFoundError where it is not there, with the command that fetches it.
    """
    if model in (PERSON, LANDSCAPE) or Path(model).is_dir():
        return model
    try:
        return snapshot_download(model, local_files_only=True)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"This needs the model {model}, which is not here; whoever runs the page gets it with: "
            f"hf download {model}"
        ) from error


def unpainted(condition: MaskCondition) -> int | None:
    """The class of what nobody painted: `unknown`, else one called background, else none."""
    if condition.unknown is None and "background" in condition.classes:
        return condition.classes.index("background")
    return condition.unknown


def mask_drawing(
    mask: Any,
    condition: MaskCondition,
    width: int,
    height: int,
    tell: Callable[[Iterable[Note]], None] = warn,
) -> Image.Image:
    """Any mask as a drawing in class colours, RGBA, transparent where it is unknown.

    mask: a source of `condition.encode`, in whose colour pictures colours near a class's count as
    that. What is transparent in it is `unpainted`. tell: says what was taken where the mask may
    mean two things. Raises what the condition raises.
    """
    ground = unpainted(condition)
    reader = dataclasses.replace(condition, snap_colors=True, unknown=ground)
    source = reader.opened(mask)
    tell(source.notes)
    encoded = reader.encode(source, height, width)
    drawing = condition.preview(encoded).convert("RGBA")
    if condition.unknown is not None:
        known = encoded[condition.unknown].numpy() < 0.5
        drawing.putalpha(Image.fromarray((known * 255).astype(np.uint8)))
    return drawing


def read_keypoints(
    upload: Mapping[str, Any] | None, min_score: float = 0.0, person: int | None = None
) -> Pose:
    """The pose of an uploaded keypoint file of any kind. Raises ValueError for any other file.

    person: which of several, by default the one who is there most. Where the file does not say how
    large its picture is, the figure of the joints above `min_score` stands in the middle of a
    square. The visitor is told of this, and of all else that may mean two things.
    """
    reading = _reading(_keypoint_text(upload), min_score, person, square=True)
    if reading.said_size:
        return _shrunk(reading.pose)
    gr.Info(
        "The file does not say how large its picture is: the figure is put in the middle of a "
        "square.",
        title="Keypoints without a picture's size",
    )
    return framed(reading.pose, min_score)


def people_of(upload: Mapping[str, Any] | None, min_score: float = 0.0) -> joints.KeypointReading:
    """Who is in an uploaded keypoint file, and who of them is taken; says nothing of it.

    Raises what `read_keypoints` raises.
    """
    text = _keypoint_text(upload)
    return joints.read_keypoints(text, min_score=min_score, paths=False, square=True)


def _keypoint_text(upload: Mapping[str, Any] | None) -> bytes:
    path = _uploaded(upload or {}, "file of keypoints")
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(
            f"Keypoints must be an OpenPose JSON file, or another program's, of at most "
            f"{MAX_JSON_BYTES // 1000} kB."
        )
    return path.read_bytes()


def _reading(
    content: Any, min_score: float, person: int | None, square: bool
) -> joints.KeypointReading:
    """Keypoints, never from a path; the visitor is told what may mean two things."""
    try:
        reading = joints.read_keypoints(
            content, person=person, min_score=min_score, paths=False, square=square
        )
    except ValueError as error:
        raise ValueError(no_pose(str(error))) from error
    show(reading.notes, "Keypoints that may mean two things")
    return reading


def framed(pose: Pose, min_score: float = 0.0) -> Pose:
    """A pose in the middle of a square of `FIGURE_SIDE`, of which it spans `FIGURE_SHARE`.

    Joints whose score is not above `min_score` are left out.
    """
    figure = pose.joints.copy()
    figure[~(figure[:, 2] > min_score)] = (np.nan, np.nan, 0)
    found = figure[~np.isnan(figure[:, 0]), :2]
    if not len(found):
        return Pose(figure, (FIGURE_SIDE, FIGURE_SIDE))
    corner, opposite = found.min(0), found.max(0)
    scale = FIGURE_SHARE * FIGURE_SIDE / max(*(opposite - corner), 1)
    figure[:, :2] = (figure[:, :2] - (corner + opposite) / 2) * scale + FIGURE_SIDE / 2
    return Pose(figure, (FIGURE_SIDE, FIGURE_SIDE))


def pose_of(content: Any, min_score: float = 0.0, person: int | None = None) -> Pose:
    """A pose from what a client sends: the content or text of a keypoint file of any kind.

    Without a size of its own it is {"openpose": content, "size": [height, width]}, or for joints
    {"keypoints", "size"}. person: which of several, by default the one who is there most. Never
    from a path, which the library would open as well. Raises ValueError otherwise.
    """
    return _shrunk(_reading(content, min_score, person, square=False).pose)


def _shrunk(pose: Pose) -> Pose:
    """A pose on a picture of at most `FIGURE_SIDE`. Raises ValueError for one that is too long."""
    height, width = pose.size
    if max(pose.size) > MAX_ASPECT * min(pose.size):
        raise ValueError(
            f"The pose lies on a picture of {width} x {height} pixels, which may be at most "
            f"{MAX_ASPECT} times as long as wide. Crop it first."
        )
    scale = FIGURE_SIDE / max(pose.size)
    if scale >= 1:
        return pose
    height, width = round(height * scale), round(width * scale)
    return Pose(pose.joints * (scale, scale, 1), (height, width))


def posed(value: Mapping[str, Any] | None) -> Pose:
    """The figure of a pose editor (`pose.js`); hidden joints are missing ones."""
    value = value or {}
    figure, size = value.get("joints"), value.get("size")
    if not isinstance(figure, list) or len(figure) != len(JOINTS) or not isinstance(size, list):
        raise ValueError("There is no figure yet; start from an example.")
    return _shrunk(Pose.from_array(figure, tuple(size[::-1])))


def as_figure(pose: Pose, standing: np.ndarray, min_score: float = 0.0) -> dict[str, Any]:
    """A pose as `pose.js` takes it; missing joints lie hidden where a standing figure has them.

    standing: (18, 2), x and y as shares of the picture. min_score: the condition's; joints that it
    leaves out are hidden, too.
    """
    height, width = pose.size
    figure = pose.joints.copy()
    figure[~(figure[:, 2] > min_score), 2] = 0
    missing = np.isnan(figure[:, 0])
    figure[missing, :2] = standing[missing] * (width, height)
    return {"joints": figure.round(2).tolist(), "size": [width, height]}
