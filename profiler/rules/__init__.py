"""Detectors: one file a rule. A rule reads metrics and yields findings; it never prints."""
