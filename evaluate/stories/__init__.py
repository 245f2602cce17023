"""Stories as wholes: the published protocol, the sense of order, whether photo, words and tags agree."""
