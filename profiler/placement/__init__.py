"""Where a pipeline's weights lie while it runs, one file an offload; and the tiles and slices of its VAE."""
