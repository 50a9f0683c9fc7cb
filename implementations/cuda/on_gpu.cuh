// The same interface as on_cpu.h, on a GPU.
#pragma once

#include <cstdint>
#include <type_traits>

constexpr unsigned MOST_BLOCKS = 65535;  // of a walk over elements

// The product of unsigned by signed bytes has an instruction and no intrinsic.
__device__ __forceinline__ int32_t dp4a_unsigned_signed(uint32_t a, int32_t b, int32_t sum) {
    int32_t result;
    asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

template <class... P, class... A>
void launch(void (*function)(P...), unsigned blocks, unsigned threads, A... arguments) {
    if (blocks > 0) function<<<blocks, threads>>>(arguments...);
}

template <class... P, class... A>
void launch_independent(void (*function)(P...), unsigned blocks, unsigned threads, A... arguments) {
    launch(function, blocks, threads, arguments...);
}

// The error of this or of any earlier call since the last time, or null.
inline const char *finish() {
    const cudaError_t ended = cudaDeviceSynchronize(), first = cudaGetLastError();
    const cudaError_t status = first != cudaSuccess ? first : ended;
    return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

// The device's copy of an array of the host: what is const goes in, the rest comes out by fetch().
template <class T>
class Device {
public:
    Device(T *host, int64_t count) : host(host), bytes(count * sizeof(T)) {
        if (host == nullptr || bytes == 0) return;
        if (cudaMalloc(&device, bytes) != cudaSuccess) device = nullptr;
        else if (std::is_const_v<T>) cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice);
    }
    ~Device() { cudaFree(device); }
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;

    T *data() const { return static_cast<T *>(device); }
    void fetch() const {
        if (device != nullptr) cudaMemcpy(const_cast<std::remove_const_t<T> *>(host), device, bytes, cudaMemcpyDeviceToHost);
    }

private:
    T *host;
    size_t bytes;
    void *device = nullptr;
};
