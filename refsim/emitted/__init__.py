"""Recorded graphs written as source code."""
