"""Layers without state: what each computes at prediction time."""

from .base import Layer as Layer
