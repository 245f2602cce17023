"""Is a features folder, to the bit, what was written?"""
