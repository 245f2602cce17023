"""The wording of this world: what acts, places, things, weather and hours are called, with weights.

Only words whose tags are plain (`grammar.TAG_OF`): "in front of the house", never "went home".
"""
from data.storyworld.grammar import Rules

ACT_PHRASES: dict[str, Rules] = {
    "cooking": (("cooked a big breakfast", 8), ("baked a cake", 2), ("was cooking", 2), ("tried out a new recipe", 2)),
    "eating": (("ate something delicious", 8), ("was eating slowly", 2), ("ate some pasta", 2),
               ("enjoyed a good meal", 2)),
    "sleeping": (("slept very well", 8), ("was still asleep", 2), ("took a long nap", 2), ("did not wake up", 2)),
    "sitting": (("sat down", 8), ("was sitting quietly", 2), ("sat and listened", 2), ("rested for a moment", 2)),
    "dancing": (("danced happily", 8), ("was dancing wildly", 2), ("danced all alone", 2), ("moved to the music", 2)),
    "standing": (("stood there for a moment", 8), ("was standing around", 2), ("stood and waited", 2),
                 ("looked around", 2)),
    "smiling": (("smiled a lot", 8), ("was smiling", 2), ("grinned at the camera", 2), ("was in a good mood", 2)),
    "talking": (("talked with a friend", 8), ("chatted a little", 2), ("was talking for hours", 2),
                ("had a lot to say", 2)),
    "walking": (("walked slowly", 8), ("was walking along", 2), ("went for a stroll", 2), ("took it easy on foot", 2)),
    "running": (("ran fast", 8), ("was running fast", 2), ("jogged quickly", 2), ("was in a great hurry", 2)),
    "jumping": (("jumped for joy", 8), ("was jumping around", 2), ("leaped into the air", 2),
                ("could not keep still", 2)),
    "reading": (("read for hours", 8), ("was reading quietly", 2), ("read two chapters", 2), ("studied hard", 2)),
    "writing": (("wrote a long letter", 8), ("was writing busily", 2), ("wrote a whole page", 2),
                ("worked very hard", 2)),
    "drinking": (("drank something cold", 8), ("was drinking lemonade", 2), ("sipped a sweet juice", 2),
                 ("enjoyed some lemonade", 2)),
    "driving": (("drove along", 8), ("was driving carefully", 2), ("drove fast", 2), ("went for a ride", 2)),
    "riding": (("rode along", 8), ("was pedaling hard", 2), ("rode very fast", 2), ("went for a ride", 2)),
}

WHERE: dict[str, Rules] = {
    "kitchen": (("in the kitchen", 10), ("in the warm kitchen", 2), ("by the hot stove", 2)),
    "bedroom": (("in the bedroom", 10), ("in the cozy bedroom", 2), ("under the blue blanket", 2)),
    "living_room": (("in the living_room", 10), ("in the big living_room", 2), ("by the orange sofa", 2)),
    "home": (("in front of the house", 10), ("outside the pretty house", 2), ("on the front steps", 2)),
    "store": (("at the store", 10), ("in the supermarket", 2), ("among all the groceries", 2)),
    "garden": (("in the garden", 10), ("in the blooming garden", 2), ("among the flowers", 2)),
    "street": (("on the street", 10), ("along the quiet road", 2), ("past the old lamps", 1)),
    "park": (("in the park", 10), ("through the green park", 2), ("across the lawn", 2)),
    "city": (("in the city", 10), ("through the loud city", 2), ("right through downtown", 2)),
    "school": (("at the school", 10), ("in the old classroom", 2), ("in front of the blackboard", 2)),
    "hospital": (("at the hospital", 10), ("in the bright clinic", 2), ("next to the patients", 2)),
    "beach": (("at the beach", 10), ("on the wide beach", 2), ("on the warm sand", 2)),
    "office": (("at the office", 10), ("in the busy office", 2), ("on the top floor", 1)),
    "restaurant": (("at the restaurant", 10), ("in a little restaurant", 2), ("under the red lanterns", 2)),
    "forest": (("in the forest", 10), ("deep in the woods", 2), ("between mossy rocks", 2)),
}

