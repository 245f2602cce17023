"""The published album-level protocol and what belongs beside its numbers.

One written story and all reference stories of an album, each as one string, words between white space, punctuation
kept, no further tokenising; corpus BLEU, ROUGE-L, CIDEr-D and METEOR `-t hter` over albums. The same code scores
captions, whose unit is a photo sequence instead of an album.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evaluate.captions import text_scores
from evaluate.captions.meteor import MeteorAligner, MeteorUnavailable, best_reference, meteor_score
from evaluate.captions.ngrams import MAX_ORDER, TextTable, measure_rows, vocabulary_share
from evaluate.statistics.bootstrap import Estimate, Resamples, divide
from evaluate.stories.redundancy import measure_non_redundancy

SYSTEM, CONSTANT, HUMAN, AS_HUMAN = "system", "constant", "human", "system, scored as human"
SHORTLIST = 200  # candidates of each kind for the constant story, the most typical by n-gram cosine, scored in full
REDUNDANCY = ("nr", "nr_median", "nr_distance")
MAX_FOLDS = 5  # of the human rows: each of the first five references is held out once


@dataclass(frozen=True)
class Corpus:
    """Raw texts to be scored, unit by unit (album, or photo sequence); U units.

    Attributes:
        album_ids: U, what intervals resample and the constant's halves keep together.
        hypotheses, references: U lists of raw texts, at least one each.
    """

    album_ids: Sequence[str]
    hypotheses: Sequence[Sequence[str]]
    references: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Comparison:
    """What is scored against what: rows of the scorer's table. `units` (M,) are the corpus' units, ascending."""

    units: np.ndarray
    hypotheses: np.ndarray
    hypothesis_unit: np.ndarray  # 0..M-1
    references: np.ndarray
    reference_unit: np.ndarray   # 0..M-1

    @cached_property
    def own_references(self) -> list[np.ndarray]:
        """The rows of the references that each hypothesis is scored against."""
        return text_scores.group_references(self.hypothesis_unit, self.references, self.reference_unit,
                                            len(self.units))


class PublishedScorer:
    """Scores a corpus and the rows beside it; every row is a list of comparisons whose scores are averaged.

    Attributes:
        comparisons: row -> comparisons. Rows that cannot be computed are absent and named in `notes`.
        redundant: whether NR is measured, see `evaluate.stories.redundancy`.
        constants: the two stories of the constant row.
        notes: sentences a user should read.
    """

    def __init__(self, corpus: Corpus, num_resamples: int = 1000, seed: int = 42, redundant: bool = True,
                 others: Mapping[str, Sequence[Sequence[str]]] | None = None) -> None:
        """`others`: further rows by name, for each unit their texts; they do not enter the constant."""
        others = others or {}
        self.corpus, self.notes, self.redundant = corpus, list[str](), redundant
        self.resamples = Resamples(corpus.album_ids, num_resamples, seed)
        self.raw = [text for texts in (*corpus.references, *corpus.hypotheses, *(
            texts for row in others.values() for texts in row)) for text in texts]
        blanks = [row for row, text in enumerate(self.raw) if text.split(" ") != text.split()]
        self.table = TextTable([*(text.split() for text in self.raw), *(self.raw[row].split(" ") for row in blanks)])
        self.blank_row = np.arange(len(self.raw))  # the row of each text as pycocoevalcap's ROUGE-L splits it
        self.blank_row[blanks] = len(self.raw) + np.arange(len(blanks))
        num_references = [len(texts) for texts in corpus.references]
        self.reference_unit = np.repeat(np.arange(len(num_references)), num_references)
        self.references = np.arange(len(self.reference_unit))
        num_hypotheses = [len(texts) for texts in corpus.hypotheses]
        self.hypothesis_unit = np.repeat(np.arange(len(num_hypotheses)), num_hypotheses)
        self.hypotheses = len(self.references) + np.arange(len(self.hypothesis_unit))
        self.units, last = np.arange(len(num_references)), len(self.references) + len(self.hypothesis_unit)
        self.constants: list[str] = []
        self.comparisons = {SYSTEM: [Comparison(self.units, self.hypotheses, self.hypothesis_unit, self.references,
                                                self.reference_unit)]}
        for name, texts_of in others.items():
            unit = np.repeat(self.units, [len(texts) for texts in texts_of])
            self.comparisons[name] = [Comparison(self.units, last + np.arange(len(unit)), unit, self.references,
                                                 self.reference_unit)]
            last += len(unit)
        self._add_constant(seed)
        self._add_humans()

    def _add_constant(self, seed: int) -> None:
        half = self.resamples.deal_halves(seed)
        if self.resamples.num_albums < 2:
            self.notes.append("no constant row: it is chosen on one half of the albums and scored on the other, and "
                              "there is one album only")
            return
        chosen = {}
        for side in (0, 1):
            own = np.flatnonzero(half == side)
            at_home = half[self.reference_unit] == side
            references = self.references[at_home]
            written = self.hypotheses[half[self.hypothesis_unit] == side]
            candidates = [rows[self.table.num_words[rows] > 0] for rows in (references, written)]
            chosen[1 - side] = choose_constant(self.table, candidates, references,
                                               np.searchsorted(own, self.reference_unit[at_home]))
        self.constants = [" ".join(self.raw[chosen[side]].split()) for side in (0, 1)]
        self.comparisons[CONSTANT] = [Comparison(self.units, np.array([chosen[side] for side in half.tolist()]),
                                                 self.units, self.references, self.reference_unit)]

    def _add_humans(self) -> None:
        num_references = np.bincount(self.reference_unit)
        several = np.flatnonzero(num_references > 1)
        if not len(several):
            self.notes.append("no human row: it needs units with two references at least")
            return
        if len(several) < len(num_references):
            self.notes.append(f"the human rows leave out {len(num_references) - len(several)} of "
                              f"{len(num_references)} units: one reference only")
        first = np.searchsorted(self.reference_unit, several)
        in_reach = np.isin(self.reference_unit, several)
        written = np.isin(self.hypothesis_unit, several)
        self.comparisons[HUMAN], self.comparisons[AS_HUMAN] = [], []
        for fold in range(min(MAX_FOLDS, num_references.max())):
            held_out = first + fold % num_references[several]
            references = np.setdiff1d(self.references[in_reach], held_out)
            against = references, np.searchsorted(several, self.reference_unit[references])
            self.comparisons[HUMAN].append(Comparison(several, held_out, np.arange(len(several)), *against))
            self.comparisons[AS_HUMAN].append(Comparison(
                several, self.hypotheses[written], np.searchsorted(several, self.hypothesis_unit[written]), *against))

    def score(self) -> dict[str, dict[str, Estimate]]:
        """Every row's BLEU-1..4, ROUGE-L (clean, and `rouge_l_raw` as published), CIDEr-D, variety and, of stories,
        REDUNDANCY."""
        vocabulary = {self.table.words[word] for row in self.references for word in self.table.word_ids[row].tolist()}
        rows = {}
        for name, comparisons in self.comparisons.items():
            estimates = _average([self._score_one(comparison)
                                  | (self._score_redundancy(comparison) if self.redundant else {})
                                  for comparison in comparisons])
            variety = [self._measure_variety(comparison, vocabulary) for comparison in comparisons]
            for measure in variety[0]:
                found = [values[measure] for values in variety]
                mean = np.nan if None in found else float(np.mean([value for value in found if value is not None]))
                estimates[measure] = Estimate(np.array([mean]), len(comparisons[0].units))
            rows[name] = estimates
        return rows

    def _weights(self, comparison: Comparison) -> np.ndarray:
        """(R + 1, M), how often a comparison's units count in the whole sample and each resample."""
        return self.resamples.counts[:, self.resamples.album[comparison.units]]

    def _score_one(self, comparison: Comparison) -> dict[str, Estimate]:
        num_units, weights = len(comparison.units), self._weights(comparison)
        scores = text_scores.score_rows(self.table, comparison.hypotheses, comparison.hypothesis_unit,
                                        comparison.references, comparison.reference_unit, num_units).scores(weights)
        raw = text_scores.average_over_units(comparison.hypothesis_unit, num_units) @ text_scores.rouge_l(
            self.table, self.blank_row[comparison.hypotheses],
            [self.blank_row[rows] for rows in comparison.own_references])
        scores["rouge_l_raw"] = weights @ raw / weights.sum(axis=1)
        return {name: Estimate(draws, num_units) for name, draws in scores.items()}

    @cached_property
    def non_redundancy(self) -> np.ndarray:
        """(N,) float64, NR of every text; NaN where it is undefined."""
        found = {text: measure_non_redundancy(text) for text in dict.fromkeys(self.raw)}
        return np.array([found[text] for text in self.raw])

    def note_redundancy(self) -> list[str]:
        """Sentences on stories of the system without an NR, or with one below zero."""
        own = self.non_redundancy[self.hypotheses]
        return [f"{said}: {count} of {len(own)}" for count, said in (
            (int(np.isnan(own).sum()), "stories without an NR (one sentence, or none of five words), left out"),
            (int((own < 0).sum()), "stories whose NR is below zero: it has no lower bound, read the median")) if count]

    def _score_redundancy(self, comparison: Comparison) -> dict[str, Estimate]:
        """NR, every unit once; its median over texts; dR, how far a text's NR is from that of people, text by text."""
        unit, own = comparison.hypothesis_unit, self.non_redundancy[comparison.hypotheses]
        of_people = self.non_redundancy[comparison.references]
        gap = np.array([_mean_known(np.abs(of_people[first:last] - value)) for value, first, last in zip(
            own, np.searchsorted(comparison.reference_unit, unit),
            np.searchsorted(comparison.reference_unit, unit, side="right"))])
        weights = self._weights(comparison)[:, unit]
        found = {}
        for name, values in ("nr", own), ("nr_distance", gap):
            known = ~np.isnan(values)
            share = known / np.maximum(1, np.bincount(unit, known)[unit])  # of a unit, where it has several
            found[name] = Estimate(divide(weights @ (share * np.where(known, values, 0)), weights @ share),
                                   len(np.unique(unit[known])))
        return {**found, "nr_median": Estimate(np.array([np.median(own[~np.isnan(own)])] if found["nr"].n
                                                        else [np.nan]), found["nr"].n)}

    def _measure_variety(self, comparison: Comparison, vocabulary: set[str]) -> dict[str, float | None]:
        written = {self.table.words[word] for row in set(comparison.hypotheses.tolist())
                   for word in self.table.word_ids[row].tolist()}
        return {**measure_rows(self.table, comparison.hypotheses), "word_types": len(written),
                "vocabulary_share": vocabulary_share(written, vocabulary)}

    def score_meteor(self) -> dict[str, Estimate]:
        """METEOR of every row; each distinct pair of texts is aligned once.

        Raises:
            MeteorUnavailable: if Java or the jar is absent or fails.
        """
        aligner = MeteorAligner.find()
        pairs = {name: [self._pair_up(comparison) for comparison in comparisons]
                 for name, comparisons in self.comparisons.items()}
        distinct, place = np.unique(np.concatenate([rows for folds in pairs.values() for rows, _ in folds]), axis=0,
                                    return_inverse=True)
        statistics = aligner.align([(self.raw[hypothesis], self.raw[reference])
                                    for hypothesis, reference in distinct.tolist()])[place.reshape(-1)]
        estimates, first = {}, 0
        for name, folds in pairs.items():
            scored = []
            for (rows, owner), comparison in zip(folds, self.comparisons[name]):
                best = best_reference(statistics[first:first + len(rows)], owner, len(comparison.hypotheses))
                first += len(rows)
                per_unit = text_scores.average_over_units(comparison.hypothesis_unit, len(comparison.units)) @ best
                scored.append({"meteor": Estimate(meteor_score(self._weights(comparison) @ per_unit), len(per_unit))})
            estimates[name] = _average(scored)["meteor"]
        return estimates

    def _pair_up(self, comparison: Comparison) -> tuple[np.ndarray, np.ndarray]:
        """(P, 2) rows of hypothesis and reference, and (P,) the place of the hypothesis."""
        own = comparison.own_references
        owner = np.repeat(np.arange(len(own)), [len(rows) for rows in own])
        return np.stack([comparison.hypotheses[owner], np.concatenate(own)], axis=1), owner


