"""Planning: what each layer of a model costs under each scheme. Measures; chooses nothing and makes no table."""
