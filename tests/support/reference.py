"""The networks in plain operations, straight from docs/official_networks.md, as an oracle.

Nothing here is shared with the networks: official-style state dicts, the unfolded patches of the
package's own reference form, the whole N x N correlation, an explicit softmax, no folding.
`record(name, array)` receives every step under the names of the recorded arrays (official
networks, 2).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from cocosnet_hf.reference import normalized_patches
from tests.support.official import Official

State = dict[str, Tensor]
Record = Callable[[str, Tensor], None]
EPSILON = 2.2204e-16


def ignore(_name: str, _array: Tensor) -> None:
    """A record that keeps nothing."""


def conv(
    state: State, name: str, x: Tensor, stride: int = 1, padding: int = 0, reflect: bool = False
) -> Tensor:
    if f"{name}.weight" in state:
        weight = state[f"{name}.weight"]
    else:
        original = state[f"{name}.weight_orig"]
        sigma = state[f"{name}.weight_u"] @ original.flatten(1) @ state[f"{name}.weight_v"]
        weight = original / sigma
    if reflect:
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
    return F.conv2d(x, weight, state.get(f"{name}.bias"), stride, padding)


def positional_norm(x: Tensor) -> Tensor:
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=True)
    return (x - mean) / (variance + 1e-5).sqrt()


def instance_norm(x: Tensor) -> Tensor:
    mean = x.mean((2, 3), keepdim=True)
    variance = x.var((2, 3), keepdim=True, unbiased=False)
    return (x - mean) / (variance + 1e-5).sqrt()


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x)


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """Nearest: output (i, j) is input (floor(i H / h), floor(j W / w))."""
    rows = torch.arange(height) * x.shape[2] // height
    columns = torch.arange(width) * x.shape[3] // width
    return x[:, :, rows][:, :, :, columns]


def spade(state: State, name: str, x: Tensor, guide: Tensor, label: str, record: Record) -> Tensor:
    guide = resize(guide, *x.shape[2:])
    hidden = conv(state, f"{name}.mlp_shared.1", guide, reflect=True).clamp(min=0)
    gamma = conv(state, f"{name}.mlp_gamma", hidden, reflect=True)
    beta = conv(state, f"{name}.mlp_beta", hidden, reflect=True)
    out = positional_norm(x) * (1 + gamma) + beta
    record(f"{label}.mlp_shared", hidden)
    record(f"{label}.mlp_gamma", gamma)
    record(f"{label}.mlp_beta", beta)
    record(label, out)
    return out


def spade_block(
    state: State, name: str, x: Tensor, guide: Tensor, label: str, record: Record
) -> Tensor:
    def norm(index: str, x: Tensor) -> Tensor:
        return spade(state, f"{name}.norm_{index}", x, guide, f"{label}.norm_{index}", record)

    def convolve(index: str, x: Tensor, reflect: bool) -> Tensor:
        out = conv(state, f"{name}.conv_{index}", x, reflect=reflect)
        record(f"{label}.conv_{index}", out)
        return out

    y = convolve("0", leaky(norm("0", x)), reflect=True)
    y = convolve("1", leaky(norm("1", y)), reflect=True)
    if f"{name}.conv_s.weight_orig" in state:
        x = convolve("s", norm("s", x), reflect=False)
    record(label, x + y)
    return x + y


def attention(state: State, name: str, x: Tensor) -> Tensor:
    batch, _, height, width = x.shape
    query = conv(state, f"{name}.theta", x).flatten(2)
    key = F.max_pool2d(conv(state, f"{name}.phi", x), 2).flatten(2)
    value = F.max_pool2d(conv(state, f"{name}.g", x), 2).flatten(2)
    weights = (query.mT @ key).softmax(dim=2)
    attended = (value @ weights.mT).reshape(batch, -1, height, width)
    return state[f"{name}.gamma"] * conv(state, f"{name}.o", attended) + x


def domain_adaptor(state: State, name: str, x: Tensor, label: str, record: Record) -> Tensor:
    y = x
    for layer, stride in enumerate([1, 2, 1, 2, 1], start=1):
        y = instance_norm(conv(state, f"{name}.layer{layer}.0", y, stride, padding=1))
        record(f"{label}_layer{layer}", y)
        y = leaky(y) if layer < 5 else y
    for block in ("head_0", "G_middle_0", "G_middle_1"):
        y = spade_block(state, f"{name}.{block}", y, x, f"{label}_{block}", record)
    return y / (y.square().sum(1, keepdim=True).sqrt() + EPSILON)


def shared_blocks(state: State, x: Tensor) -> Tensor:
    for index in range(4):
        name = f"layer.{index}"
        slope = state[f"{name}.prelu.weight"]
        y = instance_norm(conv(state, f"{name}.conv1", x, reflect=True))
        y = torch.where(y > 0, y, slope * y)
        y = instance_norm(conv(state, f"{name}.conv2", y, reflect=True)) + x
        x = torch.where(y > 0, y, slope * y)
    return x


def correspondence(
    state: State,
    official: Official,
    condition: Tensor,
    exemplar: Tensor,
    exemplar_condition: Tensor,
    noise: Tensor | None = None,
    record: Record = ignore,
) -> Tensor:
    """netCorr: the warped exemplar (B, 3, H, W).

    condition, exemplar_condition (B, K, H, W); exemplar (B, 3, H, W) in [-1, 1]; noise
    (B, K, H/4, W/4), standard normal, for the noise variant.
    """
    batch, _, full_height, full_width = exemplar.shape
    height, width = full_height // 4, full_width // 4
    content = domain_adaptor(state, "adaptive_model_seg", condition, "corr/seg", record)
    style = domain_adaptor(state, "adaptive_model_img", exemplar, "corr/img", record)
    record("corr/adaptive_feature_seg", content)
    record("corr/adaptive_feature_img", style)
    if official.mix_condition:
        content = torch.cat([content, resize(condition, height, width)], 1)
        small = resize(exemplar_condition, height, width)
        style = torch.cat([style, small if noise is None else official.noise * noise], 1)
    content, style = shared_blocks(state, content), shared_blocks(state, style)
    record("corr/cont_features", content)
    record("corr/ref_features", style)
    theta = normalized_patches(conv(state, "theta", content), 3).mT
    phi = normalized_patches(conv(state, "phi", style), 3).mT
    record("corr/theta", theta)
    record("corr/phi", phi)
    correlation = theta.mT @ phi
    record("corr/f_rows", correlation)
    matching = (correlation / 0.01).softmax(dim=2)
    record("corr/softmax_max", matching.amax(2))
    record("corr/softmax_argmax", matching.argmax(2))

    def warp(values: Tensor) -> Tensor:
        """(B, C, h w) exemplar values seen from each condition position."""
        return values @ matching.mT

    record(
        "corr/warp_mask",
        warp(resize(exemplar_condition, height, width).flatten(2)).unflatten(2, (height, width)),
    )
    if official.warp == "patch":
        blocks = F.unfold(exemplar, 4, stride=4)
        warped = F.fold(warp(blocks), (full_height, full_width), 4, stride=4)
        record("corr/warp_patch_every3", warped)
    else:
        small = exemplar.reshape(batch, 3, height, 4, width, 4).mean((3, 5)).flatten(2)
        lowres = warp(small)
        back = (correlation / 0.01).softmax(dim=1)
        record("corr/warp_cycle", (lowres @ back).unflatten(2, (height, width)))
        lowres = lowres.unflatten(2, (height, width))
        record("corr/warp_lowres", lowres)
        if official.upsampling == "bilinear":
            warped = F.interpolate(lowres, scale_factor=4, mode="bilinear", align_corners=False)
        else:
            warped = resize(lowres, full_height, full_width)
    record("corr/warp_out_every3", warped)
    return warped


def translation(state: State, warped: Tensor, condition: Tensor, record: Record = ignore) -> Tensor:
    """netG: the image (B, 3, H, W) in [-1, 1]."""
    guide = torch.cat([warped, condition], 1)
    height, width = guide.shape[2] // 32, guide.shape[3] // 32
    x = conv(state, "fc", resize(guide, height, width), padding=1)
    record("G/fc", x)
    for block, factor in (
        ("head_0", 1),
        ("G_middle_0", 2),
        ("G_middle_1", 1),
        ("up_0", 2),
        ("up_1", 2),
        ("up_2", 2),
        ("up_3", 2),
    ):
        x = resize(x, x.shape[2] * factor, x.shape[3] * factor)
        if block == "up_2":
            x = attention(state, "attn", x)
            record("G/attn", x)
        x = spade_block(state, block, x, guide, f"G/{block}", record)
    x = conv(state, "conv_img", leaky(x), padding=1)
    record("G/conv_img", x)
    image = x.tanh()
    record("G/fake_image_sample0", image[0])
    record("G/fake_image_every3", image)
    return image


def discriminator(
    state: State, condition: Tensor, image: Tensor, record: Record = ignore
) -> list[list[Tensor]]:
    """netD: per scale the four feature maps and the logits; condition and image stacked alike."""
    x = torch.cat([condition, image], 1)
    results = []
    for scale in range(2):
        name = f"discriminator_{scale}"
        outputs = [leaky(conv(state, f"{name}.model0.0", x, 2, padding=1))]
        for index, stride in ((1, 2), (2, 2), (3, 1)):
            y = attention(state, f"{name}.attn", outputs[-1]) if index == 3 else outputs[-1]
            y = conv(state, f"{name}.model{index}.0.0", y, stride, padding=1)
            outputs.append(leaky(instance_norm(y)))
        outputs.append(conv(state, f"{name}.model4.0", outputs[-1], padding=1))
        for index, output in enumerate(outputs):
            record(f"D/scale{scale}_model{index}", output)
        results.append(outputs)
        x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
    return results


def run(
    weights: dict[str, State],
    official: Official,
    condition: Tensor,
    exemplar: Tensor,
    exemplar_condition: Tensor,
    image: Tensor,
    noise: Tensor | None = None,
    record: Record = ignore,
) -> Tensor:
    """All three networks in turn; image (B, 3, H, W) is the real photo that netD judges as well."""
    warped = correspondence(
        weights["netCorr"], official, condition, exemplar, exemplar_condition, noise, record
    )
    fake = translation(weights["netG"], warped, condition, record)
    pair = torch.cat([fake, image])
    discriminator(weights["netD"], torch.cat([condition, condition]), pair, record)
    return fake
