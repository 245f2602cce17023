"""What a story says about its newest frame (SIS), and what a picture shows to somebody who sees it alone (DII): a
grammar for each situation.

A sentence depends on the scene, on what came before (the thing noticed at first, the room where the day began)
and on the story's voice, which stays the same for all five sentences. A description is in present tense, with no names
and nothing of what came before.
"""
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

from data.storyworld import phrases
from data.storyworld.grammar import Grammar, Rules
from data.storyworld.world import AIMS, HEROES, Outlook, Scene

VOICES: tuple[tuple[str, float], ...] = (("third", 0.65), ("first", 0.35))
PRONOUNS = {"female": ("she", "her"), "male": ("he", "his"), "first": ("i", "my")}

SENTENCES: tuple[Rules, ...] = (
    (("{subject} {act} {where} .", 3), ("{when} , {subject} {act} {where} .", 2),
     ("{subject} {act} {where} and {noticed} .", 10), ("{where} , {subject} {noticed} .", 6),
     ("it was {a_day} and {subject} {act} {where} .", 2), ("{subject} {act} {where} , {beside} .", 2),
     ("{subject} {act} {beside} .", 1)),
    (("{subject} {act} {where} .", 3), ("{then} {subject} {found} {where} .", 9),
     ("{subject} {act} {where} and {found} .", 8), ("{then} {subject} {act} {weather} .", 2),
     ("{subject} {act} {where} , {beside} .", 2), ("after leaving {first_place} , {subject} {act} {where} .", 2)),
    (("{subject} {act} {vehicle} .", 3), ("{then} {subject} {act} {where} .", 3),
     ("{subject} {act} {vehicle} {where} .", 2), ("{subject} {act} {vehicle} {weather} .", 2),
     ("with {second_thing} in {their} bag , {subject} {act} {where} .", 2),
     ("{subject} {act} {where} , {beside} .", 2), ("{subject} thought of {second_thing} and {act} {where} .", 2)),
    (("{then} {subject} {act} {where} .", 3), ("{because} , {subject} {act} {where} .", 3),
     ("{subject} {act} {where} , {beside} .", 2), ("{subject} {act} {where} and {feeling} .", 2),
     ("{when} {subject} {act} {where} .", 2), ("what a surprise : {subject} {act} {where} .", 1)),
    (("{at_last} {subject} {act} {where} .", 9), ("{ending} {subject} {act} {where} .", 3),
     ("the day that began in {first_place} ended {where} .", 1), ("{subject} {act} {where} and {feeling} .", 2),
     ("{subject} {act} {where} , {beside} .", 2), ("{when} {subject} {act} {where} .", 2),
     ("what a day : {subject} {act} {where} .", 1)))

KEPT_SECOND: Rules = (("because of {second_thing}", 2), ("thanks to {second_thing}", 2),
                      ("to take care of {second_thing}", 2))
BROKEN_SECOND: Rules = (("instead of caring about {second_thing}", 2), ("{second_thing} had to wait and so", 2))
KEPT_FIRST: Rules = (("it began with {first_thing} and now", 2), ("with {first_thing} in mind ,", 2),
                     ("just as planned with {first_thing} ,", 2))
BROKEN_FIRST: Rules = (("nobody thought of {first_thing} and", 2), ("{first_thing} was forgotten and", 2))
NOTICED: Rules = (("kept looking at {the_thing}", 2), ("could only think of {the_thing}", 2),
                  ("got {the_thing} ready", 2), ("had big plans", 2))
FOUND: Rules = (("came across {a_thing}", 2), ("noticed {a_thing}", 2), ("discovered {a_thing}", 2),
                ("had a surprise", 2))
SHARED_SLOTS: dict[str, Rules] = {
    "then": (("then", 3), ("a little later", 2), ("after that", 2), ("soon", 2)),
    "at_last": (("at last", 6), ("finally", 2), ("in the end", 1)),
    "feeling": phrases.FEELING}

