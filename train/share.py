"""How much of the decoders' own part is used beside what is known without them: as much as holds on val.

On a few hundred stories the image decoder lowers the squared error by half a percent and pushes the true photo down
among others: what it learned is what photos are like on average. And the text decoder knows less of which words follow
which than a trigram does. Val tells how much of each, after every epoch.
"""
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from train.model.ngrams import EM_STEPS, NgramTable
from train.model.story_model import StoryModel

SHARES = (0.0, 0.5, 1.0)
POOL_STORIES = 256  # whose photos are sought among; evenly taken
DOUBT = 1.0  # standard errors by which a share's reciprocal ranks must lie above those of none


class DecoderShare:
    """Gathers, over the batches of val, how each share ranks the photo that follows.

    Args:
        model: with a photo_carry. pool: stories of val, a batch on the model's device, whose photos are candidates too.

    Attributes:
        sums: (len(SHARES), 7) float64: stories, sum and sum of squares of the gain in mean reciprocal rank over the
            first share; frames, sum of squared errors, and of those in the folder's scale; what a weakened query gains
            in mean reciprocal rank. They add up over processes.
    """

    def __init__(self, model: StoryModel, pool: Mapping[str, Tensor]) -> None:
        self.model = model
        is_there = pool["photo_mask"]
        self.pool = model.standardise(pool["image_features"][is_there]), pool["content"][is_there]
        self.sums = torch.zeros(len(SHARES), 7, dtype=torch.float64, device=model.feature_mean.device)

    def add(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> None:
        """Take in a batch; its photos and the pool's are the candidates, a story's inputs none of its."""
        present = batch["photo_mask"]
        photos = self.model.standardise(batch["image_features"]) * present.unsqueeze(-1)
        is_asked = present[:, 1:]                                                          # (B, P)
        first = None
        for place, share in enumerate(SHARES):
            predicted = outputs["carried_features"] + share * outputs["added_features"]
            error = (predicted - photos[:, 1:]) * is_asked.unsqueeze(-1)
            counts = is_asked.sum(dim=1)
            asked = predicted if self.model.photo_query is None else self.model.photo_query.weaken(predicted)
            ranks = (rank_following(query, photos, present, batch["content"], *self.pool)
                     for query in (predicted, asked))
            mean, weakened = ((is_asked / rank).sum(dim=1)[counts > 0] / counts[counts > 0] for rank in ranks)
            first = mean if first is None else first
            gain = (mean - first).double()
            found = (counts.new_tensor(len(gain)), gain.sum(), gain.square().sum(), counts.sum(),
                     error.square().mean(dim=-1).sum(), (error * self.model.feature_std).square().mean(dim=-1).sum(),
                     (weakened - mean).sum())
            self.sums[place] += torch.stack([number.double() for number in found])

    def choose(self) -> tuple[float, bool, dict[str, float]]:
        """The largest share that ranks photos better than none beyond doubt, with no larger error, else none; whether
        a weakened query ranks them better still; and what it scores, "image" and "image_raw", as the criterion has
        them."""
        place = self._find_place()
        _, _, _, frames, error, raw_error, gain = self.sums[place].tolist()
        return SHARES[place], gain > 0, {"image": error / frames, "image_raw": raw_error / frames} if frames else {}

    def _find_place(self) -> int:
        count, gains, squares, _, errors, _, _ = self.sums.cpu().T
        for place in reversed(range(1, len(SHARES))):
            n = float(count[place])
            mean = float(gains[place]) / max(n, 1)
            variance = max(float(squares[place]) / max(n, 1) - mean ** 2, 0.0)
            if n > 1 and mean > DOUBT * (variance / (n - 1)) ** 0.5 and float(errors[place]) <= float(errors[0]):
                return place
        return 0


class NgramShare:
    """Gathers how likely the words of val are to the text decoder and to the trigram, and finds the best blend."""

    def __init__(self, ngrams: NgramTable) -> None:
        self.ngrams = ngrams
        self.own: list[Tensor] = []
        self.others: list[Tensor] = []

    def add(self, outputs: Mapping[str, Tensor]) -> None:
        """Take in a batch: outputs of `StoryModel(padded=False)`."""
        target = outputs["token_targets"].unsqueeze(1)
        self.own.append(outputs["token_logits"].float().softmax(dim=-1).gather(1, target).squeeze(1).double())
        self.others.append(self.ngrams(outputs["token_pairs"]).gather(1, target).squeeze(1).double())

    def choose(self, add_up: Callable[[Tensor], Tensor]) -> tuple[float, float]:
        """The trigram's share that makes the words likeliest (expectation maximisation), and the nats a word then.

        Args:
            add_up: sums a tensor over all processes.
        """
        none = torch.zeros(0, dtype=torch.float64, device=self.ngrams.unigram.device)  # a process may have no batch
        own, other = torch.cat([none, *self.own]), torch.cat([none, *self.others])
        share, count = 0.5, float(add_up(own.new_tensor(float(len(own)))))
        for _ in range(EM_STEPS):
            part = share * other / (share * other + (1 - share) * own)
            share = float(add_up(part.sum())) / count
        surprise = -torch.log((1 - share) * own + share * other)
        return share, float(add_up(surprise.sum())) / count


def rank_following(predicted: Tensor, photos: Tensor, present: Tensor, content: Tensor, pool_photos: Tensor,
                   pool_content: Tensor) -> Tensor:
    """Where the photo that follows stands by cosine among all photos of a batch and a pool, each counted once.

    Args:
        predicted: (B, P, D). photos: (B, P + 1, D) standardised. present: (B, P + 1) bool. content: (B, P + 1).
        pool_photos: (C, D) standardised. pool_content: (C,).

    Returns:
        (B, P) float, 1 = best, ties by mean rank; 1 where a photo that follows was among those before it.
    """
    rows, inverse = torch.unique(torch.cat([content.flatten(), pool_content]), return_inverse=True)
    inverse, of_pool = inverse[:content.numel()].view_as(content), inverse[content.numel():]   # (B, K), (C,)
    candidates = torch.zeros(len(rows), photos.shape[-1], device=photos.device)
    is_candidate = torch.zeros(len(rows), dtype=torch.bool, device=photos.device)
    for place, photo in ((of_pool, pool_photos), (inverse[present], photos[present])):
        candidates[place] = F.normalize(photo.float(), dim=-1)
        is_candidate[place] = True
    cosine = F.normalize(predicted.float(), dim=-1) @ candidates.T                         # (B, P, C)
    seen = F.one_hot(inverse[:, :-1], len(rows)).cumsum(dim=1) > 0                         # (B, P, C)
    target = inverse[:, 1:].unsqueeze(-1)
    true = cosine.gather(-1, target)
    others = is_candidate & ~seen & (torch.arange(len(rows), device=photos.device) != target)
    return 1 + (others & (cosine > true)).sum(dim=-1) + (others & (cosine == true)).sum(dim=-1) / 2
