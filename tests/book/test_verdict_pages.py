"""What pages take from ledgers: numbers and counts by name, and a warning where there is none."""

import pytest
from verdict_pages import ledger_number, tally

from learnmech.compare.ledger import Ledger

ENTRIES = (
    {"id": "meets", "kind": "claim", "fed": "setting", "fitted_parameters": 0, "verdict": "holds",
     "theory": 2.0, "measured": "_figures/toy/line.json", "discrepancy": 0.0123},
    {"id": "stops", "kind": "limit", "fed": "setting", "fitted_parameters": 0,
     "verdict": "breaks as predicted", "discrepancies": [0.1, 0.5, 4.0]},
)  # fmt: skip
LEDGERS = [
    Ledger("toy", "simple-laws", "Toy", ENTRIES),
    Ledger("twin", "hyperparameters", "Twin", ENTRIES[:1]),
]

RECORD = {
    "robustness": {
        "offsets": list(range(20)),
        "claims": {
            "toy": {"meets": {"held": 19, "of": 20}, "stops": {"held": 18, "of": 20}},
            "twin": {"meets": {"held": 20, "of": 20}},
        },
    }
}


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("toy meets theory", "2"),
        ("toy meets discrepancy", "0.0123"),
        ("toy meets discrepancy %", "1.2 %"),
        ("toy stops discrepancies first", "0.1"),
        ("toy stops discrepancies last", "4"),
    ],
)
def test_a_number_is_taken_from_the_ledger(words, shown):
    assert ledger_number(LEDGERS, RECORD, words) == shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("toy meets", "say chapter, claim and field"),
        ("tpy meets theory", "no chapter or pillar with a ledger is called 'tpy'"),
        ("toy meet theory", "'toy' has no claim 'meet'; it has meets, stops"),
        ("toy meets theorie", "is no number: None"),
        ("toy meets measured", "is no number: '_figures"),
        ("toy stops discrepancies", "is no number: "),
        ("toy meets theory percent", "only 'first', 'last' and '%' may stand"),
    ],
)
def test_what_is_not_in_the_ledger_is_said_in_a_sentence(words, message):
    with pytest.raises(ValueError, match=message):
        ledger_number(LEDGERS, RECORD, words)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("claims_hold", "2"),
        ("chapters", "2"),
        ("limits of toy", "1"),
        ("limits of hyperparameters", "0"),
        ("headline of simple-laws", "1"),
        ("seed_sets", "20"),
        ("tried", "3"),
        ("robust", "2"),
    ],
)
def test_counts_are_of_the_book_a_pillar_or_a_chapter(words, shown):
    assert tally(LEDGERS, RECORD, words) == shown


@pytest.mark.parametrize(
    ("words", "message"),
    [("clams", "no count 'clams'; there are"), ("claims of tpy", "is called 'tpy'")],
)
def test_a_count_that_is_not_there_is_said_in_a_sentence(words, message):
    with pytest.raises(ValueError, match=message):
        tally(LEDGERS, RECORD, words)
