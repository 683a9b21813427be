"""The network: dilated convolutions with residuals over frames, one score per type and frame.

A frame hears 2.56 s to each side. Outside of a file every layer sees zeros, in training as in the exported graph.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from services.detection.features import FEATURE_COUNT
from services.inference.training.material import Floats
from services.inference.training.shape import DILATIONS, NORM_EPSILON, TAPS, WIDTH

Array: TypeAlias = jax.Array
Layer: TypeAlias = Mapping[str, Array]
Weights: TypeAlias = Mapping[str, Layer]


def new_weights(priors: Floats, seed: int) -> dict[str, dict[str, Array]]:
    """Fresh weights. priors: (types,) share of the frames that have each type, where the scores start."""
    random = np.random.default_rng(seed)
    weights = {"input": _convolution(random, FEATURE_COUNT, WIDTH)}
    for index in range(len(DILATIONS)):
        weights[f"block_{index}"] = {**_convolution(random, WIDTH, WIDTH), "scale": jnp.ones(WIDTH)}
    head = random.normal(0.0, WIDTH**-0.5, (WIDTH, len(priors))) * 0.1
    weights["head"] = {"scale": jnp.ones(WIDTH), "weight": _floats(head), "bias": _floats(np.log(priors / (1 - priors)))}
    return weights


def _convolution(random: np.random.Generator, inputs: int, outputs: int) -> dict[str, Array]:
    spread = np.sqrt(2.0 / (TAPS * inputs))
    return {"weight": _floats(random.normal(0.0, spread, (TAPS, inputs, outputs))), "bias": jnp.zeros(outputs)}


def _floats(values: Any) -> Array:
    return jnp.asarray(values, jnp.float32)


def logits(weights: Weights, features: Array, inside: Array, kept: Array | None = None) -> Array:
    """Scores before the sigmoid: (batch, frames, types).

    features: (batch, frames, FEATURE_COUNT), of mean 0 and deviation 1. inside: (batch, frames, 1), 0 outside the file.
    kept: dropout's factors, (batch, 1, WIDTH).
    """
    hidden = jax.nn.relu(_convolved(weights["input"], features * inside, 1)) * inside
    for index, dilation in enumerate(DILATIONS):
        block = weights[f"block_{index}"]
        hidden = hidden + jax.nn.relu(_convolved(block, _levelled(block, hidden), dilation)) * inside
    hidden = _levelled(weights["head"], hidden)
    return (hidden if kept is None else hidden * kept) @ weights["head"]["weight"] + weights["head"]["bias"]


def _convolved(layer: Layer, sound: Array, dilation: int) -> Array:
    padding = [(dilation, dilation)]
    result = jax.lax.conv_general_dilated(
        sound, layer["weight"], (1,), padding, rhs_dilation=(dilation,), dimension_numbers=("NTC", "TIO", "NTC")
    )
    return result + layer["bias"]


def _levelled(layer: Layer, hidden: Array) -> Array:
    """Root mean square over the channels made 1. Source: Zhang, Sennrich 2019."""
    return hidden * jax.lax.rsqrt(jnp.mean(jnp.square(hidden), axis=-1, keepdims=True) + NORM_EPSILON) * layer["scale"]
