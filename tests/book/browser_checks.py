"""What must be true of pages in a real browser, opened from disk with no network.

:func:`page_complaints` opens any page in the light and in the dark, wide and narrow, and returns a
sentence for each thing that is wrong, so the same function judges the built book and pages in
which something is wrong on purpose.
"""

import os
import shutil
from contextlib import contextmanager

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]
DESK, PHONE = 1400, 390
THEMES = ("light", "dark")
# A page is loaded anew at each width, in one theme, and then changes to the other.
ROUNDS = ((DESK, THEMES), (PHONE, THEMES[::-1]))
LOCAL = ("file:", "data:", "blob:", "about:")
MILLISECONDS = 20_000

SETTLED = """async () => {
    if (window.MathJax?.startup?.promise) await MathJax.startup.promise;
    await document.fonts.ready;
}"""
_TYPESET = """() => {
    const formulas = [...document.querySelectorAll('.math')];
    return {
        plain: formulas.filter(f => !f.querySelector('mjx-container')).map(f => f.textContent),
        wrong: formulas.filter(f => f.querySelector('merror, mjx-merror, [data-mml-node=merror]'))
            .map(f => f.textContent),
    };
}"""
UNFOLD = """() => {
    for (const fold of document.querySelectorAll('details')) fold.open = true;
    for (const button of document.querySelectorAll('.toggle-hidden .toggle-button')) button.click();
}"""
# The theme looks for boxes that scroll 0.3 seconds after the window or a fold has changed.
RELAID = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(
    () => setTimeout(done, 400))))"""
_WIDTH = "() => [document.documentElement.scrollWidth, window.innerWidth]"
# What is wider than its box: cut off, or in a box that scrolls and that no key reaches. A browser
# may let keys reach such a box by itself, but not all do, so it has to say so. Of a formula only
# what is seen counts, not the words for screen readers beside it.
_BOXES = """() => {
    const found = new Set();
    const inside = 'a[href], button, summary, input, [tabindex="0"]';
    for (const box of document.querySelectorAll('main *')) {
        if (box.scrollWidth - box.clientWidth <= 1 || box.clientWidth < 20) continue;
        if (box.closest('mjx-math, mjx-assistive-mml, svg, button, input')) continue;
        if (!box.checkVisibility()) continue;
        const overflow = getComputedStyle(box).overflowX;
        if (overflow === 'visible') continue;
        const drawn = [...box.querySelectorAll('mjx-math')];
        const formula = box.matches('mjx-container, .math');
        if (formula && drawn.every(f => f.getBoundingClientRect().width <= box.clientWidth + 1))
            continue;
        const name = [box.localName, ...box.classList].join('.');
        const words = box.textContent.trim().replace(/\\s+/g, ' ').slice(0, 40);
        if (['hidden', 'clip'].includes(overflow))
            found.add(`${name} cuts off its content: ${words}`);
        else if (box.getAttribute('tabindex') !== '0' && !box.querySelector(inside))
            found.add(`${name} scrolls sideways, but no key reaches it: ${words}`);
    }
    return [...found];
}"""
# Pictures are drawn on white: what lies behind one must be light, and nothing may dim it.
_CARDS = """() => {
    const found = [];
    for (const picture of document.querySelectorAll('article img')) {
        const source = picture.getAttribute('src');
        if (getComputedStyle(picture).filter !== 'none') found.push(`${source} is dimmed`);
        let card = picture, colour;
        do colour = getComputedStyle(card).backgroundColor.match(/[\\d.]+/g).map(Number);
        while (colour[3] === 0 && (card = card.parentElement));
        if (colour[3] > 0 && colour[3] < 1 || Math.min(...colour.slice(0, 3)) < (card ? 240 : 0))
            found.push(`${source} lies on the colour ${colour}`);
    }
    return found;
}"""


def find_browser():
    """Return the path of Chromium, or None; ``LEARNMECH_BROWSER`` may name it."""
    named = os.environ.get("LEARNMECH_BROWSER")
    found = (shutil.which(name) for name in ([named] if named else NAMES))
    return next((path for path in found if path), None)


@contextmanager
def open_browser(path):
    """Start Chromium without a network, and end it in any case."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, headless=True)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watched_tab(browser, complaints):
    """Open a tab that adds to ``complaints`` when a request leaves or a script fails."""
    context = browser.new_context(reduced_motion="reduce")
    context.set_default_timeout(MILLISECONDS)

    def watch(request):
        if not request.url.startswith(LOCAL):
            complaints.append(f"asks for {request.url}")

    def failed(request):
        if request.url.startswith("file:") and "ERR_ABORTED" not in (request.failure or ""):
            complaints.append(f"could not load {request.url}: {request.failure}")

    context.on("request", watch)
    context.on("requestfailed", failed)
    context.on("weberror", lambda event: complaints.append(f"script error: {event.error}"))
    try:
        tab = context.new_page()
        tab.on("websocket", lambda socket: complaints.append(f"asks for {socket.url}"))
        yield tab
    finally:
        context.close()


def open_page(tab, path, *, theme=THEMES[0], width=DESK, height=900):
    """Open a page and wait until its formulas and fonts are there."""
    tab.emulate_media(color_scheme=theme)
    tab.set_viewport_size({"width": width, "height": height})
    tab.goto(path.as_uri(), wait_until="load")
    tab.evaluate(SETTLED)


def look_at(tab, complaints, path, *, width=DESK, themes=THEMES):
    """Open one page in a watched tab and add what is wrong with it to ``complaints``."""
    open_page(tab, path, theme=themes[0], width=width)
    formulas = tab.evaluate(_TYPESET)
    complaints += [f"a formula is not typeset: {words[:80]}" for words in formulas["plain"]]
    complaints += [f"a formula has an error: {words[:80]}" for words in formulas["wrong"]]
    complaints += _sideways(tab)
    tab.evaluate(UNFOLD)
    complaints += [*_sideways(tab), *_box_complaints(tab)]
    for theme in themes:
        tab.emulate_media(color_scheme=theme)
        complaints += [f"in the {theme}, {words}" for words in tab.evaluate(_CARDS)]


def _sideways(tab):
    needed, there = tab.evaluate(_WIDTH)
    return [f"is {needed} pixels wide in a window of {there}"] if needed > there else []


def _box_complaints(tab):
    """Judge the boxes, and do so again when the theme has had time to see to them."""
    if tab.evaluate(_BOXES):
        tab.evaluate(RELAID)
    return tab.evaluate(_BOXES)


def page_complaints(browser, paths):
    """Open pages one after the other and return, by path, what is wrong with each."""
    found = {}
    complaints = []
    for width, themes in ROUNDS:
        with watched_tab(browser, complaints) as tab:
            for path in paths:
                look_at(tab, complaints, path, width=width, themes=themes)
                if complaints:
                    found[path] = list(dict.fromkeys(found.get(path, []) + complaints))
                complaints.clear()
    return found
