"""One parser an artifact, into frames: columns are named in `schema`, opened through `run.Run`."""
