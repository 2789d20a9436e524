"""Live figures in a real browser: the slider, the finding, the picture where there is no script."""

import shutil
from importlib.metadata import distribution

import numpy as np
import pytest
from browser_checks import watched_tab
from page_checks import page_paths

from learnmech.compare import Axis, Curve, Frame, Points
from learnmech.compare.live import LiveFigure
from learnmech.compare.live_page import controls_html, numbers_html
from learnmech.compare.pairs import find_chapters

MARK = '<div class="lm-live"'
PLOTLY = "plotly/package_data/plotly.min.js"

needs_browser = pytest.mark.browser


def live_pages(pages):
    """Return every built page that has a live figure."""
    return [path for path in page_paths(pages) if MARK in path.read_text("utf-8")]


def test_every_chapter_has_one_live_figure(root, pages):
    counts = {
        files.slug: (pages / files.text.relative_to(root).with_suffix(".html"))
        .read_text("utf-8")
        .count(MARK)
        for files in find_chapters(root)
    }
    assert set(counts.values()) == {1}, counts


def test_only_pages_with_a_live_figure_load_its_script_and_none_names_plotly(pages):
    assert live_pages(pages)
    for path in page_paths(pages):
        text = path.read_text("utf-8")
        assert ("live.js" in text, "live.css" in text) == (MARK in text,) * 2, path
        assert "plotly.min.js" not in text, path


def test_plotly_is_the_copy_in_the_package(pages):
    source = distribution("plotly").locate_file(PLOTLY)
    assert (pages / "_static" / PLOTLY.replace("package_data/", "")).read_bytes() == (
        source.read_bytes()
    )


def test_picture_slider_caption_and_numbers_stand_in_this_order(pages):
    for path in live_pages(pages):
        text = path.read_text("utf-8")
        places = [text.index(MARK)]
        places.insert(0, text.rindex("<img", 0, places[0]))
        places.append(text.index("<figcaption", places[-1]))
        places.append(text.index("</figure>", places[-1]))
        places.append(text.index('<details class="lm-live-numbers"', places[-1]))
        assert "<figure" not in text[places[0] : places[-1]], path


# In the browser. Every check is a function of any page, which is also handed broken ones.


@pytest.fixture
def page(tiny, root):
    """A function that writes a page with a live figure of two knobs, and returns its path."""
    x = np.linspace(0.1, 1.0, 10)
    frames = [
        Frame(k, f"factor {k}", f"{rule}, {k}: off by 0.{k}.", [Curve(x, k * x)], [Points(x, y)], c)
        for c, rule in (("first", "Rule one"), ("second", "Rule two"))
        for k, y in ((1, x + 0.1), (2, 2 * x + 0.2), (3, np.stack([3 * x, 3 * x + 0.6])))
    ]
    live = LiveFigure("fig-t-f", "factor", frames, Axis("input"), Axis("output"), "rule").payload()

    def write(script=lambda text: text, plotly=True):
        body = (
            '<article class="bd-content"><figure class="lm-figure" id="fig-t-f">'
            f'<img id="picture" src="dot.svg" alt="All frames">{controls_html(live)}'
            f"<figcaption>Words.</figcaption></figure>{numbers_html(live)}</article>"
        )
        head = '<link rel="stylesheet" href="live.css"><script defer src="live.js"></script>'
        folder = tiny(head=head, body=body)
        static = root / "book" / "_static"
        shutil.copy(static / "live.css", folder)
        (folder / "live.js").write_text(script((static / "live.js").read_text("utf-8")))
        if plotly:
            (folder / "plotly").mkdir(exist_ok=True)
            shutil.copy(distribution("plotly").locate_file(PLOTLY), folder / "plotly")
        return folder / "index.html"

    return write


STATE = """figure => ({
    drawn: [...figure.querySelectorAll('.lm-live-plot .trace')].map(trace => trace.innerHTML)
        .join() + [...figure.querySelectorAll('.lm-live-plot .xtick')].length,
    axes: [...figure.querySelectorAll('.xtick, .ytick')].map(tick => tick.textContent).join(),
    finding: figure.querySelector('[role=status]').textContent,
    spoken: figure.querySelector('input').getAttribute('aria-valuetext'),
    focused: document.activeElement.type,
    picture: getComputedStyle(figure.querySelector('img')).display,
    ink: getComputedStyle(figure.querySelector('.lm-live')).color,
    line: getComputedStyle(figure.querySelector('.js-line') ?? figure).stroke,
    words: getComputedStyle(figure.querySelector('.xtick text') ?? figure).fill,
    points: getComputedStyle(figure.querySelector('.point') ?? figure).fill,
    wide: document.documentElement.scrollWidth > window.innerWidth,
})"""


def open_figure(tab, path, width=1400):
    """Open a page and bring its live figure into view, drawn."""
    tab.set_viewport_size({"width": width, "height": 900})
    tab.goto(path.as_uri())
    tab.evaluate("window.MathJax?.startup.promise.then(() => true)")  # formulas move what is below
    figure = tab.locator("figure:has(.lm-live)")
    figure.scroll_into_view_if_needed()
    figure.locator(".lm-live-plot .xtick").first.wait_for(timeout=60_000)
    return figure


def slider_complaints(figure):
    """Walk along the slider by keyboard and say what does not follow."""
    slider = figure.locator("input")
    slider.focus()
    states = [figure.evaluate(STATE)]
    for _ in range(int(slider.get_attribute("max"))):
        slider.press("ArrowRight")
        states.append(figure.evaluate(STATE))
    complaints = [
        f"{key} does not change along the slider"
        for key in ("drawn", "finding", "spoken")
        if len({state[key] for state in states}) < len(states)
    ]
    if len({state["axes"] for state in states}) > 1:
        complaints.append("the axes move along the slider")
    if any(state["focused"] != "range" for state in states):
        complaints.append("the keyboard cannot reach the slider")
    if any(state["picture"] != "none" for state in states):
        complaints.append("picture and plot are both shown")
    if any(state["wide"] for state in states):
        complaints.append("the page is wider than its window")
    return complaints


