"""What a story says about its newest frame (SIS): a grammar for each situation.

A sentence depends on the scene, on what came before (the thing noticed at first, the room where the day began) and on the
story's voice, which stays the same for all five sentences.
"""
from collections.abc import Sequence
from functools import lru_cache

from data.storyworld.grammar import Grammar, Rules
from data.storyworld.phrases import (A_DAY, A_THING, ACT_PHRASES, BESIDE, FEELING, THE_PLACE, THE_THING, VEHICLE,
                                     WEATHER, WHEN, WHERE)
from data.storyworld.world import AIMS, HEROES, Scene

VOICES: tuple[tuple[str, float], ...] = (("third", 0.65), ("first", 0.35))
PRONOUNS = {"female": ("she", "her"), "male": ("he", "his"), "first": ("i", "my")}

SENTENCES: tuple[Rules, ...] = (
    (("{when} , {subject} {act} {where} .", 3), ("{subject} {act} {where} and {noticed} .", 3),
     ("{where} , {subject} {act} and {noticed} .", 2), ("it was {a_day} and {subject} {act} {where} .", 2),
     ("{subject} {act} {where} , {beside} .", 2), ("the story began {where} , where {subject} {act} {when} .", 1)),
    (("{then} {subject} {act} {where} and {found} .", 3), ("{where} {subject} {found} .", 2),
     ("{then} {subject} {act} {where} {weather} .", 2), ("{subject} {act} {where} , {beside} .", 2),
     ("after leaving {first_place} , {subject} {act} {where} .", 2),
     ("there was something to discover : {where} , {subject} {found} .", 1)),
    (("{subject} {act} {vehicle} {where} .", 3), ("{then} {subject} {act} {where} {weather} .", 2),
     ("with {second_thing} in {their} bag , {subject} {act} {vehicle} .", 2),
     ("{when} {subject} {act} {vehicle} , {beside} .", 2), ("{subject} {act} {where} and {feeling} .", 2),
     ("{subject} could not stop thinking of {second_thing} and {act} {where} .", 1)),
    (("{then} {subject} {act} {where} .", 2), ("{because} , {subject} {act} {where} .", 3),
     ("{where} {subject} {act} , {beside} .", 2), ("{subject} {act} {where} and {feeling} .", 2),
     ("{subject} {act} {where} {when} , {beside} .", 1), ("the first stop was a surprise : {subject} {act} {where} .", 1)),
    (("{at_last} {subject} {act} {where} .", 2), ("{ending} , {subject} {act} {where} .", 3),
     ("the day that began in {first_place} ended {where} , where {subject} {act} .", 2),
     ("{subject} {act} {where} and {feeling} .", 2), ("{when} {subject} {act} {where} , {beside} .", 2),
     ("what a day : {subject} {act} {where} .", 1)))

KEPT_SECOND: Rules = (("because of {second_thing}", 2), ("thanks to {second_thing}", 2),
                      ("to take care of {second_thing}", 2))
BROKEN_SECOND: Rules = (("instead of caring about {second_thing}", 2), ("{second_thing} had to wait , so for now", 2))
KEPT_FIRST: Rules = (("it had all begun with {first_thing} , and now", 2), ("with {first_thing} in mind", 2),
                     ("just as planned with {first_thing}", 2))
BROKEN_FIRST: Rules = (("nobody thought of {first_thing} anymore , and", 2),
                       ("{first_thing} was forgotten , and in the end", 2))
SHARED_SLOTS: dict[str, Rules] = {
    "then": (("then", 3), ("a little later", 2), ("after that", 2), ("soon", 2)),
    "at_last": (("at last", 3), ("finally", 3), ("in the end", 2)),
    "feeling": FEELING}


def write_prefix(scene: Scene, voice: str) -> str:
    """How the voice names the hero: "first", "female" or "male"."""
    return "first" if voice == "first" else HEROES[scene.hero].gender


def _subject(scene: Scene, voice: str) -> Rules:
    if voice == "first":
        return (("i", 1),)
    hero = HEROES[scene.hero]
    names = 4 if scene.stage == 0 else 2
    return ((f"[{hero.gender}]", names), (PRONOUNS[hero.gender][0], 5 - names),
            (f"the {hero.nouns[0]}", 0.5), (f"the {hero.nouns[1]}", 0.5))


def sentence_grammar(history: Sequence[Scene], voice: str) -> Grammar:
    """The sentences for the last scene of `history` (1 to 5 scenes from the story's start) in a voice."""
    scene, first = history[-1], history[0]
    second = history[1].aim if scene.stage in (2, 3) else None
    return _grammar(scene, voice, first.aim if scene.stage == 4 else None, second,
                    first.place if scene.stage in (1, 4) else None)


@lru_cache(maxsize=50_000)
def _grammar(scene: Scene, voice: str, first: int | None, second: int | None, first_place: str | None) -> Grammar:
    slots = {**SHARED_SLOTS, "sentence": SENTENCES[scene.stage], "subject": _subject(scene, voice),
             "their": ((PRONOUNS[write_prefix(scene, voice)][1], 1.0),), "act": ACT_PHRASES[scene.act],
             "where": WHERE[scene.place], "beside": BESIDE[scene.detail], "when": WHEN[scene.light],
             "weather": WEATHER[scene.weather], "a_day": A_DAY[scene.weather]}
    if scene.mode is not None:
        slots["vehicle"] = VEHICLE[scene.mode]
    if first_place is not None:
        slots["first_place"] = ((THE_PLACE[first_place], 1.0),)
    if second is not None:
        slots["second_thing"] = THE_THING[AIMS[second].thing]
        slots["because"] = KEPT_SECOND if scene.aim == second else BROKEN_SECOND
    if first is not None:
        slots["first_thing"] = THE_THING[AIMS[first].thing]
        slots["ending"] = KEPT_FIRST if scene.aim == first else BROKEN_FIRST
    if scene.stage < 2 and scene.aim is not None:
        slots["the_thing"], slots["a_thing"] = THE_THING[AIMS[scene.aim].thing], A_THING[AIMS[scene.aim].thing]
        slots["noticed"] = (("kept looking at {the_thing}", 2), ("could only think of {the_thing}", 2),
                            ("got {the_thing} ready", 2), ("made big plans", 2))
        slots["found"] = (("came across {a_thing}", 2), ("noticed {a_thing}", 2), ("discovered {a_thing}", 2),
                          ("made a surprising discovery", 4))
    return Grammar(slots, "sentence")


def natural_text(words: Sequence[str], scene: Scene) -> str:
    """The sentence as a person would type it: a name for [female], capitals, no blanks before punctuation."""
    name = HEROES[scene.hero].name
    text = " ".join({"i": "I", "[female]": name, "[male]": name}.get(word, word) for word in words)
    for mark in ".,:":
        text = text.replace(f" {mark}", mark)
    return text[0].upper() + text[1:]
