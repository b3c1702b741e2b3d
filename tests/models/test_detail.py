"""The curve of a painter's detail: clear lines clearer, grain fainter, colours as they were."""

import pytest
import torch
from torch import Tensor

from cocosnet_hf.models import BlendingTranslationNetwork
from cocosnet_hf.models.detail import BEYOND, DetailCurve
from tests.support import tiny
from tests.support.tensors import normal

CURVE = ((0.5, 2.0, 0.1), (0.8, 1.5, 0.1))


def striped(height: float) -> Tensor:
    """(1, 3, 32, 32): lines of a pixel on grey, as high as said."""
    picture = torch.zeros(1, 3, 32, 32)
    picture[..., ::4] = height
    return picture


def contrast(picture: Tensor) -> float:
    return picture[..., 8:24, 8:24].std().item()


def test_clear_lines_grow_and_faint_ones_fade():
    curve = DetailCurve(CURVE)
    assert contrast(curve(striped(0.4))) > 1.4 * contrast(striped(0.4))
    assert contrast(curve(striped(0.02))) < 0.7 * contrast(striped(0.02))


def test_beside_a_strong_edge_no_bright_line_is_drawn():
    edge = torch.full((1, 3, 32, 32), 0.4)
    edge[..., 14:] = -0.8
    found = DetailCurve(CURVE)(edge)
    assert found.max() <= 0.4 + BEYOND + 1e-6 and found.min() >= -0.8 - BEYOND - 1e-6


def test_colours_of_large_places_stay():
    plain = torch.full((1, 3, 16, 16), 0.3)
    torch.testing.assert_close(DetailCurve(CURVE)(plain), plain)


def test_without_bands_and_with_factors_of_one_nothing_changes():
    picture = normal(1, 3, 16, 16)
    assert torch.equal(DetailCurve(())(picture), picture)
    torch.testing.assert_close(DetailCurve(((1, 1, 0.1),))(picture), picture)


@pytest.mark.parametrize("bands", [((0.5, 2.0),), ((0.5, 2.0, 0.0),), ((-1, 1, 1),)])
def test_a_curve_that_is_none_is_refused(bands: tuple[tuple[float, ...], ...]):
    with pytest.raises(ValueError, match="a factor of faint and one of clear detail and a knee"):
        DetailCurve(bands)


def test_the_curve_of_a_painter_is_saved_with_it(tmp_path):
    plain = tiny.blending_translation().eval()
    curved = BlendingTranslationNetwork.from_config(plain.config, detail=CURVE)
    curved.load_state_dict(plain.state_dict())
    curved.save_pretrained(tmp_path)
    again = BlendingTranslationNetwork.from_pretrained(tmp_path)
    warp, condition = normal(1, 8, 32, 32), normal(1, 2, 32, 32)
    output = again(warp, condition)
    torch.testing.assert_close(output.image, DetailCurve(CURVE)(plain(warp, condition).image))
    sharp, soft, _ = warp.split([3, 3, 2], dim=1)
    torch.testing.assert_close(torch.lerp(soft, sharp, output.blend) + output.change, output.image)
