// The entry points that adapter.py calls. Each returns null, or what went wrong. g++ compiles this for the CPU, nvcc for a GPU.
#ifdef __CUDACC__
#include "on_gpu.cuh"
#else
#include "on_cpu.h"
#endif

#include "kernels.cuh"

namespace {

constexpr unsigned THREADS = 256;

unsigned blocks(int64_t n) {
    const int64_t whole = (n + THREADS - 1) / THREADS;
    return static_cast<unsigned>(whole < 65535 ? whole : 65535);  // the kernels stride over the rest
}

bool is_ibert(int64_t dialect) {
    return dialect == static_cast<int64_t>(Dialect::ibert);
}

// The constants of a call, on the device as long as it lasts.
struct Gelu {
    Device<const int64_t> q_b, q_c, q_1;
    GeluConstants constants;
    Gelu(const int64_t *b, const int64_t *c, const int64_t *one, int64_t count)
        : q_b(b, count), q_c(c, count), q_1(one, count), constants{q_b.data(), q_c.data(), q_1.data(), count} {}
};

struct Dyadic {
    Device<const int64_t> multiplier, shift;
    DyadicConstants constants;
    Dyadic(const int64_t *m, const int64_t *e, int64_t count, int64_t zero_point, int64_t lo, int64_t hi)
        : multiplier(m, count), shift(e, count), constants{multiplier.data(), shift.data(), count, zero_point, lo, hi} {}
};

template <class Narrow>
const char *gelu_requantize(int64_t dialect, const int32_t *q, int64_t n, const Gelu &gelu, const Dyadic &dyadic, Narrow *out) {
    Device<const int32_t> in(q, n);
    Device<Narrow> result(out, n);
    launch_independent(is_ibert(dialect) ? i_gelu_requantize_kernel<Dialect::ibert, Narrow> : i_gelu_requantize_kernel<Dialect::paper, Narrow>,
                       blocks(n), THREADS, in.data(), n, gelu.constants, dyadic.constants, result.data());
    result.fetch();
    return finish();
}

}  // namespace

extern "C" {

// The order in which the CPU runs threads and blocks. A GPU has its own.
void set_reversed(int64_t reversed) {
#ifdef __CUDACC__
    static_cast<void>(reversed);
#else
    on_cpu::reversed = reversed != 0;
#endif
}

const char *i_gelu(int64_t dialect, const int32_t *q, int64_t n, const int64_t *q_b, const int64_t *q_c, const int64_t *q_1,
                   int64_t count, int64_t *out) {
    Gelu gelu(q_b, q_c, q_1, count);
    Device<const int32_t> in(q, n);
    Device<int64_t> result(out, n);
    launch_independent(is_ibert(dialect) ? i_gelu_kernel<Dialect::ibert> : i_gelu_kernel<Dialect::paper>, blocks(n), THREADS, in.data(), n,
                       gelu.constants, result.data());
    result.fetch();
    return finish();
}

const char *requantize(const int64_t *z, int64_t n, const int64_t *multiplier, const int64_t *shift, int64_t count,
                       int64_t zero_point, int64_t lo, int64_t hi, int64_t *out) {
    Dyadic dyadic(multiplier, shift, count, zero_point, lo, hi);
    Device<const int64_t> in(z, n);
    Device<int64_t> result(out, n);
    launch_independent(requantize_kernel, blocks(n), THREADS, in.data(), n, dyadic.constants, result.data());
    result.fetch();
    return finish();
}

const char *i_gelu_requantize(int64_t dialect, const int32_t *q, int64_t n, const int64_t *q_b, const int64_t *q_c, const int64_t *q_1,
                              int64_t count, const int64_t *multiplier, const int64_t *shift, int64_t count_out, int64_t zero_point,
                              int64_t lo, int64_t hi, int64_t bytes, void *out) {
    Gelu gelu(q_b, q_c, q_1, count);
    Dyadic dyadic(multiplier, shift, count_out, zero_point, lo, hi);
    if (bytes == 1) return gelu_requantize(dialect, q, n, gelu, dyadic, static_cast<int8_t *>(out));
    return gelu_requantize(dialect, q, n, gelu, dyadic, static_cast<int64_t *>(out));
}

const char *i_exp(int64_t dialect, const int32_t *q, int64_t n, int64_t ln2, int64_t q_b, int64_t q_c, int64_t *out) {
    Device<const int32_t> in(q, n);
    Device<int64_t> result(out, n);
    launch_independent(is_ibert(dialect) ? i_exp_kernel<Dialect::ibert> : i_exp_kernel<Dialect::paper>, blocks(n), THREADS, in.data(), n,
                       ExpConstants{ln2, q_b, q_c}, result.data());
    result.fetch();
    return finish();
}

const char *i_sqrt(const int64_t *n, int64_t count, int64_t *out) {
    Device<const int64_t> in(n, count);
    Device<int64_t> result(out, count);
    launch_independent(i_sqrt_kernel, blocks(count), THREADS, in.data(), count, result.data());
    result.fetch();
    return finish();
}

const char *i_softmax(int64_t dialect, const int32_t *q, const uint8_t *mask, int64_t rows, int64_t length, int64_t ln2, int64_t q_b,
                      int64_t q_c, int64_t multiplier, int64_t shift, int64_t bits, int64_t *out) {
    if (length > MAX_LENGTH) return "a row of more than 4096 elements";
    Device<const int32_t> in(q, rows * length);
    Device<const uint8_t> keep(mask, rows * length);
    Device<int64_t> result(out, rows * length);
    const unsigned warps = static_cast<unsigned>((length + 31) / 32), threads = 32 * (warps < THREADS / 32 ? warps : THREADS / 32);
    launch(is_ibert(dialect) ? i_softmax_kernel<Dialect::ibert> : i_softmax_kernel<Dialect::paper>, static_cast<unsigned>(rows), threads,
           in.data(), keep.data(), static_cast<int>(length), SoftmaxConstants{{ln2, q_b, q_c}, multiplier, shift, bits}, result.data());
    result.fetch();
    return finish();
}

}  // extern "C"
