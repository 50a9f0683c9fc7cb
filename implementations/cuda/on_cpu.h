// Enough of CUDA to run kernels on a CPU. fibers.h runs the threads of a block in turn, in either order: fast, and the same every time.
// os_threads.h (-DOS_THREADS) gives each an operating system's thread, so that ThreadSanitizer sees which accesses nothing orders.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

#define __global__ static
#define __device__
#define __forceinline__ inline
#define __shared__ static

constexpr unsigned MOST_BLOCKS = 2;  // of a walk over elements: few, so that small arrays take more than one step of it

// Internal linkage throughout: two libraries loaded into one process must not share threads or errors.
namespace on_cpu {

namespace {

constexpr unsigned MAX_THREADS = 1024, WARP = 32;

std::function<void()> kernel;
const char *error;
bool reversed;

}  // namespace

}  // namespace on_cpu

#ifdef OS_THREADS
#include "os_threads.h"
#else
#include "fibers.h"
#endif

// ------------------------------------------------------------------------------------------------------------------ intrinsics

static inline uint64_t __umul64hi(uint64_t a, uint64_t b) {
    const uint64_t a0 = a & UINT32_MAX, a1 = a >> 32, b0 = b & UINT32_MAX, b1 = b >> 32;
    const uint64_t cross = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + (cross & UINT32_MAX);
    return a1 * b1 + (cross >> 32) + (other >> 32);
}

static inline int __clzll(uint64_t n) {
    int zeros = 64;
    for (; n != 0; n >>= 1) --zeros;
    return zeros;
}

static inline int32_t __dp4a(int32_t a, int32_t b, int32_t sum) {
    for (int j = 0; j < 32; j += 8) sum += static_cast<int8_t>(a >> j) * static_cast<int8_t>(b >> j);
    return sum;
}

static inline int32_t dp4a_unsigned_signed(uint32_t a, int32_t b, int32_t sum) {
    for (int j = 0; j < 32; j += 8) sum += static_cast<uint8_t>(a >> j) * static_cast<int8_t>(b >> j);
    return sum;
}

static inline float __fmul_rn(float a, float b) {
    return a * b;
}

static inline double __dmul_rn(double a, double b) {
    return a * b;
}

static inline double __ddiv_rn(double a, double b) {
    return a / b;
}

static inline double __fma_rn(double a, double b, double c) {
    return std::fma(a, b, c);
}

// ---------------------------------------------------------------------------------------------------------------------- launch

template <class... P, class... A>
static void prepare(void (*function)(P...), unsigned blocks, unsigned threads, A... arguments) {
    on_cpu::kernel = [=] { function(arguments...); };
    gridDim.x = blocks, blockDim.x = threads;
}

// Kernels with barriers.
template <class... P, class... A>
static void launch(void (*function)(P...), unsigned blocks, unsigned threads, A... arguments) {
    prepare(function, blocks, threads, arguments...);
    if (threads > on_cpu::MAX_THREADS) {
        on_cpu::error = "more than 1024 threads in a block";
    } else if (blocks > 0) {
        on_cpu::run_meeting();
    }
}

// Kernels whose threads never meet: plain loops, where no race is looked for.
template <class... P, class... A>
static void launch_independent(void (*function)(P...), unsigned blocks, unsigned threads, A... arguments) {
    prepare(function, blocks, threads, arguments...);
    on_cpu::run_independent();
}

static inline const char *finish() {
    const char *error = on_cpu::error;
    on_cpu::error = nullptr;
    return error;
}

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) (static_cast<void>(address), static_cast<void>(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ASAN_POISON_MEMORY_REGION(address, size)
#endif

// The device's copy of an array of the host, between guards. An index that leaves it reads junk, or is found out by fetch() where it
// writes; AddressSanitizer names the line of both.
template <class T>
class Device {
public:
    Device(T *host, int64_t count) : host(host), bytes(count * sizeof(T)) {
        if (host == nullptr) return;
        memory.assign(bytes + 2 * GUARD, JUNK);
        if (std::is_const_v<T> && bytes > 0) std::memcpy(memory.data() + GUARD, host, bytes);
        ASAN_POISON_MEMORY_REGION(memory.data(), GUARD);
        ASAN_POISON_MEMORY_REGION(memory.data() + GUARD + bytes, GUARD);
    }
    ~Device() { ASAN_UNPOISON_MEMORY_REGION(memory.data(), memory.size()); }
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;

    T *data() const {
        return host == nullptr ? nullptr : reinterpret_cast<T *>(const_cast<unsigned char *>(memory.data()) + GUARD);
    }
    void fetch() {
        if (host == nullptr) return;
        ASAN_UNPOISON_MEMORY_REGION(memory.data(), memory.size());
        if (bytes > 0) std::memcpy(const_cast<std::remove_const_t<T> *>(host), data(), bytes);
        for (size_t i = 0; i < GUARD; ++i) {
            if (memory[i] != JUNK || memory[GUARD + bytes + i] != JUNK) on_cpu::error = "a write outside of an array";
        }
    }

private:
    static constexpr size_t GUARD = 1 << 14;
    static constexpr unsigned char JUNK = 0xA5;
    T *host;
    size_t bytes;
    std::vector<unsigned char> memory;
};
