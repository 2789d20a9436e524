"""What axe-core says of pages: names, roles, landmarks, headings, contrast.

:func:`page_violations` judges pages with every fold opened and returns a sentence for each
violation, but for those of the moderate and minor rules that stand in :data:`ACCEPTED`.
"""

from axe_playwright_python.base import AXE_SCRIPT
from browser_checks import PHONE, RELAID, THEMES, UNFOLD, open_page, watched_tab

# Moderate and minor rules that pages may break: the name of the rule, and why that is no loss.
ACCEPTED: dict[str, str] = {}
BLOCKING = ("serious", "critical")
# What depends on the theme; all else is the same page in the dark as in the light.
COLOURS = ("color-contrast", "link-in-text-block")
# What a narrow window may add, where boxes scroll and other buttons are shown.
NARROW = (
    "aria-hidden-focus",
    "button-name",
    "label",
    "link-name",
    "scrollable-region-focusable",
    "target-size",
)
# The whole side bar has to lie in the window, or its contrast cannot be measured.
_HEIGHT = 2600

# Takes away what no rule looks into, which is most of a chapter: the glyphs of formulas, drawn from
# style sheets in the colour of the text around them; the parts of their MathML; and of the words
# of code all but one of each kind on each ground. Folds must not be caught half open.
_PREPARE = """() => {
    const still = document.createElement('style');
    still.textContent = '* { transition: none !important; animation: none !important; }';
    document.head.append(still);
    for (const glyphs of document.querySelectorAll('mjx-container > mjx-math')) glyphs.remove();
    for (const formula of document.querySelectorAll('mjx-assistive-mml > math'))
        formula.textContent = formula.textContent;
    const seen = new Set(), again = [];
    for (const code of document.querySelectorAll('.highlight pre')) {
        const grounds = [];
        for (let e = code; e; e = e.parentElement) grounds.push(e.className);
        for (const word of code.querySelectorAll('span:not([id])')) {
            const kind = [word.className, ...grounds].join('/');
            if (seen.has(kind)) again.push(word); else seen.add(kind);
        }
    }
    for (const word of again) word.replaceWith(...word.childNodes);
}"""
# Contrast is slow to measure, so that what looks alike on the same ground is measured once: here
# one element of each look is marked.
_MARK_LOOKS = """() => {
    const seen = new Set(), styles = new Map();
    const style = e => styles.get(e) ?? styles.set(e, getComputedStyle(e)).get(e);
    const clear = 'rgba(0, 0, 0, 0)';
    const grounds = new Map();
    const ground = e => {
        if (!e) return '';
        if (!grounds.has(e)) {
            const {backgroundColor, backgroundImage, opacity} = style(e);
            const own = backgroundColor === clear && backgroundImage === 'none' && opacity === '1';
            grounds.set(e, own ? ground(e.parentElement)
                : [backgroundColor, backgroundImage, opacity, ground(e.parentElement)].join('/'));
        }
        return grounds.get(e);
    };
    for (const marked of document.querySelectorAll('[data-look]')) delete marked.dataset.look;
    const chosen = [];
    for (const e of document.body.querySelectorAll(':not(mjx-container *, script, style)')) {
        const words = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
        if (!(words || e.matches('input')) || !e.checkVisibility()) continue;
        const {color, fontSize, fontWeight, textDecorationLine, textShadow} = style(e);
        const look = [ground(e), color, fontSize, fontWeight, textDecorationLine, textShadow,
            e.localName === 'a' && style(e.parentElement).color].join();
        if (!seen.has(look)) chosen.push(e);
        seen.add(look);
    }
    for (const e of chosen) e.dataset.look = '';
}"""
_LOOKS = {"include": [["[data-look]"]]}
_RUN = """([context, options]) => axe.run(context ?? document,
    {resultTypes: ['violations', 'incomplete'], ...options})"""


def load_axe(tab):
    """Make an open page ready to be judged: every fold opened, and axe-core in it."""
    tab.evaluate(UNFOLD)
    tab.evaluate(_PREPARE)
    tab.evaluate(AXE_SCRIPT)


def structure_complaints(tab):
    """Run every rule but contrast over the whole page in a tab."""
    rules = {"color-contrast": {"enabled": False}}
    return _violations(tab.evaluate(_RUN, [None, {"rules": rules}]))


def narrow_complaints(tab):
    """Run the rules that may break in a narrow window only."""
    return _violations(tab.evaluate(_RUN, [None, {"runOnly": list(NARROW)}]))


def colour_complaints(tab):
    """Measure contrast on one element of each look; what cannot be measured is a complaint."""
    tab.evaluate(_MARK_LOOKS)
    results = tab.evaluate(_RUN, [_LOOKS, {"runOnly": list(COLOURS)}])
    return [*_violations(results), *_unmeasured(results)]


def _violations(results):
    found = []
    for violation in results["violations"]:
        rule, impact = violation["id"], violation["impact"]
        if impact in BLOCKING or rule not in ACCEPTED:
            places = "; ".join(_place(node) for node in violation["nodes"][:3])
            found.append(f"{rule} ({impact}), {len(violation['nodes'])} times: {places}")
    return found


def _place(node):
    reasons = [check["message"] for kind in ("any", "all", "none") for check in node[kind]]
    return f"{' '.join(map(str, node['target']))} [{' '.join(reasons)}]"


def _unmeasured(results):
    """Yield where contrast was not measured, but for what lies out of sight in a scrolling box."""
    for rule in results["incomplete"]:
        for node in rule["nodes"] if rule["id"] == "color-contrast" else ():
            if "partially obscured" not in _place(node):
                yield f"{rule['id']} could not be measured: {_place(node)}"


def violations_on(tab, path):
    """Judge one page: all rules, colours in the light and in the dark, and a narrow window."""
    open_page(tab, path, height=_HEIGHT)
    load_axe(tab)
    found = structure_complaints(tab)
    for theme in THEMES:
        tab.emulate_media(color_scheme=theme)
        found += [f"in the {theme}: {line}" for line in colour_complaints(tab)]
    tab.set_viewport_size({"width": PHONE, "height": _HEIGHT})
    if narrow := narrow_complaints(tab):
        tab.evaluate(RELAID)
        narrow = narrow_complaints(tab)
    found += [f"at {PHONE} pixels: {line}" for line in narrow]
    return list(dict.fromkeys(found))


def page_violations(browser, paths):
    """Judge pages one after the other and return, by path, what is wrong with each."""
    with watched_tab(browser, []) as tab:
        return {path: lines for path in paths if (lines := violations_on(tab, path))}
