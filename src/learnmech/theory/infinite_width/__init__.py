"""Kernels of infinitely wide fully connected networks: of their outputs, and of their training."""

from learnmech.theory.infinite_width.kernels import InfiniteKernels, infinite_kernels

__all__ = ["InfiniteKernels", "infinite_kernels"]
