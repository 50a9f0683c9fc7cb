// Enough of CUDA to run kernels on one CPU thread: each thread of a block is a fiber.
//
// The fibers of a block run in turn, each until it meets a barrier. A barrier or shuffle that not all threads of the block reach
// ends the launch with an error, as does a partial warp. Run forward and reversed: a kernel that lacks a barrier gives two results.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

static dim3 threadIdx, blockIdx, blockDim, gridDim;

#define __global__ static
#define __device__
#define __forceinline__ inline
#define __shared__ static

// Internal linkage throughout: two libraries loaded into one process must not share fibers.
namespace on_cpu {

namespace {

enum Place { START, BARRIER, SHUFFLE, END };

// Made once by ucontext; after that switched by jumps, which cost no system call.
struct Fiber {
    std::unique_ptr<char[]> stack;
    sigjmp_buf entry, here;
    uint64_t exchanged[2];  // by turns: a partner may still read the last one
    unsigned shuffles, block;
    Place place;
};

constexpr unsigned MAX_THREADS = 1024;
constexpr size_t STACK = (1 << 15) + 448;  // no power of two: the stacks would compete for the same cache lines

Fiber fibers[MAX_THREADS];
std::function<void()> kernel;
ucontext_t maker;
sigjmp_buf home;
unsigned self;
bool reversed, in_fiber;
const char *error;

inline unsigned at(unsigned turn, unsigned count) {
    return reversed ? count - 1 - turn : turn;
}

struct Failure {};

[[noreturn]] inline void fail(const char *why) {
    error = why;
    if (in_fiber) siglongjmp(home, 1);
    throw Failure();
}

[[noreturn]] inline void resume(unsigned thread) {
    self = threadIdx.x = thread;
    blockIdx.x = fibers[thread].block;
    siglongjmp(fibers[thread].here, 1);
}

// All threads come to `place` before any goes on; the last one in turn finds out whether they all did.
inline void meet(Place place) {
    if (!in_fiber) fail("a barrier in a kernel launched as one of independent threads");
    const unsigned threads = blockDim.x, turn = at(self, threads);
    fibers[self].place = place;
    if (turn == threads - 1) {
        for (unsigned t = 0; t < threads; ++t) {
            if (fibers[t].place != place) fail("a barrier or shuffle that not all threads of the block reach");
        }
    }
    if (sigsetjmp(fibers[self].here, 0) == 0) resume(at((turn + 1) % threads, threads));
}

// A fiber's life: it waits; each launch sends it back to `entry`, for its thread of one block after another.
inline void live() {
    const unsigned own = self;
    if (sigsetjmp(fibers[own].entry, 0) == 0) setcontext(&maker);
    for (unsigned b = 0; b < gridDim.x; ++b) {
        blockIdx.x = fibers[own].block = at(b, gridDim.x);
        kernel();
        meet(END);
    }
    siglongjmp(home, 1);
}

inline void make(Fiber &fiber, unsigned thread) {
    ucontext_t context;
    fiber.stack.reset(new char[STACK]);
    getcontext(&context);
    context.uc_stack.ss_sp = fiber.stack.get();
    context.uc_stack.ss_size = STACK;
    context.uc_link = nullptr;
    makecontext(&context, live, 0);
    self = thread;
    swapcontext(&maker, &context);
}

inline void run_fibers() {
    for (unsigned t = 0; t < blockDim.x; ++t) {
        Fiber &fiber = fibers[t];
        if (!fiber.stack) make(fiber, t);
        std::memcpy(&fiber.here, &fiber.entry, sizeof fiber.here);
        fiber.place = START, fiber.shuffles = 0;
    }
    in_fiber = true;
    if (sigsetjmp(home, 0) == 0) resume(at(0, blockDim.x));
    in_fiber = false;
}

template <class... P, class... A>
void prepare(void (*function)(P...), unsigned blocks, unsigned threads, A... arguments) {
    kernel = [=] { function(arguments...); };
    gridDim.x = blocks, blockDim.x = threads, error = nullptr;
}

}  // namespace

}  // namespace on_cpu

static inline void __syncthreads() {
    on_cpu::meet(on_cpu::BARRIER);
}

template <class T>
static T __shfl_xor_sync(unsigned mask, T value, int lanes) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "one word at most");
    if (!on_cpu::in_fiber || mask != 0xFFFFFFFFu || blockDim.x % 32 != 0) on_cpu::fail("a shuffle of a partial warp");
    const unsigned partner = threadIdx.x ^ static_cast<unsigned>(lanes);
    auto &own = on_cpu::fibers[threadIdx.x];
    const unsigned slot = own.shuffles++ % 2;
    std::memcpy(&own.exchanged[slot], &value, sizeof value);
    on_cpu::meet(on_cpu::SHUFFLE);
    std::memcpy(&value, &on_cpu::fibers[partner].exchanged[slot], sizeof value);
    return value;
}

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

// Kernels with barriers.
template <class... P, class... A>
static void launch(void (*function)(P...), unsigned blocks, unsigned threads, A... arguments) {
    on_cpu::prepare(function, blocks, threads, arguments...);
    if (threads > on_cpu::MAX_THREADS) {
        on_cpu::error = "more than 1024 threads in a block";
    } else if (blocks > 0) {
        on_cpu::run_fibers();
    }
}

// Kernels whose threads never meet: plain loops.
template <class... P, class... A>
static void launch_independent(void (*function)(P...), unsigned blocks, unsigned threads, A... arguments) {
    on_cpu::prepare(function, blocks, threads, arguments...);
    try {
        for (unsigned b = 0; b < blocks; ++b) {
            blockIdx.x = on_cpu::at(b, blocks);
            for (unsigned t = 0; t < threads; ++t) {
                threadIdx.x = on_cpu::at(t, threads);
                on_cpu::kernel();
            }
        }
    } catch (on_cpu::Failure) {  // finish() reports it
    }
}

static inline const char *finish() {
    return on_cpu::error;
}

// The host's memory is the device's.
template <class T>
class Device {
public:
    Device(T *host, int64_t) : host(host) {}
    T *data() const { return host; }
    void fetch() const {}

private:
    T *host;
};
