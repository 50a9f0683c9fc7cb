// Entry points of the kernels whose threads never meet. `channels` is 1, or the length of the last axis.
#include "host.h"

#include "elementwise.cuh"

// The plan of a residual add, as adapter.py lays it out. Named by signatures of entry points, so not in the unnamed namespace:
// nvcc, unlike g++, would then keep these functions to the library itself.
struct AddArguments {
    const int64_t *multiplier, *shift;
    int64_t count;
    const int64_t *multiplier_residual, *shift_residual;
    int64_t count_residual, lo, hi;
};

namespace {

template <class In, class Function>
const char *map(const In *in, int64_t n, int64_t channels, Function function, const HostRequantizer *rule, void *out) {
    Device<const In> q(in, n);
    return storing<int64_t>(rule, out, n, [&](auto store) {
        launch_independent(map_kernel<In, Function, decltype(store)>, blocks_of(n), THREADS, q.data(), n, channels, function, store);
    });
}

// The same on the device.
struct HostAdder {
    HostConstant<> multiplier, shift, multiplier_residual, shift_residual;
    int64_t lo, hi;
    HostAdder(const AddArguments &a)
        : multiplier(a.multiplier, a.count), shift(a.shift, a.count), multiplier_residual(a.multiplier_residual, a.count_residual),
          shift_residual(a.shift_residual, a.count_residual), lo(a.lo), hi(a.hi) {}
    Adder get() const { return {multiplier.get(), shift.get(), multiplier_residual.get(), shift_residual.get(), lo, hi}; }
};

template <class In>
const char *add(const In *q, const In *residual, int64_t n, int64_t channels, const AddArguments &arguments, int32_t *out) {
    HostAdder adder(arguments);
    Device<const In> a(q, n), b(residual, n);
    Device<int32_t> result(out, n);
    launch_independent(residual_add_kernel<In>, blocks_of(n), THREADS, a.data(), b.data(), n, channels, adder.get(), result.data());
    result.fetch();
    return finish();
}

}  // namespace

