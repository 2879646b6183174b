"""The error that torchao's autotuner catches."""


class OutOfResources(Exception):
    """More shared memory or registers than there are."""
