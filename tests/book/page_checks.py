"""What must be true of a folder of HTML pages, read without a browser.

:func:`site_problems` takes any folder and returns a sentence for each thing that is wrong, so the
same function judges the built book and the small folders of the tests, in which something is wrong
on purpose.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

VOID = frozenset(
    "area base br col embed hr img input link meta param source track wbr".split()  # noqa: SIM905
)
LOADING_ATTRIBUTES = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "audio": ("src",),
    "video": ("src", "poster"),
    "source": ("src", "srcset"),
    "track": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "input": ("src",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}
NOT_LOADED = frozenset(
    "alternate author bookmark canonical help index license next prev search".split()  # noqa: SIM905
)
CONTENT_NETWORKS = re.compile(r"unpkg|jsdelivr|cdnjs|googleapis|gstatic", re.IGNORECASE)
CSS_ADDRESS = re.compile(
    r"""url\(\s*(?:"([^"]*)"|'([^']*)'|([^)"'\s]*))\s*\)|@import\s+(?:"([^"]*)"|'([^']*)')""",
    re.IGNORECASE,
)
CSS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


@dataclass
class PageFigure:
    """A figure as it stands on a page."""

    identifier: str
    source: str = ""
    alt: str = ""
    number: str = ""
    caption: str = ""


@dataclass
class Page(HTMLParser):
    """One page: its title, links, what it loads, its pictures, headings, figures and anchors."""

    path: Path
    title: str = ""
    language: str = ""
    links: list[str] = field(default_factory=list)
    loads: list[tuple[str, str]] = field(default_factory=list)
    pictures: list[tuple[str, str]] = field(default_factory=list)
    headings: list[tuple[int, str]] = field(default_factory=list)
    figures: list[PageFigure] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    scripts: list[str] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    forwards: bool = False

    def __post_init__(self):
        super().__init__(convert_charrefs=True)
        self._open = []
        self.feed(self.path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        if tag not in VOID:
            self._open.append((tag, given))
        self._collect_anchors(tag, given)
        self._collect_addresses(tag, given)
        if tag == "html":
            self.language = given.get("lang", "")
        elif tag == "img":
            self.pictures.append((given.get("src", "?"), given.get("alt", "").strip()))
            if figure := self._figure():
                figure.source, figure.alt = given.get("src", ""), given.get("alt", "")
        elif re.fullmatch("h[1-6]", tag) and not self._inside("id", "jb-print-docs-body"):
            self.headings.append((int(tag[1]), ""))
        elif tag == "figure":
            self.figures.append(PageFigure(given.get("id", "")))
        elif tag == "script":
            self.scripts.append("")
        elif tag == "style":
            self.styles.append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        for index in range(len(self._open) - 1, -1, -1):
            if self._open[index][0] == tag:
                del self._open[index:]
                return

    def handle_data(self, data):
        tag = self._open[-1][0] if self._open else ""
        if tag == "script":
            self.scripts[-1] += data
        elif tag == "style":
            self.styles[-1] += data
        elif tag == "title" and not any(outer == "svg" for outer, _ in self._open):
            self.title += data
        elif not self._inside("class", "headerlink"):
            self._collect_words(data)

    def _collect_words(self, data):
        if self._inside("id", "jb-print-docs-body"):
            return
        if self.headings and any(re.fullmatch("h[1-6]", tag) for tag, _ in self._open):
            level, words = self.headings[-1]
            self.headings[-1] = (level, words + data)
        if figure := self._figure():
            if self._inside("class", "caption-number"):
                figure.number += data
            elif self._inside("class", "caption-text"):
                figure.caption += data

    def _collect_anchors(self, tag, given):
        names = [given.get("id"), given.get("name") if tag == "a" else None]
        self.anchors.update(name for name in names if name)

    def _collect_addresses(self, tag, given):
        if tag in {"a", "area"} and "href" in given:
            self.links.append(given["href"])
        elif tag == "form" and "action" in given:
            self.links.append(given["action"])
        elif tag == "meta" and given.get("http-equiv", "").lower() == "refresh":
            self.forwards = True
            self.links.append(given.get("content", "").partition("url=")[2])
        elif tag == "link" and "href" in given:
            passive = set(given.get("rel", "").lower().split()) <= NOT_LOADED
            (self.links if passive else self.loads).append(
                given["href"] if passive else (f"link rel={given.get('rel')}", given["href"])
            )
        for name in LOADING_ATTRIBUTES.get(tag, ()):
            parts = given.get(name, "").split(",") if name == "srcset" else [given.get(name, "")]
            self.loads += [(tag, part.split()[0]) for part in parts if part.strip()]
        if "style" in given:
            self.styles.append(given["style"])

    def _inside(self, name, value):
        return any(value in attributes.get(name, "").split() for _, attributes in self._open)

    def _figure(self):
        inside = any(tag == "figure" for tag, _ in self._open)
        return self.figures[-1] if inside and self.figures else None


@cache
def _read_page(path, _modified):
    return Page(path)


def read_page(path):
    """Read one page; a page that has not changed is read once."""
    return _read_page(path, path.stat().st_mtime_ns)


def page_paths(folder):
    """Return every page of a built book; what lies in ``_static`` belongs to the theme."""
    paths = sorted(folder.rglob("*.html"))
    return [path for path in paths if "_static" not in path.relative_to(folder).parts]


def is_external(address):
    """Say whether an address leaves the folder: it has a host, or a scheme other than data."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data", "blob")