VEHICLE: dict[str, Rules] = {
    "car": (("in the red car", 3), ("in the little car", 2), ("with the radio on", 2)),
    "bicycle": (("on the bicycle", 3), ("on the old bike", 2), ("on two wheels", 2)),
    "motorcycle": (("on the motorcycle", 3), ("on a loud motorbike", 2), ("with a helmet on", 2)),
    "foot": (("all the way", 3), ("in good shoes", 2), ("without a map", 2)),
}

BESIDE: dict[str, Rules] = {
    "cup": (("with a cup of tea", 3), ("with a mug in reach", 2)),
    "window": (("right by the window", 3), ("close to the window", 2)),
    "table": (("next to the long table", 3), ("near a wooden table", 2)),
    "bed": (("next to the soft bed", 3), ("beside the bed", 2)),
    "cat": (("while the cat watched", 3), ("with a cat around", 2)),
    "chair": (("beside a yellow chair", 3), ("near the empty chair", 2)),
    "door": (("by the red door", 3), ("close to the door", 2)),
    "shelves": (("between the full shelves", 3), ("in front of endless shelves", 2)),
    "building": (("surrounded by tall buildings", 3), ("below the skyscrapers", 2)),
    "tree": (("near a big tree", 3), ("in the shade of a tree", 2)),
    "fountain": (("close to the fountain", 3), ("by the splashing fountain", 2)),
    "bridge": (("not far from the bridge", 3), ("near the stone bridge", 2)),
    "waves": (("while the waves rolled in", 3), ("with salt in the air", 2)),
    "stream": (("along a little stream", 3), ("by the cold stream", 2)),
}

THE_THING: dict[str, Rules] = {
    "book": (("the old novel", 3), ("the storybook", 2)), "plant": (("the little fern", 3), ("the cactus", 2)),
    "bottle": (("the green bottle", 3), ("the bottle", 2)), "laptop": (("the new laptop", 3), ("the laptop", 2)),
    "phone": (("the pink phone", 3), ("the cellphone", 2)), "dog": (("the dog", 3), ("the puppy", 2))}
A_THING: dict[str, Rules] = {
    "book": (("an old novel", 3), ("a storybook", 2)), "plant": (("a little fern", 3), ("a cactus", 2)),
    "bottle": (("a green bottle", 3), ("a strange bottle", 2)), "laptop": (("a new laptop", 3), ("a lost laptop", 2)),
    "phone": (("a pink phone", 3), ("a lost cellphone", 2)), "dog": (("a lonely dog", 3), ("a cute puppy", 2))}

THE_PLACE = {"kitchen": "the kitchen", "bedroom": "the bedroom", "living_room": "the living_room", "home": "the house"}

WHEN: dict[int, Rules] = {
    0: (("early in the morning", 3), ("this morning", 2), ("right after sunrise", 1)),
    1: (("around noon", 3), ("in the middle of the day", 2), ("at lunch time", 1)),
    2: (("in the evening", 3), ("as the sun went down", 2), ("late in the day", 1))}

WEATHER: dict[str, Rules] = {
    "sunny": (("under a bright blue sky", 2), ("in the warm sunshine", 2)),
    "cloudy": (("under grey clouds", 2), ("on a cloudy day", 2)),
    "rainy": (("in the pouring rain", 2), ("on a rainy day", 2)),
    "snowy": (("while the snow was falling", 2), ("on a snowy day", 2))}
A_DAY: dict[str, Rules] = {
    "sunny": (("a beautiful sunny day", 3), ("a bright day", 2)), "cloudy": (("a cloudy day", 3), ("a grey day", 2)),
    "rainy": (("a rainy day", 3), ("a wet and windy day", 2)), "snowy": (("a snowy day", 3), ("a cold winter day", 2))}

FEELING: Rules = (("felt very happy", 3), ("enjoyed every minute", 3), ("had a lot of fun", 3),
                  ("felt a little tired", 2), ("could not believe it", 2), ("laughed out loud", 2))
