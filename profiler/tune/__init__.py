"""Searching the fastest correct kernel of every int8 product that a model issues."""
