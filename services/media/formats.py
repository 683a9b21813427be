"""Which containers and codecs are accepted, and what each is called. Names on the left are libav's."""

# Demuxers. Everything that can name another file or address (hls, dash, concat, sdp, imf, image2) is out by absence.
DEMUXERS = ("wav", "w64", "mp3", "flac", "ogg", "mov", "matroska", "webm", "aac", "aiff")

# Decoders that libav may open, even while it only looks at the streams: video, pictures and subtitles never are.
DECODERS = (
    *("aac", "aac_latm", "ac3", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "alac", "amrnb", "amrwb", "eac3"),
    *("flac", "gsm", "gsm_ms", "libopus", "mp2float", "mp2", "mp3", "mp3float", "opus", "vorbis", "speex"),
    *("pcm_alaw", "pcm_mulaw", "pcm_u8", "pcm_s8", "pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le"),
    *("pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le"),
)

# Containers whose header states the length of the audio, and what its first bytes hold when it does.
# Without it libav makes up a length from the bit rate.
STATED_LENGTH = {
    **dict.fromkeys(("wav", "w64", "flac", "mp4", "mov", "3gp", "aiff"), (b"",)),
    **dict.fromkeys(("matroska", "webm"), (b"\x44\x89",)),
    "mp3": (b"Xing", b"Info", b"VBRI"),
}
OGG_LAST_PAGE = 0x04
# What a writer that cannot go back puts for the length of the samples.
UNKNOWN_LENGTHS = (b"\0\0\0\0", b"\xff\xff\xff\xff")

MEDIA_TYPES = {
    "wav": "audio/wav",
    "w64": "audio/x-w64",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mp4": "audio/mp4",
    "mov": "video/quicktime",
    "3gp": "audio/3gpp",
    "webm": "audio/webm",
    "matroska": "audio/x-matroska",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
}
VIDEO_CONTAINERS = frozenset({"ogg", "mp4", "3gp", "webm", "matroska"})

HEAD_BYTES = 4096
MAGIC = (
    (0, b"RIFF"),
    (0, b"RF64"),
    (0, b"riff\x2e\x91\xcf\x11"),
    (0, b"ID3"),
    (0, b"fLaC"),
    (0, b"OggS"),
    (4, b"ftyp"),
    (4, b"moov"),
    (4, b"mdat"),
    (0, b"\x1a\x45\xdf\xa3"),
    (0, b"FORM"),
)


def states_length(container: str, head: bytes) -> bool:
    """Whether the header says how long the audio is."""
    return any(mark in head for mark in STATED_LENGTH.get(container, ()))


def is_open_ended(container: str, head: bytes) -> bool:
    """Whether the header leaves the length open, so that the end of the file is the end of the audio."""
    at = head.find(b"data", 12)
    return container == "wav" and at > 0 and head[at + 4 : at + 8] in UNKNOWN_LENGTHS


def lacks_end(container: str, tail: bytes) -> bool:
    """Whether the last bytes show that the end is missing: Ogg marks the last page of a stream."""
    if container != "ogg":
        return False
    page = tail.rfind(b"OggS")
    return page < 0 or not tail[page + 5 : page + 6] or not tail[page + 5] & OGG_LAST_PAGE


def name_container(demuxer: str, head: bytes) -> str:
    """One word for the container: `mov,mp4,m4a,...` and `matroska,webm` are told apart by their first bytes."""
    if demuxer.startswith("matroska"):
        return "webm" if b"webm" in head[:64] else "matroska"
    if demuxer.startswith("mov"):
        return name_brand(head[8:12] if head[4:8] == b"ftyp" else b"qt  ")
    return demuxer


def name_brand(brand: bytes) -> str:
    """The container of an ISO base media brand."""
    if brand == b"qt  ":
        return "mov"
    return "3gp" if brand[:2] == b"3g" else "mp4"


def name_media_type(container: str, has_video: bool) -> str:
    """The MIME type of what was detected."""
    media_type = MEDIA_TYPES[container]
    if has_video and container in VIDEO_CONTAINERS:
        return media_type.replace("audio/", "video/")
    return media_type


def looks_accepted(head: bytes) -> bool:
    """Whether the first bytes are those of an accepted container, however broken the rest is."""
    if any(head[offset : offset + len(magic)] == magic for offset, magic in MAGIC):
        return True
    # The sync word of an MPEG audio or ADTS frame.
    return len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
