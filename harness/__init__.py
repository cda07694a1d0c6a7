"""Hyperparameter studies of knowledge distillation on temporal knowledge graphs."""

__version__ = "0.1.0"
