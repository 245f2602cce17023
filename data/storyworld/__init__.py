"""The embedded world: seeded stories with pictures, sentences and tags, and the best score anybody could reach on them.

world       the rules: who, where, what; how a day goes on; future: how likely each next scene is
grammar     sentences with a known probability
sentences   what a story says about a frame (words: phrases); descriptions: what a picture shows, seen alone
albums      a whole world, without pictures, from its configuration
picture     a scene drawn (canvas, indoors, outdoors, people, acts, things, vehicles); stored: as a file
annotations, generate   the world written in VIST's layout
oracle      the best possible predictions, from the configuration alone
"""
