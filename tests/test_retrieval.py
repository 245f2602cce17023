"""Ranks by hand and by brute force: ties, duplicates, a story's own inputs, pools, blocks."""
from types import SimpleNamespace

import numpy as np
import pytest

from data.folder.folder import Features
from data.folder.mapped import MappedRows
from evaluate.photos import retrieval
from evaluate.photos.pools import album_pools, draw_candidates, draw_pools
from evaluate.photos.retrieval import TiedRanks, normalise, pool_ranks, rank_candidates
from evaluate.split import Candidates, find_candidates

NONE = np.full((1, 1), -1)


def rank(query, candidates, target, excluded=(), **settings):
    candidates = np.asarray(candidates, np.float32)
    return rank_candidates(np.asarray([query], np.float32), lambda rows: candidates[rows], len(candidates),
                           np.array([target]), np.array([[*excluded]]) if excluded else NONE, **settings)


CANDIDATES = [[1, 0], [0.8, 0.6], [0.8, 0.6], [0.6, 0.8], [0, 1]]


def test_rank_by_hand():
    assert rank([1, 0], CANDIDATES, 0).ranks.mean[0] == 1
    assert rank([1, 0], CANDIDATES, 3).ranks.mean[0] == 4
    assert rank([0, 1], CANDIDATES, 0).ranks.mean[0] == 5


def test_ties_share_their_mean_rank():
    assert rank([1, 0], CANDIDATES, 1).ranks.mean[0] == rank([1, 0], CANDIDATES, 2).ranks.mean[0] == 2.5
    assert rank([0, 0], CANDIDATES, 0).ranks.mean[0] == 3.0  # a query without direction: everything ties


def test_ties_are_an_expectation_over_every_order():
    ranks = TiedRanks(np.array([1.0, 3.0, 2.0, np.nan]), np.array([3, 0, 4, 0]))
    places = [[1, 2, 3, 4], [3], [2, 3, 4, 5, 6]]  # where each target may come, equally often
    for k in (1, 2, 5, 10):
        assert ranks.recall(k)[:3] == pytest.approx([np.mean(np.array(of) <= k) for of in places])
    assert ranks.reciprocal()[:3] == pytest.approx([np.mean(1 / np.array(of)) for of in places])
    assert ranks.mean[:3].tolist() == [np.mean(of) for of in places]
    assert all(np.isnan(values[3]) for values in (ranks.recall(1), ranks.reciprocal(), ranks.mean))


def test_own_inputs_do_not_compete():
    assert rank([1, 0], CANDIDATES, 3, excluded=(0, 1, 1)).ranks.mean[0] == 2
    assert rank([1, 0], CANDIDATES, 3, excluded=(0, 1, -1, 2)).ranks.mean[0] == 1
    assert rank([1, 0], CANDIDATES, 3, excluded=(4,)).ranks.mean[0] == 4  # one that was worse anyway
    assert rank([1, 0], CANDIDATES, 0, excluded=(4, 0), top=3).top.tolist() == [[1, 2, 3]]


def test_a_target_that_is_an_input_or_missing_has_no_rank():
    assert np.isnan(rank([1, 0], CANDIDATES, 0, excluded=(0,)).ranks.mean[0])
    missing = rank([1, 0], CANDIDATES, -1, top=2)
    assert np.isnan(missing.ranks.mean[0]) and missing.top.tolist() == [[0, 1]]


def test_fewer_candidates_than_wanted_are_padded():
    assert rank([1, 0], CANDIDATES[:2], 0, top=3).top.tolist() == [[0, 1, -1]]


@pytest.mark.parametrize("block, query_block", [(4, 3), (7, 50), (100, 1)])
def test_blocks_change_nothing(monkeypatch, block, query_block):
    monkeypatch.setattr(retrieval, "BLOCK", block)
    monkeypatch.setattr(retrieval, "QUERY_BLOCK", query_block)
    random = np.random.default_rng(0)
    candidates = normalise(random.standard_normal((60, 8)).astype(np.float32))
    candidates[41] = candidates[7]
    queries = normalise(random.standard_normal((20, 8)).astype(np.float32))
    target, excluded = random.integers(-1, 60, 20), random.integers(-1, 60, (20, 4))
    pairs = random.integers(0, 20, 90), random.integers(0, 60, 90)
    found = rank_candidates(queries, lambda rows: candidates[rows], 60, target, excluded, pairs)
    similarity = queries @ candidates.T
    np.testing.assert_allclose(found.pair_similarity, similarity[pairs], atol=1e-6)
    for index in range(20):
        rest = [other for other in range(60) if other not in excluded[index]]
        assert found.top[index].tolist() == sorted(rest, key=lambda other: -similarity[index, other])[:5]
        if target[index] < 0 or target[index] in excluded[index]:
            assert np.isnan(found.ranks.mean[index])
            continue
        gap = similarity[index, rest] - similarity[index, target[index]]
        assert found.ranks.mean[index] == 1 + (gap > 1e-6).sum() + ((np.abs(gap) <= 1e-6).sum() - 1) / 2


