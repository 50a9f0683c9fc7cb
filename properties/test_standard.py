"""Conformance of every op that has no laws of its own: the checks that every op has."""
