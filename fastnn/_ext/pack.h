/* Panels for the register tile: dst[k][j] = src[k*row + j*col], zero-padded to `width` columns. */
#ifndef FASTNN_PACK_H
#define FASTNN_PACK_H
#include "vec.h"

/* Blocks of BLOCK rows keep a transposition's source lines and destination in the level 1 cache. */
#define PACK_BLOCK 16
#define DEFINE_PACK(T, name)                                                                                \
    NOINLINE void name(const T *src, int64_t row, int64_t col, int64_t K, int64_t n, int64_t width, T *dst)  \
    {                                                                                                       \
        if (n < width) memset(dst, 0, (size_t)(K * width) * sizeof(T));                                      \
        if (col == 1) {                                                                                     \
            if (n == width && width == 2 * VL_##T) {                                                         \
                for (int64_t k = 0; k < K; k++) memcpy(dst + k * (2 * VL_##T), src + k * row, 2 * VL_##T * sizeof(T)); \
                return;                                                                                     \
            }                                                                                               \
            for (int64_t k = 0; k < K; k++) for (int64_t j = 0; j < n; j++) dst[k * width + j] = src[k * row + j]; \
            return;                                                                                         \
        }                                                                                                   \
        for (int64_t k0 = 0; k0 < K; k0 += PACK_BLOCK) {                                                     \
            int64_t k1 = k0 + PACK_BLOCK < K ? k0 + PACK_BLOCK : K;                                          \
            for (int64_t j = 0; j < n; j++)                                                                  \
                for (int64_t k = k0; k < k1; k++) dst[k * width + j] = src[k * row + j * col];               \
        }                                                                                                   \
    }
#define VL_float VL_F32
#define VL_double VL_F64
DEFINE_PACK(float, pack_columns_f32)
DEFINE_PACK(double, pack_columns_f64)
#endif