def choose_constant(table: TextTable, candidates: Sequence[np.ndarray], references: np.ndarray,
                    reference_unit: np.ndarray) -> int:
    """The row of the table that scores best over units when it is written for each of them.

    Never chosen on the albums that it is scored on: the albums are dealt into two halves, and the story with the best
    corpus BLEU-4 over one half is what the other half is scored with. Candidates are the half's reference stories and
    what the system itself wrote for it, because a system's own most typical story is the strongest constant there is:
    it shows how much of a score needs no look at the photos.

    Args:
        candidates: groups of rows; each group is cut to its SHORTLIST most typical texts.
        references: (R,) rows. reference_unit: (R,) int, ascending, every unit of the half from 0 on.
    """
    typical = measure_typicality(table, references)
    shortlist = [row for group in candidates
                 for row in group[np.argsort(-typical[group], kind="stable")][:SHORTLIST].tolist()]
    if not shortlist:
        raise ValueError("constant story: expected at least one candidate with words, found none")
    most = [counts.tocsc() for counts in text_scores.count_most(table, references, reference_unit)]
    num_units = int(reference_unit[-1]) + 1
    counts = np.zeros((len(shortlist), 2 + 2 * MAX_ORDER))
    lengths = np.split(table.num_words[references], np.flatnonzero(np.diff(reference_unit)) + 1)
    closest: dict[int, int] = {}  # by a candidate's length: summed lengths of the references nearest to it
    for place, row in enumerate(shortlist):
        words = int(table.num_words[row])
        counts[place, 0] = words * num_units
        if words not in closest:
            closest[words] = sum(min((abs(length - words), length) for length in own.tolist())[1] for own in lengths)
        counts[place, 1] = closest[words]
        for order in range(MAX_ORDER):
            text = table.counts[order][[row]]
            counts[place, 2 + order] = max(0, words - order) * num_units
            counts[place, 2 + MAX_ORDER + order] = np.minimum(most[order][:, text.indices].toarray(), text.data).sum()
    return shortlist[int(np.argmax(text_scores.corpus_bleu(counts)[:, MAX_ORDER - 1]))]


