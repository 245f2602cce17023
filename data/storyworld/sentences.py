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

from data.storyworld.grammar import WORDING, Grammar, Rules
from data.storyworld.world import AIMS, HEROES, Outlook, Scene

VOICES: tuple[tuple[str, float], ...] = (("third", 0.65), ("first", 0.35))
PRONOUNS = {"female": ("she", "her"), "male": ("he", "his"), "first": ("i", "my")}

HAS_DESCRIPTIONS = 0.6                                                     # of all photos
NUM_DESCRIPTIONS: tuple[tuple[int, float], ...] = ((1, 0.3), (2, 0.5), (3, 0.2))    # where there are any
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
    slots = {**WORDING["slots"], "sentence": WORDING["sentence"][outlook.stage], "subject": _subject(outlook, voice),
             "their": ((PRONOUNS[speaker][1], 1.0),), "act": _mix(WORDING["act"], outlook.acts),
             "where": WORDING["where"][outlook.place], "beside": _mix(WORDING["beside"], outlook.details),
             "when": _mix(WORDING["when"], outlook.lights),
             "weather": WORDING["weather"][outlook.weather], "a_day": WORDING["a_day"][outlook.weather]}
    if outlook.mode is not None:
        slots["vehicle"] = WORDING["vehicle"][outlook.mode]
    if first_place is not None:
        slots["first_place"] = ((WORDING["the_place"][first_place], 1.0),)
    if second is not None:
        slots["second_thing"] = WORDING["the_thing"][AIMS[second].thing]
        slots["because"] = WORDING["because"]["kept" if outlook.aim == second else "broken"]
    if first is not None:
        slots["first_thing"] = WORDING["the_thing"][AIMS[first].thing]
        slots["ending"] = WORDING["ending"]["kept" if outlook.aim == first else "broken"]
    if outlook.stage < 2 and outlook.aim is not None:
        thing = AIMS[outlook.aim].thing
        slots.update(the_thing=WORDING["the_thing"][thing], a_thing=WORDING["a_thing"][thing])
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
        "who": ((f"a {noun}", 3), (f"the {other}", 2)), "doing": ((WORDING["doing"][scene.act], 1),),
        "place": ((WORDING["in_place"][scene.place], 1),), "seen": ((WORDING["seen"][scene.detail], 1),)}
    if scene.stage < 2 and scene.aim is not None:
        slots["thing"] = WORDING["a_thing"][AIMS[scene.aim].thing]
        slots["sentence"] = (("{who} is {doing} {place} next to {thing} .", 4),
                             ("{thing} and {who} {doing} {place} .", 3),
                             ("{who} with {thing} and {seen} in the background .", 2),
                             ("{thing} close up , {place} .", 2),
                             ("{who} {doing} {place} .", 1))
    elif scene.mode is not None:
        slots["ridden"] = ((WORDING["ridden"][scene.mode], 1),)
        slots["sentence"] = (("{who} is {doing} {ridden} {place} .", 4), ("{who} {ridden} near {seen} .", 3),
                             ("a view of {who} {doing} {place} with {seen} .", 2))
    else:
        slots["sentence"] = (("{who} is {doing} {place} .", 4), ("{who} {doing} {place} with {seen} in view .", 3),
                             ("{seen} and {who} {place} .", 2))
    return Grammar(slots, "sentence")


def redundant_grammar(scene: Scene, allowed: AbstractSet[str]) -> Grammar:
    """Exactly those of the scene's tags that are in `allowed`, and none else."""
    who = f"a {HEROES[scene.hero].nouns[0]}" if "person" in allowed else "somebody"
    doing = WORDING["doing"][scene.act] if scene.act in allowed else "to be seen"
    parts = [WORDING["in_place"][scene.place] if scene.place in allowed else "in a picture"]
    if scene.mode is not None and MODE_TAGS[scene.mode] in allowed:
        parts.append(WORDING["ridden"][scene.mode])
    if scene.stage < 2 and scene.aim is not None and AIMS[scene.aim].thing in allowed:
        parts.append("next to {thing}")
    if scene.detail in allowed:
        parts.append("near " + WORDING["seen"][scene.detail])
    slots: dict[str, Rules] = {"sentence": ((" ".join([who, "is", doing, *parts, "."]), 3),
                                            (" ".join(["here", who, "is", doing, *parts, "."]), 2))}
    if scene.stage < 2 and scene.aim is not None:
        slots["thing"] = WORDING["a_thing"][AIMS[scene.aim].thing]
    return Grammar(slots, "sentence")


def natural_text(words: Sequence[str], scene: Scene) -> str:
    """The sentence as a person would type it: a name for [female], capitals, no blanks before punctuation."""
    name = HEROES[scene.hero].name
    text = " ".join({"i": "I", "[female]": name, "[male]": name}.get(word, word) for word in words)
    for mark in ".,:":
        text = text.replace(f" {mark}", mark)
    return text[0].upper() + text[1:]
