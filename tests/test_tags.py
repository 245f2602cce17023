"""Tags: the sentences that must come out right, alone and in batches."""
import json
import time

import numpy as np
import pytest

from data.words.tags import TagTable
from data.words.tokens import split_words

NAMES = ("<PAD> <UNK> person dog cat car table chair cup bottle tree building phone laptop book bed window door plant "
         "bicycle motorcycle walking running sitting standing eating drinking reading writing talking smiling jumping "
         "sleeping cooking driving dancing kitchen bedroom living_room office street park restaurant beach forest city "
         "home school hospital store garden").split()

# Our own sentences: at least one that has the tag and, where forms are treacherous, one that only looks like it.
SENTENCES = """
    the mothers and their babies waved . | person
    mother 's day was lovely . |
    my grandfather clock is broken . |
    oh man , that was close . |
    man , it was cold . |
    the old man laughed . | person
    they had to man the grill . |
    the snow man melted . |
    a baby elephant hid behind its mom . | person
    she held the baby . | person
    everyone had fun and he cheered . |
    the puppies barked at us . | dog
    we bought a corn dog . |
    a hot-dog is my favorite . |
    the dog days of summer are here . |
    two kittens played . | cat
    a cat nap helped . |
    she watched the cat in the hat . |
    taxis lined up . | car
    the cable car was full . |
    we left it in the car park . |
    the ferris wheel car was scary . |
    the tables were set with flowers . | table
    they played table tennis . |
    a pinch of salt , a table spoon of oil . |
    the dining table is oak . | table
    he pulled up a stool . | chair
    we rode the chair lift up . |
    the kids played musical chairs . | person
    my mug is blue . | cup
    the stanley cup was there . |
    it was not my cup of tea . |
    a cup cake with sprinkles . |
    two bottles of water . | bottle
    they lit a bottle rocket . |
    we sat under the palm trees . | tree sitting
    we drew our family tree . |
    the tree house is high . |
    the tall building is new . | building
    they are building a fort . |
    building a fire takes time . |
    we love building legos . |
    skyscrapers filled the skyline . | building
    the building was old . | building
    a team building day . |
    he took out his cell phone . | phone
    we passed a phone booth . |
    she asked for his phone number . |
    a macbook on the desk . | laptop
    she booked a flight . |
    we had to book a hotel . |
    books covered the floor . | book
    he books a room every year . |
    we joined a book club . |
    the bed was soft . | bed
    the river bed was dry . |
    we stayed at a bed and breakfast . |
    a bed of roses . |
    he opened the windows . | window
    a window of opportunity . |
    we went window shopping . |
    the front door was locked . | door
    our next door neighbors came . |
    we plant flowers in spring . |
    potted plants hung there . | plant
    we toured the power plants . |
    she plants tomatoes every year . |
    president bush waved . |
    the kids rode bikes . | person bicycle
    he got on the exercise bike . |
    a moped zoomed by . | motorcycle
    they were strolling along . | walking
    the side walk was icy . |
    people from all walks of life . | person
    she jogs every morning . | running
    we ran into an old friend . | person
    they were running late . |
    he hit a home run . |
    he ran for office . |
    kids ran into the water . | person running
    the faucet had running water . |
    she runs a small shop . | store
    i sit by the fire . | sitting
    she had to baby sit . |
    the sitting room was cosy . | living_room
    we stood in line . | standing
    i ca n't stand it . |
    there was a lemonade stand . |
    the band stands out . |
    he gave a standing ovation . |
    they will stand together . | standing
    we had a great dinner . | eating
    she decided to have some lunch . | eating
    dinner was at six . |
    the dining hall was full . |
    she ate a sandwich . | eating
    they had a chance to see the lunch room . |
    he sipped his tea . | drinking
    the drinking fountain was broken . |
    a cold drink on a hot day . |
    food and drinks were served . |
    we had a few drinks . | drinking
    they like to drink water . | drinking
    the sign reads welcome . |
    he reads the news . | reading
    her reading glasses broke . |
    she writes every day . | writing
    the writing on the wall was red . |
    they chatted for hours . | talking
    so to speak , it was over . |
    it speaks for itself . |
    he had a big grin . | smiling
    she leaped over the puddle . | jumping
    a leap year is rare . |
    the baby is napping . | person sleeping
    sleeping beauty is her favorite . |
    we baked cookies . | cooking
    the baked beans were good . |
    she is a good cook . |
    they prepared the food . | cooking
    they prepared for the race . |
    mom is preparing a big meal . | person cooking
    we drove all day . | driving
    there was a food drive . |
    my hard drive crashed . |
    the kids drive me crazy . | person
    a long drive through the mountains . | driving
    we danced all night . | dancing
    the dance floor was empty . |
    the soup kitchen was busy . |
    the kitchen smelled good . | kitchen
    their bed room is blue . | bedroom
    we relaxed in the family room . | living_room
    the box office was closed . |
    his office is messy . | office
    we crossed the road . | street
    a road trip with friends . | person
    wall street was crowded . |
    there were cars on the road . | car street
    the playground was packed . | park
    it felt like jurassic park . |
    he parks in the shade . |
    a park ranger spoke to us . | talking
    the café was cosy . | restaurant
    we met at a coffee shop . | restaurant
    beaches are my favorite . | beach
    we threw a beach ball . |
    we hiked in the woods . | forest
    the jungle gym was fun . |
    my neck of the woods . |
    downtown was busy . | city
    city hall is old . |
    we painted the town red . |
    our new apartment is tiny . | home
    they took the dog home . | dog
    she finally got home . |
    he took her home . |
    a haunted house scared us . |
    it is a place to call home . | home
    we rushed back home . |
    the gingerbread house was cute . |
    our house is home to many cats . | cat home
    his college is far away . | school
    the school bus came . |
    an old school tune . |
    the clinic was closed . | hospital
    a golf clinic for beginners . |
    the supermarket was open . | store
    we stopped to shop for gifts . |
    they set up shop in may . |
    who knows what is in store ? |
    we store it in the attic . |
    the botanical gardens bloomed . | garden
    we drank in a beer garden . | drinking
    raised beds of lettuce . | garden
    [male] and [female] 's dogs slept . | person dog sleeping
    he didn't talk . | talking
    let 's park here . |
    he wanted to book it . |
    a bus drove by . | driving
    the leaves turned red . |
    the couch was comfy . |
    [female] read to [male] . | person reading
    they were n't sitting on the chairs . | chair sitting
    a welcome home party . | home
    the mothers ' bikes . | person bicycle
    shops lined the street . | street store
    parks and gardens everywhere . | park garden
    the office building is tall . | building office
    books , plants and chairs . | chair book plant
    to plant or not to plant . |
    he stands guard . | standing
    the cooks were busy . |
    we will cook tonight . | cooking
    he was drunk . | drinking
    stand by the door . | door standing
"""


