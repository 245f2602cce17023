"""What a picture shows to somebody who sees it alone (DII): present tense, no names, nothing of what came before."""
from collections.abc import Set as AbstractSet
from functools import lru_cache

from data.storyworld.grammar import Grammar, Rules
from data.storyworld.phrases import A_THING
from data.storyworld.world import AIMS, HEROES, Scene

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


@lru_cache(maxsize=50_000)
def description_grammar(scene: Scene) -> Grammar:
    """All that the photo shows: person and act always, the thing nearly always, place and detail often."""
    noun, other = HEROES[scene.hero].nouns
    slots: dict[str, Rules] = {
        "who": ((f"a {noun}", 3), (f"the {other}", 2)), "doing": ((DOING[scene.act], 1),),
        "place": ((IN_PLACE[scene.place], 1),), "seen": ((SEEN[scene.detail], 1),)}
    if scene.stage < 2 and scene.aim is not None:
        slots["thing"] = A_THING[AIMS[scene.aim].thing]
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
        slots["thing"] = A_THING[AIMS[scene.aim].thing]
    return Grammar(slots, "sentence")
