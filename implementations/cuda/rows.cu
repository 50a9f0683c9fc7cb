// Entry points of i-softmax, i-LayerNorm and argmax.
#include "host.h"

#include "rows.cuh"

namespace {

// Calls work(team, blocks, threads) for rows of this length.
template <int LANES, class Work>
void with_lanes(int64_t rows, Work work) {
    constexpr int ROWS = Lanes<LANES>::ROWS;
    work(Lanes<LANES>(), static_cast<unsigned>((rows + ROWS - 1) / ROWS), static_cast<unsigned>(LANES * ROWS));
}

template <class Work>
void with_team(int64_t rows, int64_t length, Work work) {
    const unsigned threads = 32 * static_cast<unsigned>((length + 31) / 32);
    if (length <= Lanes<8>::LONGEST) return with_lanes<8>(rows, work);
    if (length <= Lanes<32>::LONGEST) return with_lanes<32>(rows, work);
    work(Block(), static_cast<unsigned>(rows), threads < THREADS ? threads : THREADS);
}

template <Dialect dialect, class Out>
const char *softmax(const int32_t *q, const uint8_t *mask, int64_t rows, int64_t length, const SoftmaxConstants<dialect> &k, Out *out) {
    Device<const int32_t> in(q, rows * length);
    Device<const uint8_t> keep(mask, rows * length);
    Device<Out> result(out, rows * length);
    with_team(rows, length, [&](auto team, unsigned blocks, unsigned threads) {
        launch(i_softmax_kernel<dialect, decltype(team), Out>, blocks, threads, in.data(), keep.data(), rows, static_cast<int>(length), k,
               result.data());
    });
    result.fetch();
    return finish();
}

template <Dialect dialect>
const char *layernorm(const int32_t *q, int64_t rows, int64_t length, const LayerNormConstants &k, const HostRequantizer *rule, void *out) {
    Device<const int32_t> in(q, rows * length);
    return storing<int64_t>(rule, out, rows * length, [&](auto store) {
        with_team(rows, length, [&](auto team, unsigned blocks, unsigned threads) {
            launch(i_layernorm_kernel<dialect, decltype(team), decltype(store)>, blocks, threads, in.data(), rows, static_cast<int>(length),
                   k, store);
        });
    });
}

}  // namespace

extern "C" {

// The result has one byte an element, or four.
const char *i_softmax(int64_t dialect, const int32_t *q, const uint8_t *mask, int64_t rows, int64_t length, int64_t ln2, int64_t q_b,
                      int64_t q_c, int64_t multiplier, int64_t shift, int64_t bits, int64_t bytes, void *out) {
    if (length > MAX_LENGTH) return "a row of more than 4096 elements";
    if (is_ibert(dialect)) {
        const SoftmaxConstants<Dialect::ibert> k{{ln2, q_b, q_c}, multiplier, shift, bits};
        if (bytes == 1) return softmax(q, mask, rows, length, k, static_cast<uint8_t *>(out));
        return softmax(q, mask, rows, length, k, static_cast<int32_t *>(out));
    }
    const SoftmaxConstants<Dialect::paper> k{{ln2, q_b, q_c}, multiplier, shift, bits};
    return softmax(q, mask, rows, length, k, static_cast<int32_t *>(out));
}

const char *argmax(const int32_t *q, int64_t rows, int64_t length, int32_t *out) {
    Device<const int32_t> in(q, rows * length);
    Device<int32_t> result(out, rows);
    with_team(rows, length, [&](auto team, unsigned blocks, unsigned threads) {
        launch(argmax_kernel<decltype(team)>, blocks, threads, in.data(), rows, static_cast<int>(length), result.data());
    });
    result.fetch();
    return finish();
}

const char *i_layernorm(int64_t dialect, const int32_t *q, int64_t rows, int64_t length, const int64_t *bias, int64_t count, int64_t bits,
                        const HostRequantizer *rule, void *out) {
    HostConstant<> own(bias, count);
    const LayerNormConstants k{own.get(), bits};
    if (is_ibert(dialect)) return layernorm<Dialect::ibert>(q, rows, length, k, rule, out);
    return layernorm<Dialect::paper>(q, rows, length, k, rule, out);
}

}  // extern "C"