extern "C" {

const char *requantize32(const int32_t *q, int64_t n, int64_t channels, const HostRequantizer *rule, void *out) {
    return map(q, n, channels, Same{}, rule, out);
}

const char *requantize64(const int64_t *q, int64_t n, int64_t channels, const HostRequantizer *rule, void *out) {
    return map(q, n, channels, Same{}, rule, out);
}

const char *i_poly(const int32_t *q, int64_t n, int64_t channels, const int64_t *q_b, const int64_t *q_c, int64_t count, int64_t *out) {
    HostConstant<> b(q_b, count), c(q_c, count);
    return map(q, n, channels, Poly{b.get(), c.get()}, nullptr, out);
}

const char *i_erf(int64_t dialect, const int32_t *q, int64_t n, int64_t channels, const int64_t *q_b, const int64_t *q_c, int64_t count,
                  int64_t *out) {
    HostConstant<> b(q_b, count), c(q_c, count);
    if (is_ibert(dialect)) return map(q, n, channels, Erf<Dialect::ibert>{b.get(), c.get()}, nullptr, out);
    return map(q, n, channels, Erf<Dialect::paper>{b.get(), c.get()}, nullptr, out);
}

const char *i_gelu(int64_t dialect, const int32_t *q, int64_t n, int64_t channels, const int64_t *q_b, const int64_t *q_c,
                   const int64_t *q_1, int64_t count, const HostRequantizer *rule, void *out) {
    HostConstant<> b(q_b, count), c(q_c, count), one(q_1, count);
    if (is_ibert(dialect)) return map(q, n, channels, Gelu<Dialect::ibert>{{b.get(), c.get()}, one.get()}, rule, out);
    return map(q, n, channels, Gelu<Dialect::paper>{{b.get(), c.get()}, one.get()}, rule, out);
}

const char *i_exp(int64_t dialect, const int32_t *q, int64_t n, int64_t ln2, int64_t q_b, int64_t q_c, int64_t *out) {
    if (is_ibert(dialect)) return map(q, n, 1, Exp<Dialect::ibert>{ln2, q_b, q_c}, nullptr, out);
    return map(q, n, 1, Exp<Dialect::paper>{ln2, q_b, q_c}, nullptr, out);
}

const char *i_sqrt(const int64_t *n, int64_t count, int64_t *out) {
    return map(n, count, 1, Sqrt{}, nullptr, out);
}

const char *residual_add32(const int32_t *q, const int32_t *residual, int64_t n, int64_t channels, const AddArguments *plan, int32_t *out) {
    return add(q, residual, n, channels, *plan, out);
}

const char *residual_add64(const int64_t *q, const int64_t *residual, int64_t n, int64_t channels, const AddArguments *plan, int32_t *out) {
    return add(q, residual, n, channels, *plan, out);
}

const char *embedding(const int32_t *ids, int64_t n, const int8_t *table, int64_t rows, int64_t dim, int8_t *out) {
    Device<const int32_t> in(ids, n);
    Device<const int8_t> values(table, rows * dim);
    Device<int8_t> result(out, n * dim);
    launch_independent(embedding_kernel, blocks_of(n * dim), THREADS, in.data(), values.data(), n, dim, result.data());
    result.fetch();
    return finish();
}

const char *embedding_sum(const int32_t *words, const int32_t *types, const int32_t *positions, int64_t n, const int8_t *word_table,
                          int64_t word_rows, const int8_t *type_table, int64_t type_rows, const int8_t *position_table,
                          int64_t position_rows, int64_t dim, const AddArguments *first, const AddArguments *second, int32_t *out) {
    HostAdder one(*first), two(*second);
    Device<const int32_t> w(words, n), t(types, n), p(positions, n);
    Device<const int8_t> of_w(word_table, word_rows * dim), of_t(type_table, type_rows * dim), of_p(position_table, position_rows * dim);
    Device<int32_t> result(out, n * dim);
    launch_independent(embedding_sum_kernel, blocks_of(n * dim), THREADS, Lookup{w.data(), of_w.data()}, Lookup{t.data(), of_t.data()},
                       Lookup{p.data(), of_p.data()}, n, dim, one.get(), two.get(), result.data());
    result.fetch();
    return finish();
}

const char *mean_pool(const int16_t *q, const int8_t *mask, int64_t batch, int64_t masks, int64_t tokens, int64_t columns, int64_t bits,
                      int32_t *out) {
    const int64_t rows = batch * masks;
    Device<const int16_t> in(q, batch * tokens * columns);
    Device<const int8_t> keep(mask, rows * tokens);
    Device<int32_t> result(out, rows * columns);
    launch_independent(mean_pool_kernel, blocks_of(rows * columns), THREADS, in.data(), keep.data(), rows, masks, tokens, columns, bits,
                       result.data());
    result.fetch();
    return finish();
}

const char *quantize_ibert(const float *x, int64_t n, int64_t channels, const float *reciprocal, int64_t count, int64_t lo, int64_t hi,
                           int64_t *out) {
    HostConstant<float> r(reciprocal, count);
    Device<const float> in(x, n);
    Device<int64_t> result(out, n);
    launch_independent(quantize_ibert_kernel, blocks_of(n), THREADS, in.data(), n, channels, r.get(), lo, hi, result.data());
    result.fetch();
    return finish();
}

const char *quantize_paper(const double *x, int64_t n, int64_t channels, const double *scale, int64_t count, int64_t lo, int64_t hi,
                           int64_t *out) {
    HostConstant<double> s(scale, count);
    Device<const double> in(x, n);
    Device<int64_t> result(out, n);
    launch_independent(quantize_paper_kernel, blocks_of(n), THREADS, in.data(), n, channels, s.get(), lo, hi, result.data());
    result.fetch();
    return finish();
}

const char *dequantize(const int64_t *q, int64_t n, int64_t channels, const double *scale, int64_t count, double *out) {
    HostConstant<double> s(scale, count);
    Device<const int64_t> in(q, n);
    Device<double> result(out, n);
    launch_independent(dequantize_kernel, blocks_of(n), THREADS, in.data(), n, channels, s.get(), result.data());
    result.fetch();
    return finish();
}

}  // extern "C"