def site_problems(folder):
    """List what is wrong with the pages of a folder, a sentence each; empty if all is well."""
    problems, titles = [], {}
    for path in page_paths(folder):
        page, where = read_page(path), path.relative_to(folder).as_posix()
        found = [
            *_link_problems(page),
            *_load_problems(page),
            *_style_problems(page),
            *_picture_problems(page),
            *_heading_problems(page),
            *_name_problems(page, titles),
        ]
        problems += [f"{where}: {line}" for line in found]
    return problems


def _target(base, address):
    return (base.parent / unquote(urlsplit(address).path)).resolve()


def _link_problems(page):
    for address in page.links:
        parts = urlsplit(address)
        if is_external(address) or parts.scheme == "data":
            continue
        target = _target(page.path, address) if parts.path else page.path
        if not target.is_file():
            yield f"links to {address}, which is not there"
        elif (
            parts.fragment
            and target.suffix == ".html"
            and unquote(parts.fragment) not in read_page(target).anchors
        ):
            yield f"links to {address}, but no id of that page is '{parts.fragment}'"


def _load_problems(page):
    for tag, address in page.loads:
        if is_external(address):
            yield f"loads {address} from outside ({tag})"
        elif CONTENT_NETWORKS.search(urlsplit(address).path):
            yield f"names a content network in {address} ({tag})"
        elif not urlsplit(address).scheme and not _target(page.path, address).is_file():
            yield f"loads {address}, which is not there ({tag})"
    for script in page.scripts:
        if network := CONTENT_NETWORKS.search(script):
            yield f"names a content network in a script: {network.group()}"


def _css_addresses(text):
    for match in CSS_ADDRESS.finditer(CSS_COMMENT.sub("", text)):
        yield next((part for part in match.groups() if part is not None), "")


def _style_problems(page):
    sheets = [
        _target(page.path, address)
        for tag, address in page.loads
        if "stylesheet" in tag and not is_external(address)
    ]
    waiting = [(page.path, text) for text in page.styles]
    seen = set()
    while sheets or waiting:
        if sheets:
            sheet = sheets.pop()
            if sheet in seen or not sheet.is_file():
                continue
            seen.add(sheet)
            waiting.append((sheet, sheet.read_text(encoding="utf-8")))
        base, text = waiting.pop()
        for address in _css_addresses(text):
            if is_external(address):
                yield f"loads {address} from outside (styles of {base.name})"
            elif urlsplit(address).scheme or not urlsplit(address).path:
                continue
            elif not _target(base, address).is_file():
                yield f"loads {address}, which is not there (styles of {base.name})"
            elif urlsplit(address).path.endswith(".css"):
                sheets.append(_target(base, address))


def _picture_problems(page):
    for source, alt in page.pictures:
        if not alt:
            yield f"the picture {source} has no alt text"


def _heading_problems(page):
    if page.forwards:
        return
    first = [words.strip() for level, words in page.headings if level == 1]
    if len(first) != 1:
        yield f"has {len(first)} headings of the first level: {first}"
    elif page.headings[0][0] != 1:
        yield f"begins with '{page.headings[0][1].strip()}', not with its title"
    previous = 1
    for level, words in page.headings:
        if level > previous + 1:
            yield f"the heading '{words.strip()}' skips from level {previous} to {level}"
        if not words.strip():
            yield f"a heading of level {level} is empty"
        previous = level


def _name_problems(page, titles):
    """Yield what readers who hear a page, or have many open, would miss; ``titles`` is filled."""
    if page.forwards:
        return
    title = " ".join(page.title.split())
    if not page.language:
        yield "does not say its language"
    if not title:
        yield "has no title"
    elif title in titles:
        yield f"has the title '{title}', which is also that of {titles[title]}"
    titles.setdefault(title, page.path.name)


def caption_pattern(caption):
    r"""Return a pattern for the words that a page shows for a caption written in MyST.

    Formulas stand between ``\(`` and ``\)``; what a role becomes is left open.

    Examples:
        >>> pattern = caption_pattern("A *line*, $y=x$ {cite:p}`someone`.")
        >>> bool(pattern.fullmatch(r"A line, \(y=x\) [1]."))
        True
        >>> bool(pattern.fullmatch("A curve [1]."))
        False
    """
    pieces = re.split(r"(\{[^}]+\}`[^`]*`|\$[^$]*\$|`[^`]*`|\[[^]]*\]\([^)]*\))", caption)
    pattern = ""
    for piece in pieces:
        if piece.startswith("{") and piece.endswith("`"):
            pattern += ".+?"
        elif piece.startswith("$"):
            pattern += re.escape(plain_words(f"\\({piece[1:-1]}\\)"))
        elif piece.startswith("["):
            pattern += re.escape(plain_words(piece[1:].partition("](")[0]))
        else:
            words = re.sub(r"[*`]", "", plain_words(piece, strip=False))
            pattern += re.escape(words)
    return re.compile(pattern.replace("\\ ", " ").strip(), re.DOTALL)


def plain_words(text, *, strip=True):
    """Undo what typesetting does to words: white space, curly quotes, dashes and dots."""
    for curly, plain in {"‘": "'", "’": "'", "“": '"', "”": '"', "…": "..."}.items():
        text = text.replace(curly, plain)
    text = text.replace("—", "---").replace("–", "--").replace("---", "--")
    text = re.sub(r"\s+", " ", text)
    return text.strip() if strip else text
