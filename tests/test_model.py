"""The model: causality, padding, and free writing that agrees with the teacher-forced pass."""
import numpy as np
import pytest
import torch

from data.words.tokens import END, PAD, START, UNK
from train.config import ModelConfig
from train.model.ngrams import NgramModel
from train.model.story_model import StoryModel
from train.model.text import Context
from train.writing.config import WritingConfig
from train.writing.stories import write_stories

WIDTHS = dict(embedding_dim=6, text_dim=5, fusion_dim=8, hidden_dim=8, attention_heads=2, tag_head_dim=7,
              tag_embedding_dim=3, image_decoder_dim=9, decoder_dim=8)
D, V, G, E = 11, 13, 9, 7


EVERYTHING = dict(photo_carry=True, photo_query=True, tag_carry=True, tag_probe=True, word_copying=True, reads_on=True,
                  ngram_blend=True, text_features="beside")
INSTEAD = dict(text_features="instead")


def make_model(**settings) -> StoryModel:
    """A model of random weights, those that begin at zero too."""
    torch.manual_seed(0)
    model = StoryModel(ModelConfig(**{**WIDTHS, **settings}), D, V, G, text_feature_dim=E).eval()
    for value in [*model.parameters(), *(model.photo_carry.buffers() if model.photo_carry else []),
                  *(model.photo_query.buffers() if model.photo_query else [])]:
        if not value.any():
            torch.nn.init.normal_(value, std=0.3)
    if model.text_decoder.ngrams is not None:
        captions = make_batch()["token_ids"].flatten(0, 1).numpy()
        model.text_decoder.ngrams.fill(NgramModel.fit(captions, captions, 3, V))
        model.text_decoder.ngram_share.fill_(0.4)
    return model


def make_batch(lengths=((4, 6, 3, 5, 4), (7, 3, 3, 4, 6)), seed=1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    token_ids = torch.zeros(len(lengths), 5, 8, dtype=torch.int64)
    for story, story_lengths in enumerate(lengths):
        for frame, length in enumerate(story_lengths):
            words = torch.randint(4, V, (length - 2,), generator=generator)
            token_ids[story, frame, :length] = torch.tensor([START, *words.tolist(), END])
    return {"image_features": torch.randn(len(lengths), 5, D, generator=generator).half(),
            "photo_mask": torch.ones(len(lengths), 5, dtype=torch.bool), "token_ids": token_ids,
            "text_features": torch.randn(len(lengths), 5, E, generator=generator).half(),
            "tag_targets": torch.randint(0, 2, (len(lengths), 5, G), generator=generator).float()}


def test_shapes_of_everything_the_model_says():
    outputs = make_model()(make_batch())
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "hidden": (2, 4, 8), "seen_logits": (2, 5, G),
        "next_logits": (2, 4, G), "tag_embedding": (2, 4, 3), "predicted_features": (2, 4, D),
        "query_features": (2, 4, D),
        "caption_logits": (2, 4, 7, V)}


def test_the_paper_preset_is_the_documented_table():
    model = StoryModel(ModelConfig(), 2048, 10_000, 51)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert shapes["text_encoder.embedding.weight"] == (10_000, 300)
    assert shapes["text_encoder.lstm.weight_hh_l1_reverse"] == (4 * 512, 512)
    assert shapes["fusion.first.weight"] == (1024, 3072) and shapes["fusion.second.weight"] == (1024, 1024)
    assert shapes["sequence.weight_ih_l1"] == (4 * 1024, 1024)
    assert shapes["seen_head.0.weight"] == shapes["next_head.0.weight"] == (512, 1024)
    assert shapes["seen_head.3.weight"] == shapes["next_head.3.weight"] == (51, 512)
    assert shapes["tag_embedding"] == (51, 128)
    assert [shapes[f"image_decoder.{layer}.weight"] for layer in (0, 3, 6)] == [
        (2048, 1152), (2048, 2048), (2048, 2048)]
    assert shapes["text_decoder.lstm.weight_ih_l0"] == (4 * 1024, 300 + 1024 + 128)
    assert shapes["text_decoder.vocabulary.weight"] == (10_000, 1024)


