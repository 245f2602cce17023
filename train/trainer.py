"""One optimiser step, one validation: exact under interruption, equal on any number of processes."""
import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from data.errors import UserError
from data.words.tokens import PAD
from train.augment import SynonymSwaps, drop_words, hide_rare_words, mix_in_own_words
from train.batches import Batch, StoryDataset
from train.config import TrainConfig
from train.criterion import SELECTION_TERMS, TERMS, StoryCriterion, Term
from train.distributed import World
from train.model.packing import send
from train.model.story_model import StoryModel
from train.order import share_batch
from train.share import POOL_STORIES, DecoderShare, NgramShare

SUMS = (*TERMS, "gradient", "image_raw")  # what an epoch adds up: a sum and a count each
CHECK_EVERY = 50  # steps between two looks at the losses on CUDA, where every look waits for the device


class TrainingDiverged(UserError):
    """A loss or a gradient is no finite number."""


class Trainer:
    """The model with what trains it.

    Args:
        config: settings. model: on the world's device. world: the processes.
        precision: "float32" or "bfloat16", for the forward pass; the weights stay float32.
        swaps: synonyms, where the settings ask for them. rare: (V,) bool, words that may stand as <UNK>.
        described_apart: see `StoryCriterion`.

    Attributes:
        sums: (len(SUMS), 2) float64, sum and count of this process since the epoch began.
        stop_asked: set by a signal; becomes `must_stop` when all processes know.
    """

    def __init__(self, config: TrainConfig, model: StoryModel, world: World, precision: str,
                 swaps: SynonymSwaps | None = None, rare: Tensor | None = None, described_apart: bool = False) -> None:
        self.config, self.model, self.world, self.swaps, self.rare = config, model, world, swaps, rare
        self.autocast = precision == "bfloat16"
        self.criterion = StoryCriterion(config, model, described_apart)
        groups = _group_parameters(model, config)
        self.optimizer = torch.optim.Adam(groups, lr=config.lr, betas=(config.beta1, config.beta2),
                                          weight_decay=config.weight_decay, fused=True)
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, patience=config.plateau_patience, factor=config.plateau_factor)
        self.wrapped: nn.Module = model if world.size == 1 else DistributedDataParallel(
            model, forward_sync_buffers=False, find_unused_parameters=not _uses_every_weight(config))
        self.sums = torch.zeros(len(SUMS), 2, dtype=torch.float64, device=world.device)
        self.stop_asked = self.must_stop = False

    @property
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer | torch.optim.lr_scheduler.ReduceLROnPlateau]:
        """What a checkpoint holds beside the progress."""
        return {"model": self.model, "optimizer": self.optimizer, "plateau": self.plateau}

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What the gradient norm is taken over."""
        return list(self.model.parameters())

    @property
    def lr(self) -> float:
        """The learning rate now."""
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, dataset: StoryDataset, indices: np.ndarray, epoch: int, step: int) -> None:
        """Learn from one global batch; this process reads its share of it.

        Args:
            indices: positions of the global batch's stories. epoch, step: from 1 and from 0, for random numbers.

        Raises:
            TrainingDiverged: naming what is not finite; the weights are those of the step before.
        """
        seed_step(self.config.seed, self.world.rank, epoch, step)
        mine = share_batch(indices, self.world.rank, self.world.size)
        is_counted = len(mine) > 0  # the last batch may have fewer stories than there are processes
        batch = self.move(self._augment(dataset.__getitems__(mine if is_counted else indices[:1])))
        if self.config.scheduled_sampling and epoch > 1:
            batch["decoder_ids"] = self._read_own_words(batch, epoch)
        self.model.train()
        terms = self._measure(batch, is_counted)
        counts = self._agree(terms, epoch, step)
        means = {name: term.sum * self.world.size / counts[TERMS.index(name)].clamp(min=1)
                 for name, term in terms.items()}
        total = self.criterion.total(means)
        assert isinstance(total, Tensor)
        self.optimizer.zero_grad(set_to_none=True)
        self.backward(total)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        self._check_gradient(norm, epoch, step)
        self.optimizer.step()
        self._add(terms)
        self._add({"gradient": Term(norm, torch.ones_like(norm))})

    def backward(self, total: Tensor) -> None:
        """Give every weight its gradient, summed over the processes."""
        total.backward()

    def take_means(self, everywhere: bool = True) -> dict[str, float]:
        """The means since the last `clear`, over all processes or this one; what has no valid element is left out."""
        sums = (self.world.sum(self.sums.clone()) if everywhere else self.sums).cpu()
        return {name: float(total / count) for name, (total, count) in zip(SUMS, sums) if count > 0}

    def clear(self) -> None:
        """Begin an epoch's sums anew."""
        self.sums.zero_()

    @torch.no_grad()
    def validate(self, dataset: StoryDataset) -> dict[str, float]:
        """Mean of every loss term over a split, `image_raw` in the folder's scale; dropout off."""
        self.model.eval()
        kept, self.sums = self.sums, torch.zeros_like(self.sums)
        model, decoder = self.model, self.model.text_decoder
        share = None
        if model.photo_carry is not None:
            share = DecoderShare(model, self.move(dataset.__getitems__(dataset.spread(POOL_STORIES))))
            model.photo_carry.decoder_share.fill_(1.0)  # what the epoch before chose is no part of what this one scores
        blend = NgramShare(decoder.ngrams) if decoder.ngrams is not None and len(dataset) else None
        size = max(self.config.batch_size, 64)
        for start in range(self.world.rank * size, len(dataset), self.world.size * size):
            batch = self.move(dataset.__getitems__(np.arange(start, min(start + size, len(dataset)))))
            outputs = self._forward(self.model, batch)
            self._add({**self.criterion(outputs, batch),
                       "image_raw": self.criterion.raw_image_error(outputs, batch)})
            if share is not None:
                share.add(outputs, batch)
            if blend is not None:
                blend.add(outputs)
        means = self.take_means()
        self.sums = kept
        if share is not None and model.photo_carry is not None:
            self.world.sum(share.sums)
            chosen, is_weakened, scores = share.choose()
            model.photo_carry.decoder_share.fill_(chosen)
            if model.photo_query is not None:
                model.photo_query.is_used.fill_(is_weakened)
            means |= scores
        if blend is not None:
            chosen, means["text"] = blend.choose(self.world.sum)
            decoder.ngram_share.fill_(chosen)
        return means

    def summarise(self, means: dict[str, float]) -> dict[str, float | None]:
        """Means as metrics.jsonl has them: every term, None where nothing was valid, and the weighted total."""
        terms = {name: means[name] for name in TERMS if name in means}
        named = {name: means.get(name) for name in TERMS if name in means or name != "contrastive"}
        raw = {"image_raw": means["image_raw"]} if "image_raw" in means else {}
        return {**named, **raw, "total": float(self.criterion.total(terms))}

    def is_finite(self) -> bool:
        """Whether everything added up so far is a number; waits for the device."""
        return bool(self.sums.isfinite().all())

    def _measure(self, batch: Batch, is_counted: bool) -> dict[str, Term]:
        outputs = self._forward(self.wrapped, batch)
        terms = self.criterion(outputs, batch)
        if not is_counted:
            terms = {name: Term(term.sum * 0, term.count * 0) for name, term in terms.items()}
        return terms

    def _forward(self, module: nn.Module, batch: Batch) -> dict[str, Tensor]:
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.autocast):
            return module(batch, padded=False)

    def _agree(self, terms: dict[str, Term], epoch: int, step: int) -> Tensor:
        """The terms' counts over all processes; on the way all learn of a broken loss and of a wish to stop."""
        shared = torch.zeros(2 * len(TERMS) + 1, device=self.world.device, dtype=torch.float64)
        for name, term in terms.items():
            shared[TERMS.index(name)] = term.count
            shared[len(TERMS) + TERMS.index(name)] = ~term.sum.detach().isfinite()
        shared[-1] = float(self.stop_asked)
        self.world.sum(shared)
        if self.world.device.type == "cpu" or step % CHECK_EVERY == 0:
            *_, asked = told = shared.tolist()
            broken = [name for name, is_broken in zip(TERMS, told[len(TERMS):]) if is_broken]
            if broken:
                found = ", ".join(f"{name} {float(term.sum.detach() / term.count.clamp(min=1)):.4g}"
                                  for name, term in terms.items())
                raise TrainingDiverged(_diverged(epoch, step, f"{' and '.join(broken)} not finite ({found})"))
            self.must_stop = asked > 0
        elif self.world.size == 1:
            self.must_stop = self.stop_asked
        return shared

    def _check_gradient(self, norm: Tensor, epoch: int, step: int) -> None:
        if self.world.device.type == "cpu" and not bool(norm.isfinite()):
            raise TrainingDiverged(_diverged(epoch, step, f"a gradient norm of {float(norm)}"))

    def _add(self, terms: Mapping[str, Term]) -> None:
        for name, term in terms.items():
            row = self.sums[SUMS.index(name)]
            row[0] += term.sum.detach()
            row[1] += term.count

    def move(self, batch: Batch) -> Batch:
        """A dataset's batch as the model reads it, on the device."""
        lengths = (batch["token_ids"] != PAD).sum(dim=-1)  # stays on the CPU, where packing needs it
        return {**{name: send(tensor, self.world.device) for name, tensor in batch.items()}, "caption_length": lengths}

    def _augment(self, batch: Batch) -> Batch:
        """What training does to the words, on the CPU; the same numbers are drawn whatever the device."""
        config = self.config
        if self.rare is not None:
            batch = {**batch, "token_ids": hide_rare_words(batch["token_ids"], self.rare, config.rare_as_unknown)}
        read = batch["token_ids"]
        if self.swaps is not None and config.synonym_swaps:
            read = self.swaps(read, config.synonym_swaps)
        if config.word_dropout:
            read = drop_words(read, config.word_dropout)
        changed = {**batch, "input_ids": read, "decoder_ids": batch["token_ids"]}
        if config.word_dropout:
            changed["decoder_ids"] = drop_words(batch["token_ids"], config.word_dropout)
        return changed

    @torch.no_grad()
    def _read_own_words(self, batch: Batch, epoch: int) -> Tensor:
        share = self.config.scheduled_sampling * (epoch - 1) / max(self.config.epochs - 1, 1)
        self.model.eval()
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.autocast):
            logits = self.model(batch, alone=True)["caption_logits"]
        read = batch["decoder_ids"].clone()
        first = read.shape[1] - logits.shape[1]  # frames that are not predicted
        read[:, first:] = mix_in_own_words(read[:, first:], logits, share)
        return read


