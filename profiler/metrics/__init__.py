"""Pure functions from a run to frames: nothing here draws or prints."""
