"""Networks of the systems beside CoCosNet: what each promises, and what it loses without a part."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from cocosnet_hf import (
    AttributeDecoder,
    CascadedGenerator,
    CoarseToFineGenerator,
    FeatureEncoder,
    ForgetfulEncoder,
    ImageEncoder,
    LatentCritic,
    PatchGAN,
    SPADEGenerator,
    UNet,
)
from cocosnet_hf.models.instances import Instances, boundaries, cluster, means_by_class
from cocosnet_hf.models.network import Network
from tests.support.networks import assert_equal_states
from tests.support.tensors import normal
from tests.support.tiny import lively


def photo(side: int = 16, seed: int = 0, batch: int = 2) -> Tensor:
    return normal(batch, 3, side, side, seed=seed).clamp(-1, 1)


def layout(side: int = 16, batch: int = 2) -> Tensor:
    return (
        torch.nn.functional.one_hot((normal(batch, side, side) > 0).long(), 2).movedim(3, 1) * 1.0
    )


NETWORKS = {
    "unet": (lambda: UNet(2, 4, levels=3), lambda: (layout(),)),
    "coded unet": (
        lambda: UNet(2, 4, levels=3, style_channels=3),
        lambda: (layout(), normal(2, 3)),
    ),
    "coarse to fine": (
        lambda: CoarseToFineGenerator(2, 4, halvings=1, blocks=1, enhancer_blocks=1),
        lambda: (layout(),),
    ),
    "feature encoder": (lambda: FeatureEncoder(2, base_channels=4, halvings=1), lambda: (photo(),)),
    "spade": (
        lambda: SPADEGenerator(2, (6, 6, 4), 4, 3, start=(4, 4), norm="batch"),
        lambda: (layout(), normal(2, 3)),
    ),
    "spade without style": (
        lambda: SPADEGenerator(2, (6, 6, 4), 4, 0, norm="batch"),
        lambda: (layout(),),
    ),
    "image encoder": (lambda: ImageEncoder(3, (4, 6), image_size=16), lambda: (photo(24),)),
    "forgetful encoder": (lambda: ForgetfulEncoder(4, 8, 2), lambda: (photo(),)),
    "attribute decoder": (
        lambda: AttributeDecoder(2, 4, 8, 2),
        lambda: (normal(2, 8, 4, 4), normal(2, 2)),
    ),
    "latent critic": (lambda: LatentCritic(2, 8, hidden=8), lambda: (normal(2, 8, 4, 4),)),
    "cascaded": (lambda: CascadedGenerator((8, 8, 4)), lambda: (photo(),)),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def made(name: str) -> tuple[Network, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    network, inputs = NETWORKS[name]
    return lively(network()), inputs()


def outputs(network: Network, *given: Tensor) -> Tensor:
    out = network(*given)
    return out if isinstance(out, Tensor) else torch.cat(out, dim=1)


@every_network
@torch.no_grad()
def test_a_network_is_saved_loaded_and_folded_whole(name: str, tmp_path: Path):
    network, given = made(name)
    expected = outputs(network, *given)
    network.save_pretrained(tmp_path)
    loaded = type(network).from_pretrained(tmp_path)
    assert_equal_states(loaded, network)
    torch.testing.assert_close(outputs(loaded, *given), expected)
    torch.testing.assert_close(outputs(loaded.fold(), *given), expected, atol=1e-4, rtol=1e-4)
    alone = outputs(network, *(one[:1] for one in given))
    torch.testing.assert_close(alone, expected[:1], atol=1e-5, rtol=1e-4)


@every_network
def test_the_gradient_reaches_every_weight_that_learns(name: str):
    network, given = made(name)
    if isinstance(network, CoarseToFineGenerator):
        network.learn()
    outputs(network.train(), *given).square().sum().backward()
    learning = {n: p for n, p in network.named_parameters() if p.requires_grad}
    assert learning
    assert [n for n, p in learning.items() if p.grad is None or not p.grad.any()] == []


# U-Net ------------------------------------------------------------------------------------------


@torch.no_grad()
def test_noise_drops_the_share_of_positions_and_nothing_is_dropped_without():
    network = made("unet")[0]
    assert network.noise_shapes(16, 24) == [(8, 4, 6)]
    noise = [normal(2, 8, 4, 4, seed=3)]
    assert (network(layout(), noise=noise) - network(layout())).abs().max() > 1e-2
    torch.testing.assert_close(network(layout(), noise=noise), network(layout(), noise=noise))
    kept = [torch.full_like(noise[0], 9.0)]
    half = UNet(2, 4, levels=3, dropout=0.5)
    half.load_state_dict(network.state_dict())
    undivided = UNet(2, 4, levels=3, dropout=0.0)
    undivided.load_state_dict(network.state_dict())
    assert undivided.noise_shapes(16, 16) == []
    assert (half.eval()(layout(), noise=kept) - undivided.eval()(layout())).abs().max() > 1e-3


@torch.no_grad()
def test_a_unet_paints_every_size_from_one_innermost_position_on():
    network = made("unet")[0]
    for height, width in ((8, 8), (12, 20)):
        assert network(layout(24)[:, :, :height, :width]).shape == (2, 3, height, width)
    with pytest.raises(ValueError, match="multiples of 4 from 8 on"):
        network(layout()[:, :, :10])


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_unet_learns_of_a_batch_of_one_down_to_one_innermost_position(norm: str):
    """Where there is a single number to a channel stands no norm, which could not be taken."""
    network = UNet(2, 4, levels=3, norm=norm).train()
    network(layout(8, batch=1)).square().mean().backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(one is not None and one.isfinite().all() for one in gradients)
    assert network.down[-1][0].weight.grad.any()


@torch.no_grad()
def test_every_level_of_a_unet_reads_the_code():
    network = lively(UNet(2, 4, levels=4, style_channels=3))
    condition, codes = torch.rand(2, 2, 32, 16), (normal(2, 3), normal(2, 3, seed=1))
    readers = [layer[0] for layer in network.down]
    weights = [reader.weight.clone() for reader in readers]
    for reader in readers:
        reader.weight[:, -3:] = 0
    torch.testing.assert_close(network(condition, codes[0]), network(condition, codes[1]))
    for reader, weight in zip(readers, weights, strict=True):
        reader.weight.copy_(weight)
        changed = network(condition, codes[0]) - network(condition, codes[1])
        # Behind a norm a code that is the same everywhere shows at the borders alone.
        assert changed.abs().max() > 1e-5
        reader.weight[:, -3:] = 0
    with pytest.raises(ValueError, match=r"style must be \(2, 3\), got \(2, 4\)"):
        network(condition, torch.zeros(2, 4))
    with pytest.raises(ValueError, match="levels must be 3 or more"):
        UNet(2, levels=2)


def test_skips_bring_what_the_innermost_map_has_lost():
    """Isola et al. 2017, table 2: the picture of every position, learned by both nets alike."""
    target = layout()[:, :1].expand(-1, 3, -1, -1) * 2 - 1
    losses = []
    for skips in (True, False):
        torch.manual_seed(0)
        network = UNet(2, 4, levels=3, dropout=0, skips=skips)
        optimizer = torch.optim.Adam(network.parameters(), 1e-2)
        for _ in range(30):
            loss = (network(layout()) - target).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] < 0.7 * losses[1]


# Critics ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("halvings", "field"), [(0, 1), (1, 16), (2, 34), (3, 70), (5, 286)])
def test_a_logit_sees_exactly_its_field(halvings: int, field: int):
    side = 3 * field + 16
    network = lively(PatchGAN(0, 2, halvings, norm="none"))
    image = photo(side, batch=1).requires_grad_()
    ((logits,),) = ([scale[-1] for scale in network(image[:, :0], image)],)
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    seen = image.grad.abs().sum(dim=(0, 1)) > 0
    assert (seen.any(0).sum(), seen.any(1).sum()) == (field, field)


def test_a_critic_has_a_map_for_each_layer_and_scales_of_half_the_size():
    network = PatchGAN(2, 4, halvings=2, padding=2, scales=2, spectral=True)
    shapes = [[tuple(x.shape[1:]) for x in scale] for scale in network(layout(32), photo(32))]
    assert shapes == [
        [(4, 17, 17), (8, 9, 9), (16, 10, 10), (1, 11, 11)],
        [(4, 9, 9), (8, 5, 5), (16, 6, 6), (1, 7, 7)],
    ]
    with pytest.raises(ValueError, match="at least 24 pixels high and wide for 2 halvings and 2"):
        network(layout(16), photo(16))


def judged(network: PatchGAN, image: Tensor) -> list[Tensor]:
    return [scale[-1] for scale in network(image[:, :0], image)]


def test_a_critic_judges_every_scale_by_itself():
    critic = lively(PatchGAN(0, 4, halvings=2, scales=2, joins=False, norm="none"))
    fine, coarse = judged(critic, photo())
    assert fine.shape == (2, 1, 4, 4) and coarse.shape == (2, 1, 2, 2)
    with torch.no_grad():
        critic.critics[1].last.bias.add_(1)
    again = judged(critic, photo())
    torch.testing.assert_close(again[0], fine)
    torch.testing.assert_close(again[1], coarse + 1)


def test_a_critic_may_narrow_from_scale_to_scale():
    critic = PatchGAN(0, 8, halvings=2, scales=2, narrows=True)
    assert [scale.layers[0][0].out_channels for scale in critic.critics] == [8, 4]
    assert [logits.shape[-1] for logits in judged(critic, photo(32))] == [6, 2]


def test_pictures_that_the_layers_cannot_halve_are_refused_and_the_smallest_are_not():
    for joins, side in ((False, 8), (True, 24)):
        critic = PatchGAN(0, 4, halvings=2, scales=2, joins=joins)
        assert critic.smallest == side
        judged(critic, photo(side))
        with pytest.raises(ValueError, match=f"must be at least {side} pixels.* lower the discr"):
            judged(critic, photo(side - 1))


@pytest.mark.parametrize("sees_condition", [True, False])
def test_only_a_critic_that_sees_the_condition_prefers_the_right_one(sees_condition: bool):
    condition = layout(12, batch=4)
    image = condition[:, :1].expand(-1, 3, -1, -1) * 2 - 1
    shuffled = condition.flip(1)
    torch.manual_seed(0)
    network = PatchGAN(2 if sees_condition else 0, 4, halvings=1)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)

    def judge(seen: Tensor) -> Tensor:
        return network(seen if sees_condition else seen[:, :0], image)[0][-1].mean()

    for _ in range(15):
        loss = judge(shuffled) - judge(condition)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (judge(condition) > judge(shuffled) + 0.1) == sees_condition


# Instances --------------------------------------------------------------------------------------


def test_boundaries_are_marked_on_both_sides_of_every_edge():
    instances = torch.tensor([[[1, 1, 1, 1], [1, 7, 7, 1], [1, 7, 7, 1], [1, 1, 1, 2]]])
    expected = [[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 1]]
    assert boundaries(instances)[0, 0].tolist() == expected
    assert not boundaries(torch.full((2, 4, 4), 3)).any()


def test_each_instance_gets_the_mean_of_its_own_picture():
    """Number 5 stands in both pictures, and means another thing in each."""
    instances = torch.tensor([[[5, 5], [2, 5]], [[5, 9], [9, 9]]])
    features = normal(2, 3, 2, 2)
    found = Instances.of(instances)
    assert list(zip(found.picture.tolist(), found.number.tolist(), strict=True)) == [
        (0, 2),
        (0, 5),
        (1, 5),
        (1, 9),
    ]
    averaged = found.spread(found.means(features))
    for picture in range(2):
        for number in instances[picture].unique():
            inside = instances[picture] == number
            expected = features[picture][:, inside].mean(1, keepdim=True)
            own = averaged[picture][:, inside]
            torch.testing.assert_close(own, expected.expand_as(own))
    labels = torch.tensor([[[1, 1], [0, 1]], [[0, 3], [2, 3]]])
    assert found.classes(labels).tolist() == [0, 1, 0, 3]


def test_a_class_looks_as_in_the_exemplar_and_one_that_it_lacks_as_all_of_it():
    features, own = normal(1, 2, 4, 4), torch.zeros(1, 3, 4, 4)
    own[:, 0, :2], own[:, 1, 2:] = 1, 1
    wanted = torch.zeros(1, 3, 2, 3)
    wanted[:, 0, 0], wanted[:, 2, 1] = 1, 1
    found = means_by_class(features, own, wanted)
    first, everywhere = features[:, :, :2].mean(dim=(2, 3)), features.mean(dim=(2, 3))
    torch.testing.assert_close(found[:, :, 0], first[..., None].expand(1, 2, 3))
    torch.testing.assert_close(found[:, :, 1], everywhere[..., None].expand(1, 2, 3))
    unknown = means_by_class(features, None, wanted)
    torch.testing.assert_close(unknown, everywhere[..., None, None].expand(1, 2, 2, 3))


def test_clusters_are_found_largest_first_and_never_more_than_there_are_points():
    groups = [torch.tensor([[float(x), 0.0]]) + 0.1 * normal(n, 2) for x, n in ((9, 3), (0, 6))]
    centres, sizes = cluster(torch.cat(groups), 2)
    assert sizes.tolist() == [6, 3]
    torch.testing.assert_close(centres, torch.stack([groups[1].mean(0), groups[0].mean(0)]))
    centres, sizes = cluster(torch.ones(4, 2), 3)
    assert (centres.tolist(), sizes.tolist()) == ([[1, 1]], [4])


def test_clusters_are_saved_with_the_encoder_and_drawn_by_their_sizes(tmp_path: Path):
    encoder = made("feature encoder")[0]
    encoder.keep(1, torch.cat([torch.ones(30, 3), -torch.ones(10, 3)]))
    encoder.save_pretrained(tmp_path)
    loaded = FeatureEncoder.from_pretrained(tmp_path)
    assert loaded.look(1).tolist() == [1, 1, 1]
    assert loaded.look(0).tolist() == [0, 0, 0]
    generator = torch.Generator().manual_seed(0)
    drawn = [loaded.look(1, generator)[0].item() for _ in range(40)]
    assert 5 <= drawn.count(-1) <= 15


# pix2pixHD's generator ---------------------------------------------------------------------------


def test_the_enhancer_alone_leaves_the_coarse_body_bit_equal():
    network = made("coarse to fine")[0]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.learn(enhancer_alone=True)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    network(layout()).square().sum().backward()
    optimizer.step()
    changed = {key for key, value in network.state_dict().items() if (value != before[key]).any()}
    assert changed and all(key.startswith(("bodies.0", "pictures.1")) for key in changed)
    network.learn()
    network(layout()).square().sum().backward()
    assert network.coarse.down[0][0].weight.grad.any()


@torch.no_grad()
def test_without_enhancers_the_same_weights_paint_at_half_the_size():
    network = made("coarse to fine")[0]
    assert (network.stride, network(layout()).shape[-1]) == (4, 16)
    network.register_to_config(active_enhancers=0)
    assert (network.stride, network(layout(8)).shape[-1]) == (2, 8)
    with pytest.raises(ValueError, match="needs an enhancer that paints"):
        network.learn(enhancer_alone=True)
    with pytest.raises(ValueError, match=r"active_enhancers must be in 0\.\.1"):
        CoarseToFineGenerator(2, 4, active_enhancers=2)


# SPADE ------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_generator_reads_a_style_if_and_only_if_it_was_made_for_one():
    with_style, without = made("spade")[0], made("spade without style")[0]
    with pytest.raises(ValueError, match=r"style must be \(2, 3\), got None"):
        with_style(layout())
    with pytest.raises(ValueError, match="style must be left out, .* got"):
        without(layout(), normal(2, 3))
    larger = layout(24)[:, :, :16]
    assert with_style(larger, normal(2, 3)).shape == (2, 3, 16, 24)


@torch.no_grad()
def test_a_uniform_class_shows_in_the_picture_and_a_relabelled_region_there_alone():
    network = made("spade without style")[0]
    classes = [torch.zeros(1, 2, 64, 64) for _ in range(2)]
    classes[0][:, 0], classes[1][:, 1] = 1, 1
    first, second = (network(each) for each in classes)
    assert (first - second).abs().mean() > 1e-2
    mixed = classes[0].clone()
    mixed[..., :32] = classes[1][..., :32]
    change = (network(mixed) - first).abs().mean(dim=(0, 1, 2))
    assert change[:32].mean() > 2 * change[32:].mean()
