"""Compile modes: one file a mode."""
