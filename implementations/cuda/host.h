// What the entry points share. g++ compiles them for the CPU, nvcc for a GPU; each returns null, or what went wrong.
#pragma once

#ifdef __CUDACC__
#include "on_gpu.cuh"
#else
#include "on_cpu.h"
#endif

#include "arithmetic.cuh"

constexpr unsigned THREADS = 256;

inline unsigned blocks_of(int64_t n) {
    const int64_t whole = (n + THREADS - 1) / THREADS;
    return static_cast<unsigned>(whole < MOST_BLOCKS ? whole : MOST_BLOCKS);  // the walk strides over the rest
}

inline bool is_ibert(int64_t dialect) {
    return dialect == static_cast<int64_t>(Dialect::ibert);
}

// A constant of `count` values, on the device for as long as the call takes.
template <class T = int64_t>
struct HostConstant {
    Device<const T> values;
    int64_t step;
    HostConstant(const T *value, int64_t count) : values(value, count), step(count > 1) {}
    Constant<T> get() const { return {values.data(), step}; }
};

// Calls work(store) with the store that `rule` (null: no requantisation) and the width of the result ask for; `work` launches.
struct HostRequantizer {
    const int64_t *multiplier, *shift;
    int64_t count, zero_point, lo, hi, bytes;
};

template <class Out, class Work>
const char *requantizing(const HostRequantizer &rule, void *out, int64_t n, Work work) {
    HostConstant<> multiplier(rule.multiplier, rule.count), shift(rule.shift, rule.count);
    Device<Out> result(static_cast<Out *>(out), n);
    work(Requantized<Out>{{multiplier.get(), shift.get(), rule.zero_point, rule.lo, rule.hi}, result.data()});
    result.fetch();
    return finish();
}

template <class Wide, class Work>
const char *storing(const HostRequantizer *rule, void *out, int64_t n, Work work) {
    if (rule == nullptr) {
        Device<Wide> result(static_cast<Wide *>(out), n);
        work(Keep<Wide>{result.data()});
        result.fetch();
        return finish();
    }
    if (rule->bytes == 1) return requantizing<int8_t>(*rule, out, n, work);
    return requantizing<int64_t>(*rule, out, n, work);
}

// The order in which fibers run threads and blocks. Nothing else has one to choose.
extern "C" void set_reversed(int64_t reversed) {
#ifdef __CUDACC__
    static_cast<void>(reversed);
#else
    on_cpu::reversed = reversed != 0;
#endif
}
