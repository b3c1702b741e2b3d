"""The feature encoder of pix2pixHD: what an instance looks like, in a few numbers."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin as ModelMixin  # diffusers asks for it here
from torch import Tensor

from .conv_blocks import ResidualBody, conv_block, init_weights_
from .instances import Instances, cluster
from .network import Network, require_channels, require_stride


class FeatureEncoder(Network):
    """A photo as a map of features, of which each instance gets the mean.

    Wang et al. 2018 (pix2pixHD), section 3.4. `centres` and `sizes` hold what instances of each
    class look like, by clusters: they are saved with the weights, and a picture without an exemplar
    is painted from them.

    classes: K of the conditions, or 1 where these are no classes. feature_channels: numbers for
    each instance. base_channels, halvings: of the encoder and decoder. clusters: for each class.
    norm: by its name in `cocosnet_hf.models.norms`, without a learned scale.
    """

    recomputed = (ResidualBody,)
    centres: Tensor
    sizes: Tensor

    @register_to_config
    def __init__(
        self,
        classes: int,
        feature_channels: int = 3,
        base_channels: int = 16,
        halvings: int = 4,
        clusters: int = 10,
        norm: str = "instance",
    ):
        super().__init__()
        self.stride = 2**halvings
        self.body = ResidualBody(3, base_channels, halvings, 0, norm)
        self.output = conv_block(base_channels, feature_channels, 7, activation="tanh")
        self.register_buffer("centres", torch.zeros(classes, clusters, feature_channels))
        self.register_buffer("sizes", torch.zeros(classes, clusters))
        init_weights_(self)

    def forward(self, photo: Tensor) -> Tensor:
        """photo (B, 3, H, W) in [-1, 1] -> features (B, F, H, W) in [-1, 1], not yet averaged.

        H and W multiples of `stride`. Raises ValueError for other shapes.
        """
        require_channels("exemplar", photo, 3)
        require_stride("exemplar", photo, self.stride)
        return self.output(self.body(photo))

    def averaged(self, photo: Tensor, instances: Tensor) -> Tensor:
        """(B, F, H, W): on each pixel of an instance (B, H, W) the mean of its features."""
        found = Instances.of(instances)
        return found.spread(found.means(self(photo)))

    @torch.no_grad()
    def keep(self, label: int, features: Tensor) -> None:
        """Remember what instances of a class look like, (N, F), as the centres of clusters."""
        centres, sizes = cluster(features.float(), self.centres.shape[1])
        self.centres[label].zero_()[: len(centres)] = centres.to(self.centres)
        self.sizes[label].zero_()[: len(sizes)] = sizes.to(self.sizes)

    def look(self, label: int, generator: torch.Generator | None = None) -> Tensor:
        """The features (F,) of one of a class's clusters, drawn by their sizes.

        generator: of the draw, on the CPU; without, the largest cluster. 0 for a class of which
        nothing was seen.
        """
        sizes = self.sizes[label].float().cpu()
        chosen = 0
        if generator is not None and sizes.any():
            chosen = int(torch.multinomial(sizes, 1, generator=generator))
        return self.centres[label, chosen]
