"""The table of contents that were looked at."""
import hashlib

from extract.pipeline.contents import ContentIndex


def content(number):
    return hashlib.sha256(str(number).encode()).digest()


def test_a_content_is_found_where_it_was_first_noted_also_after_growing():
    index = ContentIndex()
    for number in range(1000):
        assert index.find(content(number)) is None
        index.add(content(number), number // 7, number % 7)
    index.add(content(3), 99, 99)
    assert len(index) == 1000
    assert all(index.find(content(number)) == (number // 7, number % 7) for number in range(1000))
    assert index.find(content(1000)) is None


def test_contents_that_begin_alike_are_told_apart():
    index = ContentIndex()
    alike = [bytes(8) + bytes([number]) * 24 for number in range(1, 50)]
    for number, name in enumerate(alike):
        index.add(name, number, 0)
    assert [index.find(name) for name in alike] == [(number, 0) for number in range(49)]
    assert index.find(bytes(32)) is None
