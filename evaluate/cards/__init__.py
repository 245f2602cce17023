"""A run as one JSON card, or as a tar to evaluate elsewhere: what two people need for one table."""
