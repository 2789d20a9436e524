"""Predictions of deep-learning theory, measurements of real training, and verdicts.

The package has three wings that never reach into each other, and one room they share:

* ``learnmech.theory``: what should happen (closed forms, ODEs, fixed points; NumPy, float64);
* ``learnmech.practice``: what does happen (data, networks, training, instruments; PyTorch);
* ``learnmech.compare``: how the two are held together (chapters, claims, figures, verdicts);
* ``learnmech.numerics``: what all three need and none owns (fits with standard errors).

Beside them stands ``learnmech.teaching``: exercises that check their answers, and editions.

A prediction and a measurement meet in a notebook, and nowhere else.
"""

__version__ = "0.1.0"
