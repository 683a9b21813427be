"""The network: transformers' Whisper with two frame classifiers that only training uses."""

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import WhisperConfig, WhisperForConditionalGeneration

from tools.whisper.mel import MEL_BINS
from tools.whisper.tokens import Coder

WIDTH = 128
HEADS = 4
ENCODER_LAYERS = 4
DECODER_LAYERS = 4
# Head 0 of every decoder layer is taught where the next word is; the upper layers know it best and time the words.
GUIDED_HEADS = tuple((layer, 0) for layer in range(DECODER_LAYERS))
ALIGNMENT_HEADS = GUIDED_HEADS[DECODER_LAYERS // 2 :]
# Head 1 of the lower layers is taught where the last word was: in a window of many sentences the next one is hard to find without.
FOLLOWING_HEADS = tuple((layer, 1) for layer in range(DECODER_LAYERS // 2))
POSITION_SCALE = 0.05
# A timestamp starts as the encoder's position that it names: 1,500 tokens that are rarely heard cannot be learnt one by one.
TIMESTAMP_SCALE = 0.2


class Heard(NamedTuple):
    """logits: (batch, tokens, vocabulary); words and phones: (batch, frames, classes); attention: (heads, batch, tokens, frames) of the
    guided heads; following: of those that look back."""

    logits: Tensor
    words: Tensor
    phones: Tensor
    attention: Tensor
    following: Tensor


class Network(nn.Module):  # type: ignore[misc, unused-ignore]
    """Whisper, a word classifier on the encoder's last layer and a phone classifier on its middle one."""

    def __init__(self, whisper: WhisperForConditionalGeneration, words: int, phones: int) -> None:
        super().__init__()
        self.whisper = whisper
        self.words = nn.Linear(WIDTH, words + 1)
        self.phones = nn.Linear(WIDTH, phones + 1)

    def forward(self, features: Tensor, tokens: Tensor, first_position: int) -> Heard:
        """features: (batch, 80, frames), of any even number of frames; tokens: (batch, tokens) decoder input."""
        middle, last = self._encode(features, first_position)
        decoder = self.whisper.model.decoder
        decoded = decoder(input_ids=tokens, encoder_hidden_states=last, output_attentions=True, use_cache=False)
        attention, following = (
            torch.stack([decoded.cross_attentions[layer][:, head] for layer, head in heads]) for heads in (GUIDED_HEADS, FOLLOWING_HEADS)
        )
        return Heard(self.whisper.proj_out(decoded.last_hidden_state), self.words(last), self.phones(middle), attention, following)

    def _encode(self, features: Tensor, first_position: int) -> tuple[Tensor, Tensor]:
        """States of the middle and the last layer; transformers' own forward takes whole windows of 30 s only."""
        encoder = self.whisper.model.encoder
        hidden = functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(features)))).transpose(1, 2)
        hidden = middle = hidden + encoder.embed_positions.weight[first_position : first_position + hidden.shape[1]]
        for place, layer in enumerate(encoder.layers, 1):
            hidden = layer(hidden, None)
            if place == ENCODER_LAYERS // 2:
                middle = hidden
        return middle, encoder.layer_norm(hidden)


def whisper_config(coder: Coder) -> WhisperConfig:
    """The test model's sizes, with 30 s windows."""
    return WhisperConfig(
        vocab_size=coder.size,
        num_mel_bins=MEL_BINS,
        d_model=WIDTH,
        encoder_layers=ENCODER_LAYERS,
        decoder_layers=DECODER_LAYERS,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=4 * WIDTH,
        decoder_ffn_dim=4 * WIDTH,
        pad_token_id=coder.end,
        bos_token_id=coder.end,
        eos_token_id=coder.end,
        decoder_start_token_id=coder.named("startoftranscript"),
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )


def _without_weights(encoder: nn.Module) -> None:
    """Attention of the encoder in one fused operation, twice as fast; only the decoder's has to be seen."""
    config = copy.deepcopy(encoder.config)
    config._attn_implementation = "sdpa"
    for module in encoder.modules():
        if hasattr(module, "config"):
            module.config = config


def new_network(coder: Coder, words: int, phones: int) -> Network:
    """An untrained network; the caller seeds torch."""
    network = Network(WhisperForConditionalGeneration(whisper_config(coder)), words, phones)
    network.whisper.set_attn_implementation("eager")
    _without_weights(network.whisper.model.encoder)
    for name, weight in network.named_parameters():
        if weight.dim() > 1 and "conv" not in name and "embed" not in name:
            nn.init.normal_(weight, std=1 / math.sqrt(weight.shape[1]))
    decoder, encoder = network.whisper.model.decoder, network.whisper.model.encoder
    with torch.no_grad():
        positions = encoder.embed_positions.weight[: decoder.embed_positions.weight.shape[0]]
        decoder.embed_positions.weight.copy_(positions * POSITION_SCALE)
        decoder.embed_tokens.weight[coder.first_timestamp : coder.size - 1] = encoder.embed_positions.weight * TIMESTAMP_SCALE
    return network
