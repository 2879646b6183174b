"""The names that annotations of torchao's kernels need."""

constexpr = int
int32 = "int32"
