"""Data sets by name: real, generated or downloaded, each with its scaling stated.

Everything but "mnist", "fashion-mnist" and "cifar-10" works offline; those three are downloaded
once, checked by their sha256 and kept. See `load` for all names and their settings.
"""

from learnmech.practice.data.corpus import Corpus
from learnmech.practice.data.dataset import Dataset, split
from learnmech.practice.data.download import DownloadError
from learnmech.practice.data.linear import orthonormal
from learnmech.practice.data.loading import load

__all__ = ["Corpus", "Dataset", "DownloadError", "load", "orthonormal", "split"]
