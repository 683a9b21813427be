"""The network's size; known without JAX."""

WIDTH = 64
TAPS = 3
DILATIONS = (1, 2, 4, 8, 16, 32, 64)
# The frames that a frame hears to each side.
CONTEXT_FRAMES = 1 + sum(DILATIONS)
NORM_EPSILON = 1e-5