def require_finite(means: Mapping[str, float], epoch: int) -> None:
    """Refuse means that are no numbers.

    Raises:
        TrainingDiverged: naming them.
    """
    broken = [f"{name} {value}" for name, value in means.items() if not math.isfinite(value)]
    if broken:
        raise TrainingDiverged(_diverged(epoch, 0, ", ".join(broken)))


def select(means: Mapping[str, float | None]) -> float:
    """The loss that chooses the best epoch: image + text, unweighted."""
    return sum(means.get(name) or 0.0 for name in SELECTION_TERMS)


def seed_step(seed: int, rank: int, epoch: int, step: int) -> None:
    """Seed torch's global generators for one step, so that nothing but these numbers decides its dropout."""
    digest = hashlib.sha256(f"{seed}:{rank}:{epoch}:{step}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:8], "little"))


def _group_parameters(model: StoryModel, config: TrainConfig) -> list[dict[str, Any]]:
    """The weights that carry photos and tags on are few and learn at a rate of their own."""
    groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, parameter in model.named_parameters():
        groups[name.partition(".")[0].endswith("_carry")].append(parameter)
    return [{"params": groups[False]}, *([{"params": groups[True], "lr": config.carry_lr}] if groups[True] else [])]


def _uses_every_weight(config: TrainConfig) -> bool:
    return config.asked.predicts_photo and config.use_text and config.use_tag_embedding


def _diverged(epoch: int, step: int, found: str) -> str:
    return (f"epoch {epoch}, batch {step + 1}: expected finite losses, found {found}; the last good state is kept in "
            "last.pt; lower --lr or --clip, or look at the features with verify")
