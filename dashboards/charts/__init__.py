"""Figures: pure functions of frames and metrics. None reads a file, none knows a page."""