def measure_typicality(table: TextTable, references: np.ndarray) -> np.ndarray:
    """(N,) float64: the mean cosine of every text of the table to the references, summed over 1- to 4-grams."""
    total = np.zeros(len(table))
    for counts in table.counts:
        norm = np.sqrt((counts * counts).sum(axis=1))
        inverse = np.divide(1, norm, out=np.zeros(len(table)), where=norm > 0)
        chosen = counts[references]
        centre = chosen.T @ inverse[references]
        total += (counts @ centre) * inverse
    return total / max(1, len(references))


def score_corpus(corpus: Corpus, meteor: bool = True, num_resamples: int = 1000, seed: int = 42,
                 redundant: bool = True, others: Mapping[str, Sequence[Sequence[str]]] | None = None
                 ) -> tuple[dict[str, dict[str, Estimate]], PublishedScorer, str | None]:
    """Score a corpus with everything that stands beside it; see `PublishedScorer`.

    Returns:
        The rows, the scorer (for its constants and notes), and why there is no METEOR, None where there is.
    """
    scorer = PublishedScorer(corpus, num_resamples, seed, redundant, others)
    if redundant:
        scorer.notes += scorer.note_redundancy()
    rows, reason = scorer.score(), None if meteor else "switched off"
    if meteor:
        try:
            for name, estimate in scorer.score_meteor().items():
                rows[name]["meteor"] = estimate
        except MeteorUnavailable as unavailable:
            reason = str(unavailable)
    return rows, scorer, reason


def _mean_known(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _average(folds: list[dict[str, Estimate]]) -> dict[str, Estimate]:
    return {metric: Estimate(np.mean([fold[metric].draws for fold in folds], axis=0), folds[0][metric].n)
            for metric in folds[0]}
