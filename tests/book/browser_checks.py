"""What must be true of pages in a real browser, opened from disk with no network.

:func:`page_complaints` opens any page and returns a sentence for each thing that is wrong, so the
same function judges the built book and pages in which something is wrong on purpose.
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
WIDTHS = (1400, 390)
LOCAL = ("file:", "data:", "blob:", "about:")
MILLISECONDS = 20_000

_TYPESET = """async () => {
    const formulas = [...document.querySelectorAll('.math')];
    if (formulas.length && window.MathJax?.startup?.promise) await MathJax.startup.promise;
    await document.fonts.ready;
    return {
        plain: formulas.filter(f => !f.querySelector('mjx-container')).map(f => f.textContent),
        wrong: formulas.filter(f => f.querySelector('merror, mjx-merror, [data-mml-node=merror]'))
            .map(f => f.textContent),
    };
}"""
_WIDTH = "() => [document.documentElement.scrollWidth, window.innerWidth]"


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
    context = browser.new_context()
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


def look_at(tab, complaints, path):
    """Open one page in a watched tab and add what is wrong with it to ``complaints``."""
    tab.set_viewport_size({"width": WIDTHS[0], "height": 900})
    tab.goto(path.as_uri(), wait_until="load")
    formulas = tab.evaluate(_TYPESET)
    complaints += [f"a formula is not typeset: {words[:80]}" for words in formulas["plain"]]
    complaints += [f"a formula has an error: {words[:80]}" for words in formulas["wrong"]]
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 900})
        needed, there = tab.evaluate(_WIDTH)
        if needed > there:
            complaints.append(f"is {needed} pixels wide in a window of {there}")


def page_complaints(browser, paths):
    """Open pages one after the other and return, by path, what is wrong with each."""
    found = {}
    complaints = []
    with watched_tab(browser, complaints) as tab:
        for path in paths:
            look_at(tab, complaints, path)
            if complaints:
                found[path] = list(complaints)
            complaints.clear()
    return found
