"""What a story carries on: the next photo begins as a blend of those seen, the next tags as those of the frames seen.

Illustrations of one book and photos of one day look alike, so a blend of what was seen is hard to beat, and a network
that has to learn it from a few hundred stories does not. Here it is where the heads begin; they add what they know.
"""
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BLEND_RIDGE = 1e-3  # on the blend's normal equations, as a share of their mean diagonal


class PhotoCarry(nn.Module):
    """A blend of the photos seen, its weights set by how alike they are; after t of P photos, t weights of its own.

    weight[t, k] + likeness_weight[t, k] * (mean cosine of the photos seen, 0 for a single one): photos that are all
    alike promise another like them, photos that differ promise little.
    """

    def __init__(self, num_frames: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_frames, num_frames))
        self.likeness_weight = nn.Parameter(torch.zeros(num_frames, num_frames))

    def forward(self, photos: Tensor) -> Tensor:
        """(B, P, D) standardised photos, zeros where there is none -> (B, P, D), what frames 2..P+1 begin as."""
        likeness = measure_likeness(photos)                                                # (B, P)
        weights = (self.weight + likeness.unsqueeze(-1) * self.likeness_weight).tril()     # (B, P, P)
        return weights @ photos

    @torch.no_grad()
    def fit(self, batches: Iterator[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Begin on the weights of least squares.

        Args:
            batches: (B, P, D) photos seen, (B, P, D) photos that follow, (B, P) bool where both are there.
        """
        P = len(self.weight)
        products, sums = torch.zeros(P, 2 * P, 2 * P).double(), torch.zeros(P, 2 * P).double()
        for photos, following, is_photo in batches:
            likeness = measure_likeness(photos).view(-1, P, 1, 1)
            for t in range(P):
                seen = photos[:, :t + 1] * is_photo[:, t].view(-1, 1, 1)                   # (B, t + 1, D)
                inputs = torch.cat([seen, seen * likeness[:, t]], dim=1)
                place = [*range(t + 1), *range(P, P + t + 1)]
                products[t][torch.tensor(place)[:, None], place] += torch.einsum("bid,bjd->ij", inputs, inputs).cpu()
                sums[t, place] += torch.einsum("bid,bd->i", inputs, following[:, t]).cpu()
        ridge = BLEND_RIDGE * products.diagonal(dim1=1, dim2=2).mean(dim=1).clamp(min=1e-6)
        weights = torch.linalg.solve(products + ridge.view(-1, 1, 1) * torch.eye(2 * P), sums).to(self.weight)
        self.weight.copy_(weights[:, :P])
        self.likeness_weight.copy_(weights[:, P:])


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
        counts = torch.arange(1, tags.shape[1] + 1, device=tags.device).unsqueeze(-1)
        mean = tags.cumsum(dim=1) / counts
        return self.last_weight.unsqueeze(-1) * tags + self.mean_weight.unsqueeze(-1) * mean
