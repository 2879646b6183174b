"""`python -m profiler` is the command `diffuscope`."""

from profiler.cli import main

if __name__ == "__main__":
    main()
