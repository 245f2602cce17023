"""Batched greedy writing against a loop that writes one story at a time and reads the whole prefix for every word.

    python -m tests.benchmarks.writing [--captions 512] [--vocabulary 10000] [--alone 4]

The decoder has the paper's widths and random weights that never end a caption, so that both write 28 words each.
"""
import argparse
import time
from collections.abc import Sequence

import torch

from data.words.tokens import END, START
from tests.benchmarks.figures import Figure, report
from train.config import ModelConfig
from train.model.text import Context, TextDecoder
from train.writing.captions import FORBIDDEN, write_captions
from train.writing.config import WritingConfig

TARGET = 20.0


def write_naively(decoder: TextDecoder, context: Context, max_words: int) -> list[int]:
    """One caption, the prefix read again for every word."""
    words = [START]
    for _ in range(max_words):
        logits = decoder(context, torch.tensor([words]), torch.tensor([len(words)])).data[-1]
        logits[FORBIDDEN] = -torch.inf
        words.append(int(logits.argmax()))
        if words[-1] == END:
            break
    return words[1:]


@torch.inference_mode()
def measure(num_captions: int, vocabulary_size: int, num_naive: int) -> tuple[float, float]:
    """Captions a second, batched and one at a time; raises where the two write different words."""
    torch.manual_seed(0)
    decoder = TextDecoder(ModelConfig(), vocabulary_size).eval()
    decoder.vocabulary.bias[END] = -100
    context = Context(torch.randn(num_captions, 1024), torch.randn(num_captions, 128))
    config = WritingConfig(no_repeat_ngram=0, repetition_penalty=1.0)  # as the naive loop writes
    write_captions(decoder, context.select(slice(8)), config)
    started = time.perf_counter()
    written = write_captions(decoder, context, config)
    batched = (time.perf_counter() - started) / num_captions
    started = time.perf_counter()
    naive = [write_naively(decoder, context.select(slice(row, row + 1)), config.max_words)
             for row in range(num_naive)]
    alone = (time.perf_counter() - started) / num_naive
    assert naive == [caption.token_ids for caption in written[:num_naive]]
    return 1 / batched, 1 / alone


def main(argv: Sequence[str] | None = None) -> list[Figure]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=512)
    parser.add_argument("--vocabulary", type=int, default=10_000)
    parser.add_argument("--alone", type=int, default=4, help="captions that are also written one at a time")
    arguments = parser.parse_args(argv)
    batched, alone = measure(arguments.captions, arguments.vocabulary, arguments.alone)
    return report([Figure(name="writing captions, greedy", value=batched, unit="captions/s", ratio=batched / alone,
                          peer=f"one story at a time, prefix read again, {alone:.2f}", at_least=TARGET)])


if __name__ == "__main__":
    main()
