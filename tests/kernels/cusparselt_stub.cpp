// As much of cuSPARSELt as `profiler.kernels.cusparselt` calls, on host memory: it multiplies what the descriptors say, so that a
// wrong order, size or attribute gives a wrong result. Packed weights are in the layout of `two_of_four.pack`.
#include <cstdint>
#include <cstring>

struct Matrix {
    int64_t rows, cols, ld;
    int type, order, sparse;
};
struct Matmul {
    int operation_of_a, operation_of_b, sums, alpha_is_a_vector;
    Matrix a, b, c, d;
};
struct Selection {
    int algorithm;
};
struct Plan {
    Matmul matmul;
    int algorithm;
};

extern "C" {
int stub_version = 800, stub_inits = 0, stub_plans = 0, stub_products = 0, stub_algorithm = -1;
int stub_fail_plan = 0, stub_fail_product = 0, stub_wrong = 0;
int64_t stub_stream = 0;

int cusparseLtInit(void* handle) {
    ++stub_inits;
    std::memset(handle, 1, 512);
    return reinterpret_cast<uintptr_t>(handle) % 16 ? 3 : 0;
}
int cusparseLtGetVersion(const void*, int* version) {
    *version = stub_version;
    return 0;
}
int cusparseLtStructuredDescriptorInit(const void*, Matrix* out, int64_t rows, int64_t cols, int64_t ld, uint32_t, int type, int order, int) {
    *out = {rows, cols, ld, type, order, 1};
    return 0;
}
int cusparseLtDenseDescriptorInit(const void*, Matrix* out, int64_t rows, int64_t cols, int64_t ld, uint32_t, int type, int order) {
    *out = {rows, cols, ld, type, order, 0};
    return 0;
}
int cusparseLtMatmulDescriptorInit(const void*, Matmul* out, int op_a, int op_b, const Matrix* a, const Matrix* b, const Matrix* c,
                                   const Matrix* d, int sums) {
    *out = {op_a, op_b, sums, 0, *a, *b, *c, *d};
    return 0;
}
int cusparseLtMatmulDescSetAttribute(const void*, Matmul* matmul, int attribute, const int* value, size_t size) {
    if (attribute != 5 || size != 4) return 3;
    matmul->alpha_is_a_vector = *value;
    return 0;
}
int cusparseLtMatmulAlgSelectionInit(const void*, Selection* out, const Matmul*, int) {
    out->algorithm = 0;
    return 0;
}
int cusparseLtMatmulAlgSetAttribute(const void*, Selection* selection, int attribute, const int* value, size_t size) {
    if (attribute != 0 || size != 4) return 3;
    selection->algorithm = *value;
    return 0;
}
int cusparseLtMatmulPlanInit(const void*, Plan* plan, const Matmul* matmul, const Selection* selection) {
    ++stub_plans;
    plan->matmul = *matmul;
    plan->algorithm = selection->algorithm;
    return stub_fail_plan;
}
int cusparseLtMatmulGetWorkspace(const void*, const Plan* plan, size_t* size) {
    *size = plan->algorithm ? 256 : 0;
    return 0;
}

static size_t at(const Matrix& matrix, int64_t row, int64_t col) {
    return matrix.order == 2 ? row * matrix.ld + col : col * matrix.ld + row;
}

static uint16_t bf16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

int cusparseLtMatmul(const void*, const Plan* plan, const float* alpha, const int8_t* a, const int8_t* b, const float* beta, const void*,
                     uint16_t* d, int8_t* workspace, void** streams, int32_t count) {
    const Matmul& on = plan->matmul;
    if (stub_fail_product) return stub_fail_product;
    if (count != 1 || *beta != 0 || !on.a.sparse || on.a.type != 3 || on.b.type != 3 || on.d.type != 14 || on.sums != 0) return 3;
    if (on.a.order != 2 || on.operation_of_a != 0 || on.c.ld != on.d.ld || (workspace == nullptr) != (plan->algorithm == 0)) return 3;
    if (workspace) std::memset(workspace, 0, 256);
    ++stub_products;
    stub_algorithm = plan->algorithm;
    stub_stream = reinterpret_cast<int64_t>(*streams);
    const int64_t m = on.a.rows, k = on.a.cols, n = on.d.cols;
    static int8_t dense[1 << 16];
    if (m * k > 1 << 16) return 3;
    std::memset(dense, 0, m * k);
    const uint8_t* places = reinterpret_cast<const uint8_t*>(a) + m * k / 2;
    for (int64_t four = 0; four < m * k / 4; ++four) {
        const int nibble = places[four / 2] >> (four % 2 * 4) & 15;
        // In the order of their places: a zero that fills up must not hide what came before it.
        dense[four * 4 + (nibble & 3)] = a[four * 2];
        dense[four * 4 + (nibble >> 2)] = a[four * 2 + 1];
    }
    for (int64_t row = 0; row < m; ++row)
        for (int64_t col = 0; col < n; ++col) {
            int32_t sum = 0;
            for (int64_t i = 0; i < k; ++i) sum += dense[row * k + i] * b[on.operation_of_b ? at(on.b, col, i) : at(on.b, i, col)];
            const float scaled = static_cast<float>(sum) * alpha[on.alpha_is_a_vector ? row : 0];
            d[at(on.d, row, col)] = bf16(stub_wrong ? scaled + 1 : scaled);
        }
    return 0;
}
}
