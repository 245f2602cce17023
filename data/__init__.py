"""Stories, words, tags, photos and the format of the features folder: imports none of the later stages."""
