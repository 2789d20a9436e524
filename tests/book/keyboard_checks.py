"""What a page must give to readers who have a keyboard and no mouse.

:func:`walk` presses Tab from the top of a page to its end and says what was reached, and
:func:`keyboard_complaints` what was not, or not visibly.
"""

from dataclasses import dataclass

# All that can be used or scrolled, as far as it can be seen. What is disabled has nothing to
# give, and a box that scrolls may hold something that takes the keyboard in its place.
_WATCH = """() => {
    const controls = 'a[href], button, summary, input, select, textarea, [role=button], [onclick]';
    const shown = e => e.checkVisibility({visibilityProperty: true}) && e.getClientRects().length;
    const wanted = [...document.querySelectorAll(controls)].filter(e => !e.disabled && shown(e));
    for (const e of document.querySelectorAll('main pre, main .math, main .lm-verdicts')) {
        const scrolls = ['auto', 'scroll'].includes(getComputedStyle(e).overflowX);
        const holds = e.querySelector('[tabindex="0"], a[href]');
        if (scrolls && shown(e) && e.scrollWidth > e.clientWidth + 1 && !holds) wanted.push(e);
    }
    const ring = e => {
        const {outlineStyle, outlineWidth, boxShadow} = getComputedStyle(e);
        return [outlineStyle !== 'none' && parseFloat(outlineWidth) > 0, boxShadow];
    };
    const faint = e => e && (parseFloat(getComputedStyle(e).opacity) < 0.5 ||
        faint(e.parentElement));
    const before = new Map(wanted.map(e => [e, ring(e)[1]]));
    window.walk = {wanted, reached: new Set(), unseen: new Set()};
    document.addEventListener('focusin', event => {
        const e = event.target, [outlined, shadow] = ring(e);
        window.walk.reached.add(e);
        const marked = outlined || (before.has(e) && shadow !== before.get(e));
        if (!marked || faint(e)) window.walk.unseen.add(e);
    });
    document.activeElement?.blur();
    window.scrollTo(0, 0);
    return wanted.length + document.querySelectorAll('[tabindex="0"]').length;
}"""
_RESULT = """() => {
    const name = e => {
        const words = (e.getAttribute('aria-label') || e.title || e.textContent || e.name || '');
        return `${[e.localName, ...e.classList].join('.')} "${words.trim().slice(0, 40)}"`;
    };
    const {wanted, reached, unseen} = window.walk;
    return {
        reached: [...reached].map(name),
        missed: wanted.filter(e => !reached.has(e)).map(name),
        unseen: [...unseen].map(name),
    };
}"""
_STILL = "* { transition: none !important; animation: none !important; }"


@dataclass(frozen=True)
class Walk:
    """What a walk through a page by the Tab key alone came upon, named by tag, class and words."""

    reached: list[str]  # in the order in which it was reached
    missed: list[str]  # what can be used or scrolled and was not reached
    unseen: list[str]  # what was reached without a mark that shows it


def walk(tab):
    """Press Tab until every place of an open page has had its turn."""
    tab.add_style_tag(content=_STILL)
    places = tab.evaluate(_WATCH)
    for _ in range(places + 2):
        tab.keyboard.press("Tab")
    return Walk(**tab.evaluate(_RESULT))


def keyboard_complaints(tab):
    """Walk through an open page and say what no key reaches, and where nobody sees it."""
    found = walk(tab)
    return [f"no key reaches {name}" for name in found.missed] + [
        f"nothing shows that the keyboard is at {name}" for name in found.unseen
    ]
