"""Quantization schemes: one file a scheme, each with its layer policy."""
