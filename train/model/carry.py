"""What a story carries on: the next photo begins as a blend of those seen, the next tags as those of the frames seen.

Illustrations of one book and photos of one day look alike, so a blend of what was seen is hard to beat, and a network
that has to learn it from a few hundred stories does not. Here it is where the heads begin; they add what they know.
"""
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RECENCY = 0.6  # weight of a photo against the one after it; .5 to .7 rank alike on picture books
RIDGE = 1e-3   # on the normal equations of the scales, as a share of their mean diagonal


class PhotoCarry(nn.Module):
    """A blend of the photos seen, by recency, as long as their likeness says.

    After t photos: (scale[t] + likeness_scale[t] * mean cosine of the photos seen) * blend. The blend's weights fall by
    RECENCY from each frame to the one before it and sum to 1: the direction in which the next photo lies among others.
    Least squares alone would make them nearly equal, and rank the photos of the same album by how typical they are.
    How far it goes is fitted: photos that are all alike promise another like them, photos that differ promise little.
    """

    def __init__(self, num_frames: int) -> None:
        super().__init__()
        for name in ("scale", "likeness_scale"):  # learned further they fit the noise of a few hundred stories
            self.register_buffer(name, torch.zeros(num_frames))
        self.register_buffer("decoder_share", torch.ones(()))  # of what the decoder adds, see `share`; chosen on val
        self.scale: Tensor
        self.likeness_scale: Tensor
        self.decoder_share: Tensor

    def forward(self, photos: Tensor) -> Tensor:
        """(B, P, D) standardised photos, zeros where there is none -> (B, P, D), what frames 2..P+1 begin as."""
        P = photos.shape[1]  # fewer than all where a story has just begun
        scale = self.scale[:P] + measure_likeness(photos) * self.likeness_scale[:P]        # (B, P)
        return scale.unsqueeze(-1) * blend_photos(photos)

    @torch.no_grad()
    def fit(self, batches: Iterator[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Begin on the scales of least squares.

        Args:
            batches: (B, P, D) photos seen, (B, P, D) photos that follow, (B, P) bool where both are there.
        """
        products, sums = torch.zeros(len(self.scale), 2, 2).double(), torch.zeros(len(self.scale), 2).double()
        for photos, following, is_photo in batches:
            blend = blend_photos(photos) * is_photo.unsqueeze(-1)
            inputs = torch.stack([blend, measure_likeness(photos).unsqueeze(-1) * blend], dim=2)   # (B, P, 2, D)
            products += torch.einsum("bpid,bpjd->pij", inputs, inputs).cpu()
            sums += torch.einsum("bpid,bpd->pi", inputs, following).cpu()
        ridge = RIDGE * products.diagonal(dim1=1, dim2=2).mean(dim=1).clamp(min=1e-6)
        scales = torch.linalg.solve(products + ridge.view(-1, 1, 1) * torch.eye(2), sums).to(self.scale)
        self.scale.copy_(scales[:, 0])
        self.likeness_scale.copy_(scales[:, 1])


def blend_photos(photos: Tensor) -> Tensor:
    """Mean of the first t photos by recency: (B, P, D) -> (B, P, D); absent ones are left out."""
    frame = torch.arange(photos.shape[1], device=photos.device)
    weights = (RECENCY ** (frame.unsqueeze(1) - frame).clamp(min=0)).tril()                # (P, P)
    present = (photos != 0).any(dim=-1).to(photos.dtype)                                   # (B, P)
    return weights @ photos / (weights @ present.unsqueeze(-1)).clamp(min=1e-6)


def measure_likeness(photos: Tensor) -> Tensor:
    """Mean cosine of the pairs among the first t photos: (B, P, D) -> (B, P), 0 for t = 1; absent photos are left
    out."""
    directions = F.normalize(photos.float(), dim=-1)
    cosines = (directions @ directions.transpose(1, 2)).tril(-1)                           # (B, P, P)
    present = (photos != 0).any(dim=-1)
    pairs = (present.unsqueeze(1) & present.unsqueeze(2)).tril(-1).cumsum(dim=1).sum(dim=-1)
    return cosines.sum(dim=-1).cumsum(dim=1) / pairs.clamp(min=1)


class TagCarry(nn.Module):
    """What the tags of earlier frames add to a frame's tag logits: of the last one, and of the mean of all."""

    def __init__(self, num_frames: int) -> None:
        super().__init__()
        self.last_weight = nn.Parameter(torch.zeros(num_frames))
        self.mean_weight = nn.Parameter(torch.zeros(num_frames))

    def forward(self, tags: Tensor) -> Tensor:
        """(B, P, G) multi-hot tags of frames 1..P -> (B, P, G), for the frames 2..P+1."""
        P = tags.shape[1]
        mean = tags.cumsum(dim=1) / torch.arange(1, P + 1, device=tags.device).unsqueeze(-1)
        return self.last_weight[:P].unsqueeze(-1) * tags + self.mean_weight[:P].unsqueeze(-1) * mean
