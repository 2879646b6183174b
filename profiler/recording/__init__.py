"""Recording a run: one context manager an artifact, composed by a session. May import torch, never polars."""
