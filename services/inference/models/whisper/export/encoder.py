"""The encoder, up to the keys and values that every decoder layer reads."""

from services.inference.models.whisper.architecture import Architecture
from services.inference.models.whisper.export.builder import GraphBuilder
from services.inference.models.whisper.export.cross import Cross
from services.inference.models.whisper.export.weights import Weights


def build_encoder(builder: GraphBuilder, weights: Weights, architecture: Architecture, cross: Cross) -> None:
    """mel (batch, bands, 2 * frames) to the keys and values of every decoder layer."""
    mel = builder.input("mel", ("batch", architecture.mel_bands, 2 * architecture.frames))
    encoder = weights.under("encoder")
    x = builder.add("Transpose", _convolutions(builder, mel, encoder), perm=[0, 2, 1])
    x = builder.add("Add", x, builder.floats(encoder["embed_positions.weight"]))
    for layer in range(architecture.encoder_layers):
        x = _block(builder, x, encoder.under(f"layers.{layer}"), architecture.encoder_heads)
    x = builder.layer_norm(x, encoder.under("layer_norm"))
    decoder, sizes = weights.under("decoder"), (architecture.decoder_heads, architecture.head_size)
    for layer in range(architecture.decoder_layers):
        attention = decoder.under(f"layers.{layer}.encoder_attn")
        key = builder.linear(x, attention.under("k_proj"), bias=False)
        value = builder.linear(x, attention.under("v_proj"))
        cross.store(builder, layer, builder.heads(key, *sizes), builder.heads(value, *sizes))


def _convolutions(builder: GraphBuilder, mel: str, encoder: Weights) -> str:
    x = mel
    for name, stride in (("conv1", 1), ("conv2", 2)):
        weight, bias = builder.floats(encoder[f"{name}.weight"]), builder.floats(encoder[f"{name}.bias"])
        x = builder.add("Gelu", builder.add("Conv", x, weight, bias, kernel_shape=[3], pads=[1, 1], strides=[stride]))
    return x


def _block(builder: GraphBuilder, x: str, weights: Weights, heads: int) -> str:
    own = weights.under("self_attn")
    normed = builder.layer_norm(x, weights.under("self_attn_layer_norm"))
    projected = builder.joined_linear(normed, [own.under(name) for name in ("q_proj", "k_proj", "v_proj")])
    (attended,) = builder.attention(heads, 1, *projected)
    return builder.feed_forward(builder.add("Add", x, builder.linear(attended, own.under("out_proj"))), weights)
