// Entry points of the products.
#include "host.h"

#include "product.cuh"

namespace {

template <class A, class B>
const char *product(const A *a, const B *b, const int32_t *bias, int64_t batch, const Shape &s, const HostRequantizer *rule, void *out) {
    Device<const A> left(a, batch * s.m * s.k);
    Device<const B> right(b, batch * s.k * s.n);
    Device<const int32_t> added(bias, s.n);
    const int64_t tiles = static_cast<int64_t>((s.m + TILE - 1) / TILE) * ((s.n + TILE - 1) / TILE);
    return storing<int32_t>(rule, out, batch * s.m * s.n, [&](auto store) {
        launch(product_kernel<A, B, decltype(store)>, static_cast<unsigned>(batch * tiles), PRODUCT_THREADS, left.data(), right.data(),
               added.data(), s, store);
    });
}

}  // namespace

extern "C" {

// The types of the operands' elements, and the rest as product_kernel has it.
#define PRODUCT(name, A, B)                                                                                                              \
    const char *name(const A *a, const B *b, const int32_t *bias, int64_t batch, int64_t m, int64_t n, int64_t k, int64_t b_row,          \
                     int64_t b_column, const HostRequantizer *rule, void *out) {                                                         \
        const Shape shape{static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), b_row, b_column};                                \
        return product(a, b, bias, batch, shape, rule, out);                                                                             \
    }

PRODUCT(product_i8_i8, int8_t, int8_t)
PRODUCT(product_u8_i8, uint8_t, int8_t)
PRODUCT(product_i16_i16, int16_t, int16_t)

}  // extern "C"
