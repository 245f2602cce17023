"""What carries on from the frames seen: photos, tags, words; and how much of the image decoder's own part is used."""
import numpy as np
import pytest
import torch

from data.words.tokens import END, PAD, START
from tests.tiny_runs import TINY
from train.config import ModelConfig, make_config
from train.model.carry import RECENCY, PhotoCarry, TagCarry, blend_photos, measure_likeness
from train.model.copying import WordCopier
from train.model.query import FLOOR, PhotoQuery
from train.model.story_model import StoryModel
from train.run_folder.runs import load_run, write_weights
from train.session import run_training
from train.share import DecoderShare, rank_following
from train.summary import print_summary


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_blend_is_a_mean_by_recency_over_the_photos_that_are_there():
    photos = draw(1, 4, 6)
    photos[:, 1] = 0
    expected = (RECENCY ** 3 * photos[0, 0] + RECENCY * photos[0, 2] + photos[0, 3]) / (RECENCY ** 3 + RECENCY + 1)
    torch.testing.assert_close(blend_photos(photos)[0, 3], expected)
    torch.testing.assert_close(blend_photos(photos)[0, 1], photos[0, 0])
    assert not blend_photos(torch.zeros(1, 4, 6)).any()


def test_likeness_is_the_mean_cosine_of_the_pairs_seen():
    photos = draw(2, 4, 6)
    photos[1, 2] = 0
    cosine = torch.nn.functional.cosine_similarity
    likeness = measure_likeness(photos)
    pairs = [cosine(photos[0, i], photos[0, j], dim=0) for i in range(3) for j in range(i)]
    assert likeness[0, 0] == 0 and likeness[0, 2].item() == pytest.approx(torch.stack(pairs).mean().item(), rel=1e-5)
    assert likeness[1, 2].item() == pytest.approx(cosine(photos[1, 0], photos[1, 1], dim=0).item(), rel=1e-5)


def test_least_squares_find_the_scales_that_made_the_photos():
    photos = draw(300, 4, 8)
    photos[:, 1] = photos[:, 0] * torch.linspace(-1, 2, 300)[:, None]  # likeness differs between stories
    true = PhotoCarry(4)
    true.scale.uniform_(0.2, 0.9)
    true.likeness_scale.uniform_(-0.5, 0.5)
    with torch.no_grad():
        following = true(photos)
    found = PhotoCarry(4)
    is_photo = torch.ones(300, 4, dtype=torch.bool)
    found.fit(iter([(photos[:100], following[:100], is_photo[:100]), (photos[100:], following[100:], is_photo[100:])]))
    torch.testing.assert_close(found.scale[1:], true.scale[1:], atol=0.02, rtol=0)
    torch.testing.assert_close(found(photos), following, atol=0.05, rtol=0)


def test_tags_carry_on_from_the_last_frame_and_from_all():
    carry = TagCarry(2)
    carry.last_weight.data, carry.mean_weight.data = torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0])
    tags = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    assert carry(tags).tolist() == [[[11.0, 0.0], [10.0, 12.0]]]


