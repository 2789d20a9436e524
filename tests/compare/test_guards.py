"""The rules that a notebook's code is held to, each broken on purpose."""

import pytest

from learnmech.compare.guards import notebook_problems

GOOD = [
    "from learnmech.practice.training import gradient_descent\n"
    "seeds = chapter.seeds(3)\n"
    "model = make(generator=chapter.generator(seeds[0]))",
    "curve = chapter.predict('curve', theory(model.weights), fed='initial state')",
    "runs = [gradient_descent(model, data) for _ in seeds]\n"
    "measured = np.stack([run.loss for run in runs])",
    "chapter.claim('c', 'C.', prediction='curve', measured=measured, seeds=seeds)",
]


def test_a_good_notebook_has_no_problems():
    assert notebook_problems(GOOD) == []


def test_a_prediction_after_its_training_is_refused():
    late = [GOOD[0], GOOD[2], GOOD[1], GOOD[3]]
    (problem,) = notebook_problems(late)
    assert "'curve' (code cell 3, line 1) stands after the training" in problem


def test_a_prediction_after_an_unrelated_training_is_fine():
    other = "first = gradient_descent(model, data)"
    assert notebook_problems([GOOD[0], other, *GOOD[1:]]) == []


@pytest.mark.parametrize(
    "leak",
    [
        "curve = chapter.predict('curve', theory(run.loss), fed='setting')",
        "x = run.loss[0]\ncurve = chapter.predict('curve', theory(x), fed='setting')",
        "for value in run.loss:\n    x = value\nchapter.predict('curve', x, fed='initial state')",
        "box = []\nbox.append(run)\nchapter.predict('curve', theory(box), fed='setting')",
        "table = {}\ntable['a'] = run\nchapter.predict('curve', theory(table), fed='setting')",
        "a, b = run\nchapter.predict('curve', b, fed='setting')",
        "with context() as c:\n    y = run.loss\nchapter.predict('curve', y, fed='setting')",
    ],
)
def test_a_prediction_fed_by_a_training_is_refused(leak):
    cells = [GOOD[0], "run = gradient_descent(model, data)", leak]
    (problem,) = notebook_problems(cells)
    assert "predicts 'curve' from the training in code cell 2" in problem


def test_claims_and_prints_do_not_make_later_predictions_look_measured():
    later = "print(measured)\nnext_one = chapter.predict('other', theory(2), fed='setting')"
    assert notebook_problems([*GOOD, later]) == []


def test_an_index_used_while_measuring_does_not_make_a_later_loop_look_measured():
    first = "for i, r in enumerate(rates):\n    measured[i] = gradient_descent(model, r).loss"
    again = (
        "p = chapter.predict('p', theory(2), fed='setting')\n"
        "for i, r in enumerate(rates):\n    other[i] = gradient_descent(model, r).loss\n"
        "chapter.claim('c', 'C.', prediction='p', measured=other)"
    )
    assert notebook_problems([GOOD[0], first, again]) == []


def test_a_counterfactual_run_may_feed_a_prediction_that_says_so():
    cells = [
        GOOD[0],
        "run = gradient_descent(model, data)",
        "chapter.predict('curve', run.loss, fed='counterfactual run')",
        *GOOD[2:],
    ]
    assert notebook_problems(cells) == []


@pytest.mark.parametrize(
    "training",
    [
        "def train():\n    loss.backward()\n    return w\nw = train()",
        "import learnmech.practice.training as t\nw = t.gradient_descent(model)",
        "from learnmech.practice import training\nw = training.gradient_descent(model)",
        "import learnmech\nw = learnmech.practice.training.gradient_descent(model)",
        "optimiser.step()\nw = optimiser.step()",
        "def cell(s):\n    loss.backward()\nw = sweep(cell, {'s': chapter.seeds(3)})",
        "def cell(s):\n    loss.backward()\nw = sweep(function=partial(cell, 1), grid=grid)",
        "def inner():\n    loss.backward()\ndef outer():\n    return inner()\nw = outer()",
    ],
)
def test_training_is_recognised_however_it_is_written(training):
    cells = [training, "chapter.predict('p', w, fed='setting')"]
    assert "a prediction uses nothing measured" in " ".join(notebook_problems(cells))


def test_an_unknown_prediction_is_refused():
    cells = [GOOD[0], GOOD[2], "chapter.claim('c', 'C.', prediction='lost', measured=measured)"]
    assert "no chapter.predict(...) above it" in notebook_problems(cells)[0]


def test_a_limit_and_its_predicted_failure_are_held_to_the_same_rule():
    cells = [
        *GOOD,
        "chapter.predict('f', g(1), fed='setting')\n"
        "chapter.limit('l', 'L.', prediction='curve', failure='f', measured=measured)",
    ]
    assert "the prediction 'f'" in notebook_problems(cells)[0]


@pytest.mark.parametrize(
    "line",
    [
        "torch.manual_seed(0)",
        "g = torch.Generator().manual_seed(7)",
        "rng = np.random.default_rng(1)",
        "rng = np.random.default_rng([1, 2])",
        "split(x, random_state=0)",
        "train(seed=3)",
        "train(seeds=[0, 1])",
        "seeds = [0, 1, 2]",
        "my_seed = 5",
        "seeds = range(3)",
        "g = chapter.generator(3)",
    ],
)
def test_a_literal_seed_is_refused(line):
    assert "literal" in notebook_problems([line])[0]


@pytest.mark.parametrize(
    "line",
    [
        "x = torch.randn(3)",
        "x = np.random.normal(size=3)",
        "x = numpy.random.rand(3)",
        "random.shuffle(x)",
        "torch.randperm(4)",
    ],
)
def test_the_global_random_state_is_refused(line):
    assert "global random state" in notebook_problems([line])[0]


@pytest.mark.parametrize(
    "line",
    [
        "x = torch.randn(3, generator=g)",
        "rng = chapter.rng(seed)",
        "seeds = chapter.seeds(5)",
        "train(seeds=seeds[:3])",
        "x = rng.normal(size=3)",
        "rng = np.random.default_rng(seed)",
    ],
)
def test_descended_randomness_is_fine(line):
    assert notebook_problems([line]) == []


def test_a_semicolon_and_broken_python_are_refused():
    assert "semicolon" in notebook_problems(["plt.plot(x);"])[0]
    assert "not Python" in notebook_problems(["x = = 1"])[0]