def overwrite_from(batch, frame, seed=7):
    """Other content of equal caption length from `frame` on."""
    other = make_batch(seed=seed)
    changed = {name: value.clone() for name, value in batch.items()}
    for name in ("image_features", "token_ids", "tag_targets", "text_features"):
        changed[name][:, frame:] = other[name][:, frame:]
    return changed


@pytest.mark.parametrize("settings", [{}, EVERYTHING, INSTEAD])
@pytest.mark.parametrize("frame", [1, 2, 3, 4])
def test_a_frame_never_reaches_the_predictions_before_it(frame, settings):
    model, batch = make_model(**settings), make_batch()
    with torch.no_grad():
        before, after = model(batch), model(overwrite_from(batch, frame))
    for name in ("hidden", "next_logits", "tag_embedding", "predicted_features", "query_features"):
        assert torch.equal(before[name][:, :frame], after[name][:, :frame]), name
    assert torch.equal(before["caption_logits"][:, :frame, 0], after["caption_logits"][:, :frame, 0])
    if frame < 4:
        assert not torch.equal(before["hidden"][:, frame], after["hidden"][:, frame])


@pytest.mark.parametrize("settings", [{}, {"text_features": "beside"}, INSTEAD])
def test_the_seen_head_never_reads_a_caption(settings):
    model, batch = make_model(**settings), make_batch()
    other = {**batch, **{name: make_batch(seed=9)[name] for name in ("token_ids", "text_features")}}
    with torch.no_grad():
        assert torch.equal(model.encode(batch)["seen_logits"], model.encode(other)["seen_logits"])


@pytest.mark.parametrize("settings", [{}, EVERYTHING])
def test_a_photo_that_is_masked_changes_nothing(settings):
    model, batch = make_model(**settings), make_batch()
    batch["photo_mask"][:, 2] = False
    other = {**batch, "image_features": batch["image_features"].clone()}
    other["image_features"][:, 2] = 5
    with torch.no_grad():
        for name, value in model(batch).items():
            assert torch.equal(value, model(other)[name]), name


@pytest.mark.parametrize("settings", [{}, EVERYTHING])
def test_padding_changes_nothing(settings):
    model, batch = make_model(**settings), make_batch()
    longer = {**batch, "token_ids": torch.nn.functional.pad(batch["token_ids"], (0, 6), value=PAD)}
    with torch.no_grad():
        outputs, padded = model(batch), model(longer)
    assert torch.equal(outputs["hidden"], padded["hidden"])
    torch.testing.assert_close(outputs["caption_logits"], padded["caption_logits"][:, :, :7], atol=1e-6, rtol=1e-6)
    assert not padded["caption_logits"][:, :, 7:].any()


@pytest.mark.parametrize("settings", [{}, {"word_attention": True}, EVERYTHING, INSTEAD])
def test_a_batch_gives_what_single_stories_give(settings):
    model, batch = make_model(**settings), make_batch()
    with torch.no_grad():
        together = model(batch)
        for story in range(2):
            alone = model({name: value[story:story + 1] for name, value in batch.items()})
            for name, value in alone.items():
                torch.testing.assert_close(value[0], together[name][story], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, EVERYTHING])
