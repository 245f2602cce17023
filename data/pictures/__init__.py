"""Photos by id, their pixels, and random changes of these."""
