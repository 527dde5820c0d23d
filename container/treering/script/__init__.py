"""A user's own program in the place of the built-in job: found, laid out, run on every rank, its end told."""
