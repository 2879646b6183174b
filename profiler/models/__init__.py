"""Pipelines that can be recorded: one file a family."""
