"""The embedded world: seeded stories with pictures, sentences and tags, and the best score anybody could reach on them.

world       the rules: who, where, what; how a day goes on
grammar     sentences with a known probability
sentences   what is said of a frame in a story, and of a picture seen alone
albums      a whole world, without pictures, from its configuration
picture     a scene drawn (canvas, indoors, outdoors, people, things)
generate    the world written in VIST's layout
oracle      how likely each next scene is, and the best possible predictions, from the configuration alone
"""
