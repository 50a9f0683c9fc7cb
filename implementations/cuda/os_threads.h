// Every thread of a block is one of the operating system; blocks follow one another, as they share the memory of __shared__.
//
// For ThreadSanitizer. A barrier orders what lies before it and after it. A shuffle exchanges values and orders nothing, as on a GPU:
// it uses relaxed atomics and fences, which the processor obeys and ThreadSanitizer overlooks. Meetings are not checked: fibers.h does.
#pragma once

#include <atomic>
#include <barrier>
#include <thread>

static thread_local dim3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;

namespace on_cpu {

namespace {

struct Warp {
    std::atomic<unsigned> arrived;
    std::atomic<uint64_t> exchanged[2][WARP];  // by turns: a partner may still read the last one
};

Warp warps[MAX_THREADS / WARP];
std::unique_ptr<std::barrier<>> barrier;
thread_local unsigned shuffles;

inline void run_meeting() {
    for (unsigned b = 0; b < gridDim.x; ++b) {
        for (Warp &warp : warps) warp.arrived = 0;
        barrier = std::make_unique<std::barrier<>>(blockDim.x);
        std::vector<std::thread> threads;
        for (unsigned t = 0; t < blockDim.x; ++t) {
            threads.emplace_back([b, t] {
                blockIdx.x = b, threadIdx.x = t;
                kernel();
                barrier->arrive_and_drop();
            });
        }
        for (std::thread &thread : threads) thread.join();
    }
}

inline void run_independent() {
    run_meeting();
}

}  // namespace

}  // namespace on_cpu

static inline void __syncthreads() {
    on_cpu::barrier->arrive_and_wait();
}

template <class T>
static T __shfl_xor_sync(unsigned, T value, int lanes) {
    static_assert(sizeof(T) == sizeof(uint64_t), "one word");
    const unsigned lane = threadIdx.x % on_cpu::WARP, turn = on_cpu::shuffles++;
    on_cpu::Warp &warp = on_cpu::warps[threadIdx.x / on_cpu::WARP];
    uint64_t word;
    std::memcpy(&word, &value, sizeof word);
    warp.exchanged[turn % 2][lane].store(word, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    warp.arrived.fetch_add(1, std::memory_order_relaxed);
    while (warp.arrived.load(std::memory_order_relaxed) < on_cpu::WARP * (turn + 1)) std::this_thread::yield();
    std::atomic_thread_fence(std::memory_order_seq_cst);
    word = warp.exchanged[turn % 2][lane ^ static_cast<unsigned>(lanes)].load(std::memory_order_relaxed);
    std::memcpy(&value, &word, sizeof value);
    return value;
}
