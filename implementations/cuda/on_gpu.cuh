// The same interface as on_cpu.h, on a GPU.
#pragma once

#include <cstdint>
#include <type_traits>

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

// An array of the host, copied to the device; fetch() copies it back.
template <class T>
class Device {
public:
    Device(T *host, int64_t count) : host(host), bytes(count * sizeof(T)) {
        if (host == nullptr || bytes == 0) return;
        if (cudaMalloc(&device, bytes) != cudaSuccess) device = nullptr;
        else cudaMemcpy(device, host, bytes, cudaMemcpyHostToDevice);
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
