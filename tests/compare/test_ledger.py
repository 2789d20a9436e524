"""Ledgers: rounding, comparison across machines, and the rule about seeds."""

import copy

import pytest

from learnmech.compare.ledger import (
    Ledger,
    differences,
    load_ledger,
    load_ledgers,
    rounded,
    unmoved,
)
from learnmech.compare.scorecard import claim_words, ledger_table_html, totals, totals_words

CLAIM = {
    "id": "two", "statement": "It is <two>.", "technical_name": "", "sources": ["s"],
    "kind": "claim", "theory": 2.0, "measured": 2.02, "discrepancy": 0.01,
    "measure": "relative error", "tolerance": 0.02, "because": "why", "fitted_parameters": 0,
    "fed": "setting", "seeds": [0, 1], "verdict": "holds",
}  # fmt: skip


def ledger(*changes):
    entries = [{**copy.deepcopy(CLAIM), "id": f"two-{i}", **c} for i, c in enumerate(changes)]
    return Ledger("toy", "own", "Toy", tuple(entries))


def test_numbers_keep_six_digits_and_integers_stay_integers():
    assert rounded([1 / 3, 7, True, None, "x"]) == [0.333333, 7, True, None, "x"]
    with pytest.raises(ValueError, match="finite"):
        rounded(float("nan"))
    with pytest.raises(TypeError, match="set"):
        rounded({1.0, 2.0})


def test_a_ledger_reads_back_as_it_was_written(tmp_path):
    path = tmp_path / "toy.json"
    path.write_text(ledger({}).to_json(), encoding="utf-8")
    assert load_ledger(path) == ledger({})
    assert load_ledgers(tmp_path) == [ledger({})]


def test_a_broken_ledger_says_what_to_do(tmp_path):
    path = tmp_path / "toy.json"
    path.write_text("{")
    with pytest.raises(ValueError, match="regenerate it with 'learnmech run'"):
        load_ledger(path)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"discrepancy": 0.0100001}, 0),
        ({"discrepancy": 0.0105}, 0),
        ({"discrepancy": 0.0125}, 1),
        ({"measured": 2.0200001}, 0),
        ({"measured": 2.03}, 1),
        ({"tolerance": 0.03}, 1),
        ({"verdict": "fails"}, 1),
        ({"statement": "It is three."}, 1),
        ({"seeds": [0, 2]}, 1),
    ],
)
def test_words_agree_exactly_and_numbers_within_a_twentieth_of_the_tolerance(change, found):
    assert len(differences(ledger({}), ledger(change))) == found


def test_new_lost_and_reordered_entries_are_named():
    two = ledger({}, {})
    assert differences(two, ledger({})) == ["two-1 is gone"]
    assert differences(ledger({}), two) == ["two-1 is new"]
    turned = Ledger("toy", "own", "Toy", two.claims[::-1])
    assert differences(two, turned) == ["the entries stand in another order"]


def test_a_claim_about_random_things_must_move_with_the_seeds():
    assert unmoved(ledger({}), ledger({"measured": 2.01, "discrepancy": 0.005})) == []
    assert "nothing measured moves" in unmoved(ledger({}), ledger({}))[0]
    fixed = {"seeds": None}
    assert unmoved(ledger(fixed), ledger(fixed)) == []
    assert "names no seeds" in unmoved(ledger(fixed), ledger({**fixed, "measured": 2.01}))[0]


def test_totals_count_only_headline_grades_as_headline():
    book = [
        ledger(
            {},
            {"fed": "same run"},
            {"fitted_parameters": 1},
            {"verdict": "fails"},
            {"kind": "limit", "verdict": "breaks as predicted"},
            {"kind": "check"},
            {"kind": "observation", "verdict": "observed"},
        )
    ]
    count = totals(book)
    assert (count["claims"], count["claims_hold"], count["headline"]) == (4, 3, 1)
    assert (count["limits_met"], count["checks"], count["observations"]) == (1, 1, 1)
    assert totals_words(book).startswith("3 of 4 claims hold, 1 of them predicted from")


def test_words_about_margins():
    assert claim_words(CLAIM) == "0.01 ≤ 0.02"
    assert claim_words({**CLAIM, "verdict": "fails", "discrepancy": 0.3}) == "0.3 > 0.02"
    limit = {**CLAIM, "kind": "limit", "verdict": "breaks as predicted", "discrepancy": 0.3}
    assert claim_words(limit) == "0.3 > 0.02"


def test_the_table_is_escaped_and_links_its_sources():
    from learnmech.compare.bibliography import Source

    source = Source("s", "Saxe & al. (2014)", 'On "A"', "https://doi.org/1")
    html = ledger_table_html(ledger({}), {"s": source})
    assert "It is &lt;two&gt;." in html
    assert 'href="https://doi.org/1"' in html
    assert "Saxe &amp; al. (2014)" in html
    assert "<caption>" in html