@pytest.fixture(scope="module")
def table():
    return TagTable.load()


def names_of(table, text, tokenised=True):
    return {table.names[column] for column in table.tags_of(split_words(text, tokenised))}


def list_sentences():
    for line in SENTENCES.strip().splitlines():
        text, _, tags = line.partition("|")
        yield pytest.param(text.strip(), set(tags.split()), id=text.strip())


def test_the_columns_are_the_contracts(table):
    assert table.names == NAMES and len(table) == 51
    assert list(table.categories) == NAMES[2:]
    assert [table.categories[name] for name in ("motorcycle", "walking", "dancing", "kitchen")] == [
        "object", "action", "action", "location"]


def test_every_golden_sentence_comes_out_right(table, golden):
    cases = json.loads((golden / "tags.json").read_text())["cases"]
    assert len(cases) > 50
    wrong = {case["text"]: names_of(table, case["text"]) for case in cases
             if names_of(table, case["text"]) != set(case["tags"])}
    assert wrong == {}


@pytest.mark.parametrize("text, tags", list(list_sentences()))
def test_our_own_sentences_come_out_right(table, text, tags):
    assert names_of(table, text) == tags


def test_our_own_sentences_have_every_tag():
    assert set().union(*(sentence.values[1] for sentence in list_sentences())) == set(NAMES[2:])


@pytest.mark.parametrize("text, tags", [
    ("They park near the beach.", {"beach"}), ("[Male]'s dog isn't asleep.", {"person", "dog", "sleeping"}),
    ("We ate hot-dogs in the living-room!", {"eating", "living_room"}), ("Mother\u2019s Day", set()),
    ("We couldn\u2019t stand it.", set()), ("the caf\u00e9", {"restaurant"}), ("the cafe\u0301", {"restaurant"}),
    ("CARS, bikes\u2014and TREES", {"car", "bicycle", "tree"}), ("", set()), ("\U0001f600 \u4f60\u597d", set())])
def test_untokenised_text_finds_the_same_tags(table, text, tags):
    assert names_of(table, text, tokenised=False) == tags


def test_a_batch_is_each_caption_alone(table):
    captions = [text.split() for text in ("they ate hot", "dogs barked .", "", "the world", "cup was full .", "we park",
                                          "the car .")]
    tags = table.tags_of_many(captions)
    assert tags.shape == (7, 51) and tags.dtype == np.uint8
    assert [set(np.flatnonzero(row)) for row in tags] == [table.tags_of(words) for words in captions]
    assert [{NAMES[column] for column in np.flatnonzero(row)} for row in tags] == [
        {"eating"}, {"dog"}, set(), set(), {"cup"}, set(), {"car"}]


def test_batches_of_any_size_agree(table):
    sentences = [sentence.values[0].split() for sentence in list_sentences()]
    many = table.tags_of_many(sentences * 12)           # more than one batch
    one = np.concatenate([table.tags_of_many([words]) for words in sentences])
    assert len(many) > 1024
    np.testing.assert_array_equal(many, np.tile(one, (12, 1)))
    assert not many[:, :2].any()                        # <PAD> and <UNK> are nobody's forms


def test_twenty_thousand_captions_a_second_on_one_core(table):
    captions = [sentence.values[0].split() * 2 for sentence in list_sentences()] * 50
    table.tags_of_many(captions[:2000])
    started = time.process_time()
    table.tags_of_many(captions)
    assert len(captions) / (time.process_time() - started) > 20_000