HAS_DESCRIPTIONS = 0.6                                                     # of all photos
NUM_DESCRIPTIONS: tuple[tuple[int, float], ...] = ((1, 0.3), (2, 0.5), (3, 0.2))    # where there are any

DOING = {"cooking": "cooking with a pan", "eating": "eating from a plate", "sleeping": "sleeping",
         "sitting": "sitting down", "dancing": "dancing", "standing": "standing", "smiling": "smiling",
         "talking": "talking", "walking": "walking", "running": "running", "jumping": "jumping", "reading": "reading",
         "writing": "writing on paper", "drinking": "drinking from a glass", "driving": "driving",
         "riding": "riding along"}
IN_PLACE = {"kitchen": "in a kitchen", "bedroom": "in a bedroom", "living_room": "in a living_room",
            "home": "outside a house", "store": "in a store", "garden": "in a garden", "street": "on a street",
            "park": "in the park", "city": "in a city", "school": "in a classroom", "hospital": "in a hospital",
            "beach": "at the beach", "office": "in an office", "restaurant": "in a restaurant",
            "forest": "in a forest"}
RIDDEN = {"car": "in a red car", "bicycle": "on a bicycle", "motorcycle": "on a motorcycle", "foot": "on foot"}
SEEN = {"cup": "a cup", "window": "a window", "table": "a table", "bed": "a bed", "cat": "a cat", "chair": "a chair",
        "door": "a door", "shelves": "some shelves", "building": "tall buildings", "tree": "a tree",
        "fountain": "a fountain", "bridge": "a bridge", "waves": "some waves", "stream": "a stream"}
MODE_TAGS = {"car": "car", "bicycle": "bicycle", "motorcycle": "motorcycle", "foot": ""}


def sentence_grammar(history: Sequence[Scene], voice: str) -> Grammar:
    """The sentences for the last scene of `history` (1 to 5 scenes from the story's start) in a voice."""
    return outlook_grammar(history[:-1], Outlook.of(history[-1]), voice)


def outlook_grammar(before: Sequence[Scene], outlook: Outlook, voice: str) -> Grammar:
    """The sentences for a scene that is still partly open, after the scenes `before`.

    Each open part is spoken of at most once in a sentence, so mixing its wordings is exact.
    """
    stage = outlook.stage
    return _grammar(outlook, voice, before[0].aim if stage == 4 else None, before[1].aim if stage in (2, 3) else None,
                    before[0].place if stage in (1, 4) else None)


@lru_cache(maxsize=50_000)
def _grammar(outlook: Outlook, voice: str, first: int | None, second: int | None, first_place: str | None) -> Grammar:
    speaker = "first" if voice == "first" else HEROES[outlook.hero].gender
    slots = {**SHARED_SLOTS, "sentence": SENTENCES[outlook.stage], "subject": _subject(outlook, voice),
             "their": ((PRONOUNS[speaker][1], 1.0),), "act": _mix(phrases.ACT_PHRASES, outlook.acts),
             "where": phrases.WHERE[outlook.place], "beside": _mix(phrases.BESIDE, outlook.details),
             "when": _mix(phrases.WHEN, outlook.lights),
             "weather": phrases.WEATHER[outlook.weather], "a_day": phrases.A_DAY[outlook.weather]}
    if outlook.mode is not None:
        slots["vehicle"] = phrases.VEHICLE[outlook.mode]
    if first_place is not None:
        slots["first_place"] = ((phrases.THE_PLACE[first_place], 1.0),)
    if second is not None:
        slots["second_thing"] = phrases.THE_THING[AIMS[second].thing]
        slots["because"] = KEPT_SECOND if outlook.aim == second else BROKEN_SECOND
    if first is not None:
        slots["first_thing"] = phrases.THE_THING[AIMS[first].thing]
        slots["ending"] = KEPT_FIRST if outlook.aim == first else BROKEN_FIRST
    if outlook.stage < 2 and outlook.aim is not None:
        thing = AIMS[outlook.aim].thing
        slots.update(the_thing=phrases.THE_THING[thing], a_thing=phrases.A_THING[thing], noticed=NOTICED, found=FOUND)
    return Grammar(slots, "sentence")