def test_a_copied_word_is_a_mixture_and_nothing_seen_changes_nothing():
    torch.manual_seed(0)
    copier, embedding = WordCopier(5, 3, 2), torch.nn.Embedding(10, 3, padding_idx=PAD)
    memory = torch.tensor([[[START, 4, 5, 4, END], [START, 6, END, PAD, PAD]], [[PAD] * 5] * 2])
    states, logits, rows = draw(2, 5), draw(2, 10, seed=1), torch.tensor([0, 1])
    keys, scores = copier.read(memory, embedding)
    mixed = copier.mix(states, logits, keys, scores, memory, rows, torch.zeros(2, dtype=torch.long), 1).exp()
    torch.testing.assert_close(mixed.sum(dim=-1), torch.ones(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed[1], logits[1].softmax(dim=-1))
    gate = copier.gate(states[0]).sigmoid()
    asked = (copier.query(states[0]) @ keys[0].T / 8 + scores[0]).softmax(dim=-1)  # 8 = sqrt(COPY_DIM)
    plain = (1 - gate) * logits[0].softmax(dim=-1)
    for word, places in {4: [1, 3], 5: [2], 6: [6], 7: []}.items():
        assert mixed[0, word].item() == pytest.approx((plain[word] + gate * asked[places].sum()).item(), rel=1e-4)


def test_the_photo_that_follows_is_ranked_among_those_not_seen():
    photos = torch.eye(4).repeat(1, 1)[None].repeat(2, 1, 1)[:, [0, 1, 2]]
    photos[1] = torch.tensor([[0.0, 0, 0, 1], [1.0, 1, 0, 0], [0.0, 1, 1, 0]])
    rows, nothing = torch.tensor([[0, 1, 2], [3, 4, 5]]), (torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    predicted = photos[:, 1:].clone()
    present = torch.ones(2, 3, dtype=torch.bool)
    assert rank_following(predicted, photos, present, rows, *nothing).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    # nearer to (1, 1, 0, 0) of the other story; its own input is out
    predicted[0, 0] = torch.tensor([1.0, 0.5, 0.0, 0.0])
    assert rank_following(predicted, photos, present, rows, *nothing)[0].tolist() == [2.0, 1.0]
    present[1, 1] = False
    assert rank_following(predicted, photos, present, rows, *nothing)[0, 0] == 1.0
    # two of a pool are nearer, one of them the story's own input; a copy of the true photo is no other
    pool = torch.stack([predicted[0, 0], photos[0, 0], photos[0, 1]]), torch.tensor([9, 0, 1])
    assert rank_following(predicted, photos, present, rows, *pool)[0, 0] == 2.0


@pytest.mark.parametrize("helps, share", [(True, 1.0), (False, 0.0)])
def test_the_decoder_s_own_part_is_used_where_it_ranks_better_beyond_doubt(helps, share):
    model = StoryModel(ModelConfig(embedding_dim=4, text_dim=4, fusion_dim=8, hidden_dim=8, attention_heads=2,
                                   tag_head_dim=4, tag_embedding_dim=4, image_decoder_dim=8, decoder_dim=8,
                                   photo_carry=True), 16, 9, 5)
    photos = draw(40, 5, 16)
    batch = {"image_features": photos, "photo_mask": torch.ones(40, 5, dtype=torch.bool),
             "content": torch.arange(200).view(40, 5)}
    carried = photos[:, 1:] * 0.3 + draw(40, 4, 16, seed=1) * 0.7
    added = photos[:, 1:] * 0.5 if helps else draw(40, 4, 16, seed=2) * 0.1 + 0.3
    chooser = DecoderShare(model, batch)
    chooser.add({"carried_features": carried, "added_features": added}, batch)
    chosen, is_weakened, scores = chooser.choose()
    assert chosen == share and not is_weakened
    expected = (carried + share * added - photos[:, 1:]).square().mean().item()
    assert scores["image"] == pytest.approx(expected, rel=1e-5)


def test_a_query_weakens_what_photos_vary_in_as_the_inverse_covariance_does():
    photos = draw(300, 6).numpy() * np.array([9.0, 5, 1, 1, 1, 1])
    covariance = photos.T @ photos / 300
    query, predicted = PhotoQuery(6), draw(4, 6, seed=1)
    query.fit(covariance)
    assert torch.equal(query(predicted), predicted)  # unless val says so
    query.is_used.fill_(1)
    mean = np.trace(covariance) / 6
    expected = np.linalg.solve(covariance / mean + FLOOR * np.eye(6), predicted.numpy().T).T * FLOOR
    torch.testing.assert_close(query(predicted), torch.from_numpy(expected).float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("misled, is_weakened", [(True, True), (False, False)])
def test_a_query_is_weakened_where_that_ranks_the_photos_of_val_better(misled, is_weakened):
    model = StoryModel(ModelConfig(embedding_dim=4, text_dim=4, fusion_dim=8, hidden_dim=8, attention_heads=2,
                                   tag_head_dim=4, tag_embedding_dim=4, image_decoder_dim=8, decoder_dim=8,
                                   photo_carry=True, photo_query=True), 16, 9, 5)
    photos = draw(40, 5, 16)
    photos[..., 0] *= 20  # the one direction in which they differ
    covariance = photos.flatten(0, 1).double().T @ photos.flatten(0, 1).double() / 200
    model.photo_query.fit(covariance.numpy())
    batch = {"image_features": photos, "photo_mask": torch.ones(40, 5, dtype=torch.bool),
             "content": torch.arange(200).view(40, 5)}
    carried = photos[:, 1:].clone()
    if misled:  # what it is surest of is wrong
        carried[..., 0] = draw(40, 4, seed=3) * 20
    else:
        carried[..., 1:] = draw(40, 4, 15, seed=3) * 5
    chooser = DecoderShare(model, batch)
    chooser.add({"carried_features": carried, "added_features": torch.zeros_like(carried)}, batch)
    assert chooser.choose()[1] == is_weakened


@pytest.mark.parametrize("share, is_told", [(0.0, True), (1.0, False)])
def test_a_photo_head_that_carries_alone_is_told(make_features, tmp_path, capsys, share, is_told):
    features = make_features()
    run = run_training(make_config({**TINY, "epochs": 1, "device": "cpu"}), features, tmp_path / "run")
    loaded = load_run(run)
    loaded.model.photo_carry.decoder_share.fill_(share)
    write_weights(run / "best.safetensors", loaded.model, loaded.epoch)
    print_summary(run, features)
    assert ("what the decoder adds does not hold on val" in capsys.readouterr().out) == is_told


@pytest.mark.parametrize("task", ["next", "tell"])
def test_the_probe_of_a_photo_speaks_ahead_only_where_the_photo_is_seen(task):
    config = make_config({**TINY, "tag_probe": True, "task": task, "preset": "paper"})
    torch.manual_seed(0)
    model = StoryModel(config, 6, 12, 7).eval()
    batch = {"image_features": torch.randn(2, 5, 6), "photo_mask": torch.ones(2, 5, dtype=torch.bool),
             "token_ids": torch.zeros(2, 5, 9, dtype=torch.int64), "tag_targets": torch.zeros(2, 5, 7)}
    batch["photo_mask"][0, 3] = False
    with torch.no_grad():
        before = model.encode(batch)
        model.seen_probe.weight[4, 2] = 3.0
        after = model.encode(batch)
    moved = {kind: (after[f"{kind}_logits"] - before[f"{kind}_logits"])[..., 4] for kind in ("seen", "next")}
    of_photo = 3 * batch["image_features"][..., 2] * batch["photo_mask"]
    torch.testing.assert_close(moved["seen"], of_photo)
    torch.testing.assert_close(moved["next"], of_photo if task == "tell" else torch.zeros(2, 4))
