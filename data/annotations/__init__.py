"""The annotation format: records of VIST and of every dataset like it, and the stories that they make."""
