"""MUNIT's networks: content without colours, style without places."""

import pytest
import torch

from cocosnet_hf.models import ContentEncoder, StyleCodeEncoder, StyledDecoder
from tests.support import tiny


def picture(seed: int = 0, height: int = 16, width: int = 24) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_content_stays_when_contrast_and_brightness_change_and_style_does_not():
    image = picture()
    changed = 0.4 * image + 0.3
    for norm, stays in (("instance", True), ("none", False)):
        encoder = tiny.lively(ContentEncoder(base_channels=4, residual_blocks=1, norm=norm))
        content = encoder(image)
        assert content.shape == (2, 16, 4, 6)
        assert torch.allclose(encoder(changed), content, rtol=0, atol=0.02) is stays
    style = tiny.lively(StyleCodeEncoder(style_channels=4, base_channels=4, halvings=3))
    assert style(image).shape == (2, 4)
    assert (style(changed) - style(image)).abs().max() > 0.05


def test_a_style_says_scales_and_shifts_of_the_content_and_nothing_else():
    decoder = tiny.lively(
        StyledDecoder(style_channels=4, base_channels=4, residual_blocks=2, hidden_channels=8)
    )
    content, styles = torch.randn(2, 16, 4, 6), torch.randn(2, 4)
    painted = decoder(content, styles)
    assert painted.shape == (2, 3, 16, 24) and painted.abs().max() <= 1
    assert (decoder(content, styles.flip(0)) - painted).abs().max() > 0.01
    with torch.no_grad():  # one modulation for all styles: no style is seen any more
        decoder.modulation[0].weight.zero_()
    torch.testing.assert_close(decoder(content, styles), decoder(content, styles.flip(0)))
    with pytest.raises(ValueError, match=r"style must be \(2, 4\), got \(2, 5\)"):
        decoder(content, torch.randn(2, 5))


def test_pictures_of_other_sizes_and_channels_are_refused():
    for encoder in (ContentEncoder(base_channels=4), StyleCodeEncoder(base_channels=4)):
        with pytest.raises(ValueError, match="must be multiples of"):
            encoder(picture(height=18))
        with pytest.raises(ValueError, match=r"image must have the shape \(B, 3, H, W\)"):
            encoder(torch.zeros(1, 4, 32, 32))
