"""The rival that paints from a style vector, without correspondence."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from cocosnet_hf import EdgeCondition
from cocosnet_hf.datasets import DataSettings
from cocosnet_hf.evaluation import EvaluationPairs, load_rival
from train.checkpoints import STATE_FILE, list_checkpoints
from train.config import load_config
from train.style_rival import FOLDER_VARIABLE, StyleEncoder, open_rival, paint, train_rival

CONFIGS = Path(__file__).parent.parent / "train/configs"
SPEC = "style=train.style_rival:paint"
SIDE = 32


def photo(seed: int, side: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, side, side, generator=generator) * 2 - 1


@pytest.fixture
def encoder() -> StyleEncoder:
    return tiny.lively(StyleEncoder(9, channels=(6, 8, 8)))


@pytest.fixture
def saved(encoder: StyleEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rival for edges, which evaluations then find."""
    encoder.save_pretrained(tmp_path / "style_encoder")
    tiny.translation(2 + 9 - 3).save_pretrained(tmp_path / "translation")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def test_a_style_does_not_say_where_in_the_exemplar_anything_is(encoder: StyleEncoder):
    first = photo(0)
    style = encoder(first)
    assert style.shape == (1, 9)
    for shifts in ((8, 0), (24, 40)):
        rolled = first.roll(shifts, dims=(2, 3))
        torch.testing.assert_close(encoder(rolled), style, rtol=0, atol=1e-5)
    assert (encoder(photo(1)) - style).abs().max() > 1e-2


def test_a_flat_exemplar_has_one_style_at_every_size(encoder: StyleEncoder):
    colour = torch.tensor([0.3, -0.5, 0.9]).reshape(1, 3, 1, 1)
    sizes = ((64, 64), (8, 8), (37, 50), (1, 3))
    styles = [encoder(colour.expand(1, 3, *size)) for size in sizes]
    for one, other in pairwise(styles):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_a_style_begins_with_the_means_and_spreads_of_the_colours(encoder: StyleEncoder):
    exemplar = photo(2) * 0.5 + 0.25
    colours = exemplar[0].flatten(1)
    expected = torch.cat([colours.mean(dim=1), colours.std(dim=1, unbiased=False)])
    torch.testing.assert_close(encoder(exemplar)[0, :6], expected)


def test_a_style_of_colours_alone_is_an_error():
    with pytest.raises(ValueError, match="style_channels must be over 6"):
        StyleEncoder(6)


def test_an_exemplar_of_other_channels_is_an_error(encoder: StyleEncoder):
    with pytest.raises(ValueError, match=r"exemplar must have the shape \(B, 3, H, W\)"):
        encoder(torch.zeros(1, 4, 64, 64))


@pytest.mark.usefixtures("saved")
def test_the_picture_changes_with_the_exemplar_but_not_with_its_places():
    drawn = DataSettings(split="test", exemplar_column="exemplar", image_size=SIDE, load_size=SIDE)
    pairs = EvaluationPairs(drawn, EdgeCondition(), exemplars="column", limit=2)
    (painting,) = load_rival(SPEC, pairs).paint([pairs[0], pairs[1]])
    assert painting.pictures.shape == (2, 3, SIDE, SIDE)
    condition, exemplar = pairs[0].target.condition, pairs[0].exemplar.photo
    pictures = [
        np.array(paint(condition, Image.fromarray(look.permute(1, 2, 0).numpy()))).astype(int)
        for look in (exemplar, exemplar.roll((8, 16), dims=(1, 2)), pairs[1].exemplar.photo)
    ]
    assert np.array_equal(pictures[0], (painting.pictures[0].permute(1, 2, 0) * 255).round())
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
    assert np.abs(pictures[0] - pictures[2]).max() > 3


def test_an_evaluation_that_is_not_told_where_the_rival_is_says_how(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    with pytest.raises(ValueError, match="STYLE_RIVAL=out/style-rival/rival; it is not set"):
        paint(torch.zeros(2, SIDE, SIDE), Image.new("RGB", (SIDE, SIDE)))


def test_a_rival_has_nothing_to_learn_from_terms_of_the_matching(tmp_path: Path):
    paths = [CONFIGS / "edge-to-face.yaml", CONFIGS / "layers/correspondence.yaml"]
    with pytest.raises(ValueError, match="leave out layers/correspondence"):
        train_rival(load_config(paths, [f"--output_dir={tmp_path}"]))


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_process")
def test_a_recipe_trains_the_rival_without_the_terms_of_the_matching(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    overrides = [
        f"--output_dir={tmp_path}",
        f"--data.image_size={SIDE}",
        f"--data.load_size={SIDE}",
        "--data.workers=0",
        "--networks.translation.residual=true",  # a style is no picture to add to
        "--schedule.constant=2",
        "--schedule.decay=0",
        "--output.log_every=1",
        "--output.push_to_hub=someone/rival",  # which would fail: there is no network
    ]
    folder = train_rival(load_config(CONFIGS / "quickstart.yaml", overrides))
    printed = capsys.readouterr().out
    for name in ("generator/adversarial", "generator/self_pixel", "validation/target_l1"):
        assert f"{name} " in printed
    for name in ("cycle", "self_warp", "warped_mask", "domain_alignment"):
        assert f"generator/{name}" not in printed
    assert (tmp_path / "pictures/validation-00000002.png").is_file()
    state = torch.load(list_checkpoints(tmp_path / "checkpoints")[-1] / STATE_FILE)
    generator = state["optimizers"]["generator"]
    for index in generator["param_groups"][0]["params"]:  # of the encoder
        assert generator["state"][index]["exp_avg_sq"].any()
    opened = StyleEncoder.from_pretrained(folder / "style_encoder").state_dict()
    for name, averaged in state["averages"]["correspondence"]["module"].items():
        assert torch.equal(opened[name], averaged)
    painter = open_rival(str(folder))[1].config
    assert painter.condition_channels == 12 + 16 - 3
    assert not painter.residual