def _luminance(colour):
    channels = [int(part) / 255 for part in colour.split("(")[1].rstrip(")").split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(one, other):
    """Return the contrast of two colours as WCAG counts it, from 1 to 21."""
    low, high = sorted([_luminance(one), _luminance(other)])
    return (high + 0.05) / (low + 0.05)


@needs_browser
def test_the_slider_of_every_live_figure_works_by_keyboard_on_a_phone_from_disk(browser, pages):
    complaints = []
    with watched_tab(browser, complaints) as tab:
        for path in live_pages(pages):
            figure = open_figure(tab, path, 390)
            complaints += [f"{path.name}: {line}" for line in slider_complaints(figure)]
            tab.locator(".lm-live-numbers summary").click()
            if figure.evaluate(STATE)["wide"]:
                complaints.append(f"{path.name}: the numbers are wider than the page")
    assert complaints == []


@needs_browser
def test_lines_words_and_points_stand_out_in_both_themes(browser, pages):
    complaints = []
    with watched_tab(browser, complaints) as tab:
        for path in live_pages(pages):
            figure = open_figure(tab, path)
            for theme in ("light", "dark"):
                tab.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
                tab.wait_for_timeout(300)
                state = figure.evaluate(STATE)
                ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
                assert state["line"] == state["words"] == state["ink"]
                assert contrast(state["line"], ground) > 7, (path, theme, state, ground)
                assert contrast(state["points"], ground) > 3, (path, theme, state, ground)
    assert complaints == []


@needs_browser
def test_no_violation_of_accessibility_in_a_live_figure(browser, pages):
    from axe_playwright_python.sync_playwright import Axe

    complaints = []
    with watched_tab(browser, complaints) as tab:
        open_figure(tab, live_pages(pages)[0])
        tab.locator(".lm-live-numbers summary").click()
        found = Axe().run(
            tab,
            context={"include": [["figure:has(.lm-live)"], [".lm-live-numbers"]]},
            options={"preload": False},  # it would ask for style sheets, which disks refuse
        )
    assert [violation["id"] for violation in found.response["violations"]] == []
    assert complaints == []


@needs_browser
@pytest.mark.parametrize("path_to", ["built", "small"])
def test_without_scripts_the_picture_and_the_numbers_are_there(browser, pages, page, path_to):
    path = live_pages(pages)[0] if path_to == "built" else page()
    context = browser.new_context(java_script_enabled=False)
    try:
        tab = context.new_page()
        tab.goto(path.as_uri())
        figure = tab.locator("figure:has(.lm-live)")
        assert figure.locator("img").is_visible()
        assert not figure.locator(".lm-live").is_visible()
        numbers = tab.locator(".lm-live-numbers")
        numbers.locator("summary").click()
        assert numbers.locator("td").first.is_visible()
    finally:
        context.close()


# The same functions on a small page that is sound, and on some that are not.


@needs_browser
def test_a_second_knob_chooses_among_the_frames_and_the_keyboard_reaches_it(browser, page):
    complaints = []
    with watched_tab(browser, complaints) as tab:
        figure = open_figure(tab, page())
        assert slider_complaints(figure) == []
        assert figure.evaluate(STATE)["finding"] == "Rule one, 3: off by 0.3."
        figure.locator("select").focus()
        figure.locator("select").press("ArrowDown")
        after = figure.evaluate(STATE)
        assert (after["finding"], after["spoken"]) == ("Rule two, 3: off by 0.3.", "factor 3")
        assert figure.locator(".errorbars path").count() == 10
        assert tab.evaluate("Object.keys(window).filter(key => /live|slider/i.test(key))") == []
    assert complaints == []


@needs_browser
@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('addEventListener("input", show)', 'addEventListener("x", show)', "drawn does not change"),
        ("finding.textContent = frame.finding;", "", "finding does not change"),
        ('slider.setAttribute("aria-valuetext", frame.label);', "", "spoken does not change"),
        ("range: given", "other: given", "the axes move"),
        ('picture.classList.add("lm-live-replaced");', "", "picture and plot are both shown"),
        ("autosize: true,", "width: 700,", "the page is wider"),
        ('querySelector("input");', 'querySelector("input"); slider.disabled = true;', "keyboard"),
    ],
)
def test_a_slider_that_fails_is_caught(browser, page, old, new, complaint):
    def broken(text):
        assert old in text
        return text.replace(old, new)

    with watched_tab(browser, []) as tab:
        figure = open_figure(tab, page(broken), 390)
        assert any(complaint in line for line in slider_complaints(figure))


@needs_browser
def test_if_plotly_does_not_come_the_picture_stays(browser, page):
    complaints = []
    with watched_tab(browser, complaints) as tab:
        tab.goto(page(plotly=False).as_uri())
        tab.wait_for_timeout(500)
        assert tab.locator("#picture").is_visible()
        assert not tab.locator(".lm-live").is_visible()
    (complaint,) = complaints
    assert complaint.startswith("could not load file:")


@needs_browser
def test_on_paper_the_picture_stands_for_the_plot(browser, page):
    with watched_tab(browser, []) as tab:
        open_figure(tab, page())
        tab.emulate_media(media="print")
        assert tab.locator("#picture").is_visible()
        assert not tab.locator(".lm-live").is_visible()
        assert not tab.locator(".lm-live-numbers").is_visible()
