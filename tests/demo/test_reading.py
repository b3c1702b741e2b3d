"""What reading costs a visitor's server, and what the visitor is told of it."""

import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.demo_page import noise

gradio = pytest.importorskip("gradio", reason="needs the extra demo")
from studio import shrinking  # noqa: E402
from studio.inputs import explained, read_photo  # noqa: E402


@pytest.mark.parametrize(
    ("name", "said"), [("a.webp", "of a WEBP file.*as JPEG or PNG"), ("a.png", "")]
)
def test_formats_that_take_more_memory_are_read_with_fewer_pixels(
    uploads: Path, name: str, said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(shrinking.MAX_PIXELS_OF, "WEBP", 3000)
    noise(size=(64, 64)).save(uploads / name)
    if said:
        with pytest.raises(ValueError, match=f"64 x 64 pixels; at most 0 million are read {said}"):
            read_photo({"path": str(uploads / name)}, "photo")
    else:
        read_photo({"path": str(uploads / name)}, "photo")


def test_a_visitor_is_told_what_was_taken_of_a_photo(uploads: Path):
    values = np.asarray(noise().convert("L")).astype(np.uint16)
    Image.fromarray(values).save(uploads / "bits.png")
    with pytest.warns(UserWarning, match="taken for those of 8 bits"):
        photo = read_photo({"path": str(uploads / "bits.png")}, "photo")
    assert np.array_equal(np.asarray(photo)[..., 0], values)
    read_photo({"path": str(uploads / "bits.png")}, "photo", tells=False)  # as at each painting


def test_what_a_visitor_is_told_has_plain_quotes_and_no_tags():
    @explained
    def fails() -> None:
        raise ValueError('A pose\'s size must be "(height, width)", got <b>5</b>.')

    with pytest.raises(gradio.Error) as caught:
        fails()
    expected = 'A pose\'s size must be "(height, width)", got &lt;b&gt;5&lt;/b&gt;.'
    assert caught.value.message == expected


def test_an_error_lets_go_of_what_its_handler_held():
    class Picture:
        pass

    seen: list[weakref.ref[Picture]] = []

    @explained
    def fails() -> None:
        large = Picture()
        seen.append(weakref.ref(large))
        raise ValueError("It is too large.")

    with pytest.raises(gradio.Error) as caught:
        fails()
    assert isinstance(caught.value.__cause__, ValueError) and seen[0]() is None
