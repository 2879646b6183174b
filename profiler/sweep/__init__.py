"""Running a grid of recordings: the cells, their order, their folder, and the executors that run them. Makes no table."""
