"""Every relative link in the documentation leads somewhere, to the heading that it names."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)|!\[[^\]]*\]\((?P<image>[^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(?P<text>.+?) *$", re.MULTILINE)
_FEWEST_LINKS = 40


def pages() -> list[Path]:
    """Everything that is written for readers."""
    folders = (page for folder in ("docs", "deploy", "samples") for page in (ROOT / folder).rglob("*.md"))
    return sorted([*ROOT.glob("*.md"), *folders])


def links() -> Iterator[tuple[Path, str]]:
    """Every page with each of its links to another file or heading."""
    for page in pages():
        for found in _LINK.finditer(_CODE.sub("", page.read_text())):
            target = found["target"] or found["image"]
            if not re.match(r"[a-z]+:", target):
                yield page, target


def anchors(page: Path) -> set[str]:
    """What links to the headings of a page end with, as forges make it: of the text without marks, in lower case."""
    texts = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", found["text"]) for found in _HEADING.finditer(_without_blocks(page))]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def _without_blocks(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def _leads_nowhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    found = (page.parent / path).resolve() if path else page
    return not found.exists() or bool(anchor and found.suffix == ".md" and anchor not in anchors(found))


def test_every_relative_link_leads_somewhere() -> None:
    found = list(links())
    assert len(found) >= _FEWEST_LINKS
    assert [f"{page.relative_to(ROOT)}: {target}" for page, target in found if _leads_nowhere(page, target)] == []
