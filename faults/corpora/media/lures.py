"""Files that make an unprotected reader open another file or call an address."""

import struct
from collections.abc import Iterator

from faults.corpora.media.case import HEARD, REFUSED, Bait, Case, Sources
from faults.corpora.media.strangers import id3

PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n{}#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"


def cases(sources: Sources, bait: Bait) -> Iterator[Case]:
    """All of them, as text and hidden behind the first bytes of something accepted."""
    for name, text in texts(bait).items():
        data = text.encode()
        yield Case(f"lure-{name}", data, REFUSED, filename=name)
        yield Case(f"lure-{name}-called-mp3", data, REFUSED, filename="recording.mp3")
        yield Case(f"lure-{name}-in-a-tag", id3(b"TXXX", b"\0url\0" + data) + b"\n" + data, REFUSED, filename="recording.mp3")
    yield Case("lure-gab2.avi", gab2(PLAYLIST.format("", bait.sibling.as_uri()).encode()), REFUSED, filename="video.avi")
    yield Case("lure-mov-reference", with_reference(sources.forms["mov"], str(bait.sibling)), (*HEARD, *REFUSED), filename="recording.mov")
    yield Case("lure-mov-reference-url", with_reference(sources.forms["mov"], bait.address), (*HEARD, *REFUSED), filename="recording.mov")


def texts(bait: Bait) -> dict[str, str]:
    """Name and text of each."""
    return {**concats(bait), **playlists(bait), **manifests(bait), **redirects(bait)}


def concats(bait: Bait) -> dict[str, str]:
    """ffconcat, which reads any file it names."""
    return {
        "relative.ffconcat": f"ffconcat version 1.0\nfile {bait.sibling.name}\n",
        "absolute.ffconcat": f"ffconcat version 1.0\nfile '{bait.sibling}'\n",
        "url.ffconcat": f"ffconcat version 1.0\nfile '{bait.address}'\n",
        "nested.ffconcat": f"ffconcat version 1.0\nfile 'concat:{bait.sibling}|{bait.address}'\n",
        "options.ffconcat": f"ffconcat version 1.0\nfile '{bait.sibling}'\noption safe 0\noption protocol_whitelist file,http,tcp\n",
    }


def playlists(bait: Bait) -> dict[str, str]:
    """HLS, whose segments and keys are addresses."""
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="{bait.address}"\n'
    targets = {
        "http": bait.address,
        "file": bait.sibling.as_uri(),
        "path": str(bait.sibling),
        "relative": bait.sibling.name,
        "concat": f"concat:{bait.sibling}|{bait.address}",
        "subfile": f"subfile,,start,0,end,0,,:{bait.sibling}",
        "crypto": f"crypto+{bait.sibling.as_uri()}",
        "data": "data:audio/wav;base64,UklGRiQAAABXQVZF",
        "udp": f"udp://127.0.0.1:{bait.port}",
        "tcp": f"tcp://127.0.0.1:{bait.port}",
        "gopher": f"gopher://127.0.0.1:{bait.port}/_x",
    }
    found = {f"{name}.m3u8": PLAYLIST.format("", target) for name, target in targets.items()}
    master = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{bait.address}\n"
    return {**found, "key.m3u8": PLAYLIST.format(key, bait.sibling.as_uri()), "master.m3u8": master}


def manifests(bait: Bait) -> dict[str, str]:
    """DASH, SDP, IMF, Smooth Streaming, XML with entities."""
    return {
        "manifest.mpd": f'<?xml version="1.0"?><MPD type="static"><Period><AdaptationSet><BaseURL>{bait.address}</BaseURL>'
        '<Representation id="1"/></AdaptationSet></Period></MPD>',
        "session.sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {bait.port} RTP/AVP 0\n",
        "composition.xml": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">'
        f"<Id>urn:uuid:0</Id><Asset><Path>{bait.sibling}</Path></Asset></CompositionPlaylist>",
        "entity.xml": f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "{bait.sibling.as_uri()}">]><a>&b;</a>',
        "picture.svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{bait.address}"/></svg>',
        "page.html": f'<meta http-equiv="refresh" content="0;url={bait.address}">',
    }


def redirects(bait: Bait) -> dict[str, str]:
    """The small text files of old players, libav's own filter language, and patterns of pictures."""
    return {
        "list.pls": f"[playlist]\nFile1={bait.address}\nNumberOfEntries=1\n",
        "list.asx": f'<asx version="3.0"><entry><ref href="{bait.address}"/></entry></asx>',
        "list.xspf": f'<playlist version="1"><trackList><track><location>{bait.address}</location></track></trackList></playlist>',
        "list.ram": f"rtsp://127.0.0.1:{bait.port}/a.rm\n",
        "list.m3u": f"{bait.sibling}\n{bait.address}\n",
        "graph.lavfi": f"amovie={bait.sibling}\n",
        "pattern-%03d.png": f"{bait.sibling.parent}/%03d.png\n",
        "words.idx": "# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:00:000, filepos: 000000000\n",
        "url.txt": f"{bait.address}\n",
        "shortcut.url": f"[InternetShortcut]\nURL={bait.address}\n",
    }


def gab2(playlist: bytes) -> bytes:
    """An AVI whose subtitles are a playlist, as in the exploit of 2017."""
    text = b"GAB2\0\2\0" + struct.pack("<I", 2) + b"a\0\4\0" + struct.pack("<I", len(playlist)) + playlist
    head = b"strh" + struct.pack("<I", 56) + b"txts" + bytes(52)
    return b"RIFF" + struct.pack("<I", 400 + len(text)) + b"AVI LIST" + struct.pack("<I", 72) + b"hdrlstrl" + head + b"01tx" + text


def with_reference(mov: bytes, target: str) -> bytes:
    """The MOV whose samples are said to lie elsewhere: the data reference is an address instead of the file itself."""
    return mov.replace(b"url \0\0\0\1", b"url \0\0\0\0", 1).replace(b"alis\0\0\0\1", b"alis\0\0\0\0", 1) + target.encode()
