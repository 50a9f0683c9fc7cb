// Every thread of a block is a fiber: it runs until it meets a barrier or a shuffle, then the next one does.
//
// A meeting that not all threads of the block (of the warp, for a shuffle) reach ends the launch with an error. Run forward and
// reversed: a kernel that lacks a barrier gives two results.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

static dim3 threadIdx, blockIdx, blockDim, gridDim;

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

constexpr size_t STACK = (1 << 15) + 448;  // no power of two: the stacks would compete for the same cache lines

Fiber fibers[MAX_THREADS];
ucontext_t maker;
sigjmp_buf home;
unsigned self;
bool in_fiber;

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

// All threads of a group (the block, or a warp) come to `place` before any goes on; the last in turn finds out whether they all did.
inline void meet(Place place, unsigned size) {
    if (!in_fiber) fail("a barrier in a kernel launched as one of independent threads");
    const unsigned threads = blockDim.x, turn = at(self, threads), first = turn - turn % size, last = first + size - 1;
    fibers[self].place = place;
    if (turn == last) {
        for (unsigned t = first; t <= last; ++t) {
            if (fibers[at(t, threads)].place != place) fail("a barrier or shuffle that not all threads of the block or warp reach");
        }
    }
    if (sigsetjmp(fibers[self].here, 0) == 0) resume(at(turn == last ? first : turn + 1, threads));
}

// A fiber's life: it waits; each launch sends it back to `entry`, for its thread of one block after another.
inline void live() {
    const unsigned own = self;
    if (sigsetjmp(fibers[own].entry, 0) == 0) setcontext(&maker);
    for (unsigned b = 0; b < gridDim.x; ++b) {
        blockIdx.x = fibers[own].block = at(b, gridDim.x);
        kernel();
        meet(END, blockDim.x);
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

inline void run_meeting() {
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

inline void run_independent() {
    try {
        for (unsigned b = 0; b < gridDim.x; ++b) {
            blockIdx.x = at(b, gridDim.x);
            for (unsigned t = 0; t < blockDim.x; ++t) {
                threadIdx.x = at(t, blockDim.x);
                kernel();
            }
        }
    } catch (Failure) {  // finish() reports it
    }
}

}  // namespace

}  // namespace on_cpu

static inline void __syncthreads() {
    on_cpu::meet(on_cpu::BARRIER, blockDim.x);
}

template <class T>
static T __shfl_xor_sync(unsigned mask, T value, int lanes) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "one word at most");
    if (!on_cpu::in_fiber || mask != 0xFFFFFFFFu || blockDim.x % on_cpu::WARP != 0) on_cpu::fail("a shuffle of a partial warp");
    const unsigned partner = threadIdx.x ^ static_cast<unsigned>(lanes);
    auto &own = on_cpu::fibers[threadIdx.x];
    const unsigned slot = own.shuffles++ % 2;
    std::memcpy(&own.exchanged[slot], &value, sizeof value);
    on_cpu::meet(on_cpu::SHUFFLE, on_cpu::WARP);
    std::memcpy(&value, &on_cpu::fibers[partner].exchanged[slot], sizeof value);
    return value;
}