def _subject(outlook: Outlook, voice: str) -> Rules:
    if voice == "first":
        return (("i", 1),)
    hero = HEROES[outlook.hero]
    names = 4 if outlook.stage == 0 else 2
    return ((f"[{hero.gender}]", names), (PRONOUNS[hero.gender][0], 5 - names),
            (f"the {hero.nouns[0]}", 0.5), (f"the {hero.nouns[1]}", 0.5))


def _mix(wordings: Mapping[Any, Rules], chances: tuple[tuple[Any, float], ...]) -> Rules:
    """The wordings of what is still open, each weighted by how likely it is."""
    if len(chances) == 1:
        return wordings[chances[0][0]]
    return tuple((template, chance * weight / sum(weight for _, weight in wordings[value]))
                 for value, chance in chances for template, weight in wordings[value])


@lru_cache(maxsize=50_000)
def description_grammar(scene: Scene) -> Grammar:
    """All that the photo shows: person and act always, the thing nearly always, place and detail often."""
    noun, other = HEROES[scene.hero].nouns
    slots: dict[str, Rules] = {
        "who": ((f"a {noun}", 3), (f"the {other}", 2)), "doing": ((DOING[scene.act], 1),),
        "place": ((IN_PLACE[scene.place], 1),), "seen": ((SEEN[scene.detail], 1),)}
    if scene.stage < 2 and scene.aim is not None:
        slots["thing"] = phrases.A_THING[AIMS[scene.aim].thing]
        slots["sentence"] = (("{who} is {doing} {place} next to {thing} .", 4),
                             ("{thing} and {who} {doing} {place} .", 3),
                             ("{who} with {thing} and {seen} in the background .", 2),
                             ("{thing} close up , {place} .", 2),
                             ("{who} {doing} {place} .", 1))
    elif scene.mode is not None:
        slots["ridden"] = ((RIDDEN[scene.mode], 1),)
        slots["sentence"] = (("{who} is {doing} {ridden} {place} .", 4), ("{who} {ridden} near {seen} .", 3),
                             ("a view of {who} {doing} {place} with {seen} .", 2))
    else:
        slots["sentence"] = (("{who} is {doing} {place} .", 4), ("{who} {doing} {place} with {seen} in view .", 3),
                             ("{seen} and {who} {place} .", 2))
    return Grammar(slots, "sentence")


def redundant_grammar(scene: Scene, allowed: AbstractSet[str]) -> Grammar:
    """Exactly those of the scene's tags that are in `allowed`, and none else."""
    who = f"a {HEROES[scene.hero].nouns[0]}" if "person" in allowed else "somebody"
    doing = DOING[scene.act] if scene.act in allowed else "to be seen"
    parts = [IN_PLACE[scene.place] if scene.place in allowed else "in a picture"]
    if scene.mode is not None and MODE_TAGS[scene.mode] in allowed:
        parts.append(RIDDEN[scene.mode])
    if scene.stage < 2 and scene.aim is not None and AIMS[scene.aim].thing in allowed:
        parts.append("next to {thing}")
    if scene.detail in allowed:
        parts.append(f"near {SEEN[scene.detail]}")
    slots: dict[str, Rules] = {"sentence": ((" ".join([who, "is", doing, *parts, "."]), 3),
                                            (" ".join(["here", who, "is", doing, *parts, "."]), 2))}
    if scene.stage < 2 and scene.aim is not None:
        slots["thing"] = phrases.A_THING[AIMS[scene.aim].thing]
    return Grammar(slots, "sentence")


def natural_text(words: Sequence[str], scene: Scene) -> str:
    """The sentence as a person would type it: a name for [female], capitals, no blanks before punctuation."""
    name = HEROES[scene.hero].name
    text = " ".join({"i": "I", "[female]": name, "[male]": name}.get(word, word) for word in words)
    for mark in ".,:":
        text = text.replace(f" {mark}", mark)
    return text[0].upper() + text[1:]