def test_pool_rank_by_hand():
    ranks = pool_ranks(np.array([0.5, 0.5]), np.array([0.9, 0.5, 0.1, 0.2]), np.array([0, 0, 0, 1]))
    assert ranks.mean.tolist() == [2.5, 1.0]


def fake_features(contents, usable=None):
    content = np.zeros((len(contents), 32), np.uint8)
    content[:, 0] = contents
    return SimpleNamespace(num_photos=len(contents), content=MappedRows([content]),
                           usable=np.ones(len(contents), bool) if usable is None else np.array(usable))


def test_equal_contents_are_one_candidate_and_bad_photos_none():
    features = fake_features([9, 4, 4, 7, 5, 1], [True, True, True, False, True, True])
    found = find_candidates(features, np.array([[0, 1, 2, 3, 4]]))
    assert found.rows.tolist() == [0, 1, 4] and found.of_photo.tolist() == [0, 1, 1, -1, 2, -1]


def test_album_pool_has_no_own_inputs_and_three_members_at_least():
    candidate = np.array([[0, 1, 2, 3, 4], [0, 1, 5, 6, 7], [8, 9, 10, 11, 12], [8, 9, 10, 11, -1]])
    pools = album_pools(["a", "a", "b", "b"], candidate, t=4)
    assert pools.candidate[pools.query == 0].tolist() == [5, 6, 7]
    assert pools.candidate[pools.query == 1].tolist() == [2, 3, 4]
    assert pools.size.tolist() == [4, 4, 0, 0]  # album b: nothing but inputs and the target, then no target
    early = album_pools(["b", "b"], candidate[2:], t=2)
    assert early.candidate[early.query == 0].tolist() == [11, 12] and early.size.tolist() == [3, 3]


def test_distractors_are_distinct_seeded_and_neither_input_nor_target():
    candidate = np.arange(20).reshape(4, 5)
    candidate[3] = candidate[2]
    pools = draw_pools(20, candidate, t=4, num_distractors=9, seed=1)
    assert pools.size.tolist() == [10] * 4
    for query in range(4):
        members = pools.candidate[pools.query == query].tolist()
        assert len(set(members)) == 9 and not set(members) & set(candidate[query].tolist())
    assert pools.candidate[pools.query == 2].tolist() == pools.candidate[pools.query == 3].tolist()
    again, other = (draw_pools(20, candidate, 4, 9, seed) for seed in (1, 2))
    assert again.candidate.tolist() == pools.candidate.tolist() != other.candidate.tolist()
    assert not draw_pools(20, candidate, 4, 16, 1).size.any()  # only 15 others


def test_candidates_of_a_real_folder(make_features):
    features = Features.open(make_features(bad_photos=(1,)))
    photo = features.words().split("train").photo.all()
    candidates = find_candidates(features, photo)
    assert len(candidates) == len(np.unique(photo)) - 1 and candidates.of_photo[1] == -1


def test_chance_draws_any_candidate_but_the_inputs():
    candidate = np.tile(np.array([[0, 1, 2, 3, 4], [0, 1, 2, 3, -1]]), (300, 1))
    candidates = Candidates(np.arange(10, 16), np.zeros(0, np.int64))
    drawn = draw_candidates(candidates, candidate, 4, seed=1)
    assert set(drawn.tolist()) == {14, 15} and 250 < (drawn == 14).sum() < 350  # the target among them
    assert drawn.tolist() == draw_candidates(candidates, candidate, 4, seed=1).tolist()
    assert draw_candidates(Candidates(np.arange(4), np.zeros(0)), candidate[:1], 4, 1).tolist() == [-1]


def test_nothing_to_rank_among():
    found = rank_candidates(np.ones((2, 3), np.float32), lambda rows: np.zeros((len(rows), 3), np.float32), 0,
                            np.full(2, -1), np.full((2, 1), -1), top=3)
    assert np.isnan(found.ranks.mean).all() and (found.top == -1).all()
