"""What people look at: the report page of a run, and the blind sheet for human judges."""
