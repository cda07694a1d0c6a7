"""Scores of many entities at once: compiled loops, exact order, candidates, and plain operations for stacks."""