def test_words_one_by_one_score_as_in_the_teacher_forced_pass(settings):
    model, batch = make_model(**settings), make_batch()
    with torch.no_grad():
        outputs = model(batch)
        state = model.text_decoder.start(Context.of(outputs).flatten())
        token_ids = batch["token_ids"][:, 1:].flatten(0, 1)
        for position in range(token_ids.shape[1] - 1):
            logits, state = model.text_decoder.step(token_ids[:, position], state)
            real = token_ids[:, position + 1] != PAD
            expected = outputs["caption_logits"].flatten(0, 1)[:, position]
            torch.testing.assert_close(logits[real], expected[real], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("settings", [{}, EVERYTHING])
def test_rows_of_a_decoder_state_can_be_selected(settings):
    model = make_model(**settings)
    with torch.no_grad():
        outputs = model.encode(make_batch())
        state = model.text_decoder.start(Context.of(outputs).select((slice(None), 0)))
        _, state = model.text_decoder.step(torch.tensor([START, START]), state)
        words = torch.tensor([5, 6])
        straight, _ = model.text_decoder.step(words, state)
        crossed, _ = model.text_decoder.step(words.flip(0), state.select(torch.tensor([1, 0])))
    torch.testing.assert_close(crossed.flip(0), straight)


def test_the_real_tokens_alone_have_the_same_logits_as_the_rectangle():
    model, batch = make_model(), make_batch()
    with torch.no_grad():
        padded, packed = model(batch), model(batch, padded=False)
    real = batch["token_ids"][:, 1:, 1:] != PAD
    assert packed["token_targets"].tolist() != [] and int(real.sum()) == len(packed["token_targets"])
    loss = torch.nn.functional.cross_entropy(packed["token_logits"], packed["token_targets"], reduction="sum")
    expected = torch.nn.functional.cross_entropy(padded["caption_logits"][real], batch["token_ids"][:, 1:, 1:][real],
                                                 reduction="sum")
    torch.testing.assert_close(loss, expected)


def test_the_tag_embedding_is_a_mean_over_the_tags_that_count_and_lets_gradients_through():
    model, batch = make_model(), make_batch()
    outputs = model.encode(batch)
    probs = outputs["next_logits"].sigmoid()[..., 2:]
    expected = (probs @ model.tag_embedding[2:]) / probs.sum(-1, keepdim=True)
    torch.testing.assert_close(outputs["tag_embedding"], expected)
    outputs["tag_embedding"].sum().backward()
    assert model.next_head[3].weight.grad is not None and model.next_head[3].weight.grad[2:].abs().sum() > 0


@pytest.mark.parametrize("how", ["off", "beside", "instead"])
def test_which_of_a_captions_words_and_vector_is_read(how):
    model, batch, other = make_model(text_features=how), make_batch(), make_batch(seed=5)
    with torch.no_grad():
        before = model.encode(batch)["hidden"]
        for name, is_read in (("token_ids", how != "instead"), ("text_features", how != "off")):
            assert torch.equal(before, model.encode({**batch, name: other[name]})["hidden"]) != is_read, name


def test_vectors_are_read_standardised():
    model, batch = make_model(**INSTEAD), make_batch()
    with torch.no_grad():
        expected = model.encode(batch)["hidden"]
        model.text_vectors.set_statistics(torch.full((E,), 2.0), torch.full((E,), 4.0))
        scaled = {**batch, "text_features": batch["text_features"].float() * 4 + 2}
        torch.testing.assert_close(model.encode(scaled)["hidden"], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("how", ["beside", "instead"])
def test_the_vector_of_a_caption_that_is_withheld_is_not_read(how):
    model, batch = make_model(text_features=how), make_batch()
    batch["token_ids"][:, 1] = PAD
    other = {**batch, "text_features": batch["text_features"].clone()}
    other["text_features"][:, 1] += 3
    with torch.no_grad():
        assert torch.equal(model.encode(batch)["hidden"], model.encode(other)["hidden"])
        withheld = {**batch, "token_ids": torch.zeros_like(batch["token_ids"])}
        silent = make_model(text_features=how, use_text=False)
        assert torch.equal(model.encode(withheld)["hidden"], silent.encode(batch)["hidden"])


def test_statistics_stand_in_the_weights_and_are_undone():
    model = make_model()
    model.set_statistics(torch.arange(D).float(), torch.full((D,), 2.0))
    features = torch.randn(3, D)
    torch.testing.assert_close(model.unstandardise(model.standardise(features)), features)
    torch.testing.assert_close(model.standardise(torch.arange(D).half()), torch.zeros(D))
    assert {"feature_mean", "feature_std"} <= set(model.state_dict())


@pytest.mark.parametrize("switch, read", [("use_text", "token_ids"), ("use_photos", "image_features")])
def test_what_is_switched_off_is_not_read(switch, read):
    model, batch = make_model(**{switch: False}), make_batch()
    other = {**batch, read: make_batch(seed=5)[read]}
    with torch.no_grad():
        assert torch.equal(model.encode(batch)["hidden"], model.encode(other)["hidden"])
        full = make_model()
        assert not torch.equal(full.encode(batch)["hidden"], full.encode(other)["hidden"])


@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["plain", "everything"])
def test_telling_reads_every_photo_and_the_captions_before(settings):
    """Sentence t never reaches what is said of photo t, but for the words it is made of."""
    model, batch = make_model(task="tell", **settings), make_batch()
    with torch.no_grad():
        before = model(batch)
        for frame in range(5):
            token_ids = batch["token_ids"].clone()
            token_ids[:, frame, 1:3] = (token_ids[:, frame, 1:3] - 3) % (V - 4) + 4
            after = model({**batch, "token_ids": token_ids})
            said, then = before["caption_logits"], after["caption_logits"]
            assert torch.equal(said[:, :frame], then[:, :frame]) and torch.equal(said[:, frame, 0], then[:, frame, 0])
            assert torch.equal(before["next_logits"], after["next_logits"])
            if settings and frame < 4:
                assert not torch.equal(said[:, frame + 1:, 0], then[:, frame + 1:, 0]), "earlier captions are read"


def test_telling_reads_every_photo_and_no_caption_into_its_state():
    model, batch = make_model(task="tell"), make_batch()
    with torch.no_grad():
        outputs = model(batch)
        later_photo = {**batch, "image_features": batch["image_features"].clone()}
        later_photo["image_features"][:, 4] += 1
        assert outputs["caption_logits"].shape[:2] == (2, 5)
        assert not torch.equal(model.encode(later_photo)["hidden"][:, 0], outputs["hidden"][:, 0])
        other_words = {**batch, "token_ids": make_batch(seed=3)["token_ids"]}
        assert torch.equal(model.encode(other_words)["hidden"], outputs["hidden"])


@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("method", ["greedy", "sample"])
def test_a_story_is_written_as_the_teacher_forced_pass_reads_it(settings, method):
    """Each word is as likely as it is after the model's own sentences before; what the batch tells plays no part.
    Sampled sentences differ, so that their order counts."""
    model, batch = make_model(task="tell", **settings), make_batch()
    writing = WritingConfig(method=method, no_repeat_ngram=0, repetition_penalty=1.0, no_repeat_across=0, max_words=6)
    with torch.no_grad():
        context, keys = Context.of(model.encode(batch)), np.arange(10).reshape(2, 5)
        stories = write_stories(model.text_decoder, context, writing, keys)
        token_ids = torch.zeros(2, 5, 8, dtype=torch.int64)
        for row, story in enumerate(stories):
            for place, sentence in enumerate(story):
                token_ids[row, place, :len(sentence.token_ids) + 2] = torch.tensor([START, *sentence.token_ids, END])
        logits = model({**batch, "token_ids": token_ids})["caption_logits"]
    log_probs = logits.log_softmax(dim=-1)
    logits[..., [PAD, START, UNK]] = -torch.inf
    for row, story in enumerate(stories):
        for place, sentence in enumerate(story):
            words = [*sentence.token_ids, *([END] if sentence.ended else [])]
            if method == "greedy":
                assert logits[row, place].argmax(dim=-1)[:len(words)].tolist() == words
            told = log_probs[row, place, range(len(words)), words].sum().item()
            assert sentence.log_prob == pytest.approx(told, abs=1e-4)


@pytest.mark.parametrize("method", [dict(), dict(method="beam"), dict(method="sample", top_p=0.9, temperature=0.3)],
                         ids=["greedy", "beam", "nucleus"])
def test_a_story_never_says_four_words_twice_in_two_sentences(method):
    model, batch = make_model(task="tell", **EVERYTHING), make_batch()
    context = Context.of(model.encode(batch))

    def list_grams(size):
        writing = WritingConfig(no_repeat_ngram=0, repetition_penalty=1.0, no_repeat_across=size, max_words=12,
                                min_words=8, **method)
        for story in write_stories(model.text_decoder, context, writing, np.arange(10).reshape(2, 5)):
            yield [{tuple(words[i:i + 4]) for i in range(len(words) - 3)} for words in (one.token_ids for one in story)]
    for story in list_grams(4):
        assert not any(story[i] & story[j] for i in range(5) for j in range(i))
    assert any(story[i] & story[j] for story in list_grams(0) for i in range(5) for j in range(i)), "nothing to avoid"
