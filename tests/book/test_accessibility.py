"""The built pages as axe-core judges them, and pages that break its rules on purpose."""

import accessibility_checks
import pytest
from accessibility_checks import page_violations
from page_checks import page_paths, read_page

pytestmark = pytest.mark.browser

FIGURE = '<svg width="9" height="9"><path d="M0 0h9v9z"/></svg>'


def _violations(browser, folder):
    return page_violations(browser, [folder / "index.html"]).get(folder / "index.html", [])


def test_no_page_has_a_violation_of_accessibility(browser, pages):
    paths = [path for path in page_paths(pages) if not read_page(path).forwards]
    assert page_violations(browser, paths) == {}


def test_only_what_is_moderate_or_minor_may_be_accepted_and_says_why():
    serious = set(accessibility_checks.COLOURS) | set(accessibility_checks.NARROW)
    for rule, reason in accessibility_checks.ACCEPTED.items():
        assert rule not in serious
        assert len(reason.split()) > 4, f"say why '{rule}' is no loss"


# The same function on small pages in which one thing is wrong on purpose.


def test_a_sound_page_has_no_violations(browser, tiny):
    assert _violations(browser, tiny()) == []


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ('<img src="dot.svg">', "image-alt (critical)"),
        ("<button></button>", "button-name (critical)"),
        (f"<button>{FIGURE}</button>", "button-name (critical)"),
        ('<a href="other.html"></a>', "link-name (serious)"),
        ('<input type="range">', "label (critical)"),
        ('<div role="list"><p>no item</p></div>', "aria-required-children (critical)"),
        ('<p style="color: #999">Faint words.</p>', "color-contrast (serious)"),
        ("<h4>A heading that skips two levels</h4>", "heading-order (moderate)"),
        ("<main>A second main part</main>", "landmark-no-duplicate-main (moderate)"),
        (
            '<details><summary>More</summary><p style="color: #999">Faint.</p></details>',
            "color-contrast (serious)",
        ),
    ],
)
def test_what_breaks_a_rule_is_caught(browser, tiny, body, rule):
    assert any(rule in line for line in _violations(browser, tiny(body=body)))


def test_low_contrast_that_only_the_dark_has_is_caught(browser, tiny):
    css = "@media (prefers-color-scheme: dark) { body { background: #121212 } }"
    found = _violations(browser, tiny(css=css))
    assert found
    assert all(line.startswith("in the dark: color-contrast (serious)") for line in found)


def test_of_many_words_that_look_alike_the_one_on_another_ground_is_measured(browser, tiny):
    body = "<p>black on white</p>" * 5 + '<p style="background: #333">black on grey</p>'
    found = _violations(browser, tiny(body=body))
    assert found
    assert all("color-contrast" in line for line in found)


def test_of_the_words_of_code_one_of_each_kind_is_measured(browser, tiny):
    css = ".k { color: #000 } .c { color: #aaa }"
    code = '<span class="k">def</span> ' * 5 + '<span class="c"># faint</span>'
    body = f'<div class="highlight"><pre tabindex="0">{code}</pre></div>'
    found = _violations(browser, tiny(body=body, css=css))
    assert found
    assert all("color-contrast" in line and ".c" in line for line in found)


def test_contrast_that_cannot_be_measured_is_a_complaint(browser, tiny):
    body = '<p style="background: linear-gradient(#fff, #777)">On a gradient.</p>'
    found = _violations(browser, tiny(body=body))
    assert found
    assert all("color-contrast could not be measured" in line for line in found)


def test_a_button_without_a_name_that_only_a_phone_shows_is_caught(browser, tiny):
    css = ".phone { display: none } @media (max-width: 600px) { .phone { display: block } }"
    (found,) = _violations(browser, tiny(body='<button class="phone"></button>', css=css))
    assert found.startswith("at 390 pixels: button-name (critical)")


@pytest.mark.parametrize(
    ("rule", "body", "left"),
    [
        ("heading-order", "<h4>A heading that skips two levels</h4>", False),
        ("button-name", "<button></button>", True),
    ],
)
def test_a_moderate_rule_can_be_accepted_and_a_critical_one_cannot(
    browser, tiny, monkeypatch, *, rule, body, left
):
    monkeypatch.setitem(accessibility_checks.ACCEPTED, rule, "because this test says so here")
    assert bool(_violations(browser, tiny(body=body))) is left
