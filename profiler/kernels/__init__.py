"""Kernels that know no pipeline. May import torch at the top; imported only where a run needs them."""
