"""Planted faults: one small file each, with what must be found and the fix."""
