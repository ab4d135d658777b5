"""The deterministic carrier: a seed to calls, their callbacks, and the figures that must come of them."""
