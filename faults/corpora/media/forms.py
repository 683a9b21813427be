"""Four seconds of speech in every accepted container, whole: what the corpus cuts, bends and hides things in."""

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import av

from faults.corpora.media.case import Sources
from tools.speech.audio import Samples, add_audio_stream, encode_audio, read_audio
from tools.speech.forms import write_form

SPEECH = Path(__file__).resolve().parents[3] / "samples" / "clips" / "hello.flac"
SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True)
class Form:
    """How the speech is encoded; `movflags` places the index of an MP4."""

    suffix: str
    codec: str
    rate_hz: int = SAMPLE_RATE_HZ
    bit_rate: int = 0
    movflags: str = ""


FORMS = {
    "wav": Form(".wav", "pcm_s16le"),
    "w64": Form(".w64", "pcm_s16le"),
    "aiff": Form(".aiff", "pcm_s16be"),
    "wav_adpcm": Form(".wav", "adpcm_ima_wav"),
    "wav_mulaw": Form(".wav", "pcm_mulaw", 8_000),
    "flac": Form(".flac", "flac"),
    "mp3": Form(".mp3", "libmp3lame", bit_rate=32_000),
    "m4a": Form(".m4a", "aac", bit_rate=32_000),
    "m4a_index_first": Form(".m4a", "aac", bit_rate=32_000, movflags="+faststart"),
    "m4a_fragments": Form(".m4a", "aac", bit_rate=32_000, movflags="+frag_keyframe+empty_moov"),
    "mov": Form(".mov", "aac", bit_rate=32_000),
    "ogg": Form(".ogg", "libopus", 48_000, 32_000),
    "ogg_flac": Form(".oga", "flac"),
    "webm": Form(".webm", "libopus", 48_000, 32_000),
    "mkv": Form(".mkv", "aac", bit_rate=32_000),
    "mkv_pcm": Form(".mkv", "pcm_s16le"),
    "aac": Form(".aac", "aac", bit_rate=32_000),
}


def make_sources() -> Sources:
    """Encode the speech; the same libav writes the same bytes."""
    samples = read_audio(SPEECH)
    with tempfile.TemporaryDirectory() as folder:
        forms = {name: encode(samples, form, Path(folder) / f"{name}{form.suffix}") for name, form in FORMS.items()}
        forms["mp4_video"] = write_form(SPEECH, Path(folder) / "video.mp4").read_bytes()
        forms["mp4_pictures"] = without_sound(forms["mp4_video"])
    return Sources(len(samples) * 1000 // SAMPLE_RATE_HZ, forms)


def encode(samples: Samples, form: Form, path: Path) -> bytes:
    """The samples, (samples,) or (2, samples) int16 at 16 kHz, in this form."""
    channels = samples.reshape(-1, samples.shape[-1])
    options = {"fflags": "+bitexact", **({"movflags": form.movflags} if form.movflags else {})}
    with av.open(path, "w", options=options) as container:
        stream = add_audio_stream(container, form.codec, len(channels), form.bit_rate, form.rate_hz)
        encode_audio(container, stream, channels)
    return path.read_bytes()


def without_sound(mp4: bytes) -> bytes:
    """Only the pictures of the MP4."""
    buffer = io.BytesIO()
    with av.open(io.BytesIO(mp4), "r") as source, av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as target:
        pictures = source.streams.video[0]
        copied = target.add_stream_from_template(pictures)
        for packet in source.demux(pictures):
            if packet.size:
                packet.stream = copied
                target.mux(packet)
    return buffer.getvalue()
