"""How every test runs: hypothesis explores at random here, and repeats itself under `--hypothesis-profile=ci`."""

from hypothesis import settings

settings.register_profile("dev", deadline=None)
# The same examples on every run, so that a red build is red again; no deadline, because shared machines stall.
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=300, print_blob=True)
settings.load_profile("dev")
