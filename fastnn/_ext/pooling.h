/* One vector of channels of a pooled pixel, in registers over its whole window.
 *
 * The file includes itself once for float and once for double (T, V, VL, FN, ... as in tile.h).
 * n_in and n_out say how many of the VL channels may be read and written. */
#ifndef T
#ifndef FASTNN_POOLING_H
#define FASTNN_POOLING_H
#include <math.h>
#include "vec.h"

/* Positions are bytes in memory and as wide as the values in registers. GCC has good code only for
 * conversions to twice or half the width, so they go step by step. */
#if FASTNN_VECTOR
  #define LANES(type, name, vl) typedef type name __attribute__((vector_size((vl) * sizeof(type)), aligned(1), may_alias))
  LANES(uint8_t, v_u8_f32, VL_F32);
  LANES(uint16_t, v_u16_f32, VL_F32);
  LANES(uint8_t, v_u8_f64, VL_F64);
  LANES(uint16_t, v_u16_f64, VL_F64);
  LANES(uint32_t, v_u32_f64, VL_F64);
  #define CONVERT(v, type) __builtin_convertvector(v, type)
#else
  typedef uint8_t v_u8_f32, v_u8_f64;
  typedef uint16_t v_u16_f32, v_u16_f64;
  typedef uint32_t v_u32_f64;
  #define CONVERT(v, type) ((type)(v))
#endif
#define WIDEN_F32(v) CONVERT(CONVERT(v, v_u16_f32), v_i32)
#define WIDEN_F64(v) CONVERT(CONVERT(CONVERT(v, v_u16_f64), v_u32_f64), v_i64)
#define NARROW_F32(v) CONVERT(CONVERT(v, v_u16_f32), v_u8_f32)
#define NARROW_F64(v) CONVERT(CONVERT(CONVERT(v, v_u32_f64), v_u16_f64), v_u8_f64)

#define T float
#define V v_f32
#define VI v_i32
#define VU8 v_u8_f32
#define VL VL_F32
#define FN(name) name##_f32
#define SPLAT SPLAT_F32
#define SELECT SELECT_F32
#define WIDEN WIDEN_F32
#define NARROW NARROW_F32
#include "pooling.h"
#undef T
#undef V
#undef VI
#undef VU8
#undef VL
#undef FN
#undef SPLAT
#undef SELECT
#undef WIDEN
#undef NARROW

#define T double
#define V v_f64
#define VI v_i64
#define VU8 v_u8_f64
#define VL VL_F64
#define FN(name) name##_f64
#define SPLAT SPLAT_F64
#define SELECT SELECT_F64
#define WIDEN WIDEN_F64
#define NARROW NARROW_F64
#include "pooling.h"
#undef T
#undef V
#undef VI
#undef VU8
#undef VL
#undef FN
#undef SPLAT
#undef SELECT
#undef WIDEN
#undef NARROW
#endif

#else /* the body */

INLINE V FN(load_some)(const T *x, int n)
{
    if (n >= VL) return *(const V *)x;
    V v = SPLAT(0);
    memcpy(&v, x, (size_t)n * sizeof(T));
    return v;
}

INLINE void FN(store_some)(T *y, V v, int n)
{
    if (n >= VL) *(V *)y = v;
    else memcpy(y, &v, (size_t)n * sizeof(T));
}

INLINE VU8 FN(load_index)(const uint8_t *index, int n)
{
    if (n >= VL) return *(const VU8 *)index;
    VU8 v = NARROW((VI)SPLAT(0));
    memcpy(&v, index, (size_t)n);
    return v;
}

INLINE void FN(store_index)(uint8_t *index, VI where, int n)
{
    VU8 v = NARROW(where);
    if (n >= VL) *(VU8 *)index = v;
    else memcpy(index, &v, (size_t)n);
}

/* y = max over kh x kw pixels, index = position of the first of equals; NaN wins. */
INLINE void FN(max_taps)(const T *x, T *y, uint8_t *index, int64_t kh, int64_t kw, int64_t row, int64_t pixel,
                         int64_t first, int64_t pw, int n_in, int n_out)
{
    V best = SPLAT(-INFINITY);
    VI where = (VI)SPLAT(0) + (int)first;
    for (int64_t i = 0; i < kh; i++) for (int64_t j = 0; j < kw; j++) {
        V v = FN(load_some)(x + i * row + j * pixel, n_in);
        VI better = (VI)((v > best) | (v != v)), here = (VI)SPLAT(0) + (int)(first + i * pw + j);
        best = SELECT(better, v, best);
        if (index) where = (VI)SELECT(better, here, where);
    }
    FN(store_some)(y, best, n_out);
    if (index) FN(store_index)(index, where, n_out);
}

/* y = scale * sum over kh x kw pixels. */
INLINE void FN(sum_taps)(const T *x, T *y, int64_t kh, int64_t kw, int64_t row, int64_t pixel, T scale,
                         int n_in, int n_out)
{
    V total = SPLAT(0);
    for (int64_t i = 0; i < kh; i++) for (int64_t j = 0; j < kw; j++)
        total += FN(load_some)(x + i * row + j * pixel, n_in);
    FN(store_some)(y, total * SPLAT(scale), n_out);
}

/* dx = sum of the dy whose index is here. Window (i, j) of the kh x kw that hold the pixel sees it
 * at position first - i * down - j * right. */
INLINE void FN(gather_taps)(const T *dy, const uint8_t *index, T *dx, int64_t kh, int64_t kw, int64_t row,
                            int64_t pixel, int64_t first, int64_t down, int64_t right, int n_in, int n_out)
{
    V total = SPLAT(0);
    for (int64_t i = 0; i < kh; i++) for (int64_t j = 0; j < kw; j++) {
        int64_t at = i * row + j * pixel;
        VI where = WIDEN(FN(load_index)(index + at, n_in));
        VI here = (VI)SPLAT(0) + (int)(first - i * down - j * right);
        total += SELECT(where == here, FN(load_some)(dy + at, n_in), SPLAT(0));
    }
    FN(store_some)(dx, total, n_out);
}

/* One row of a window that overlaps no other: dx = dy * scale, or dy where index is first + j. */
INLINE void FN(spread_taps)(const T *dy, const uint8_t *index, T *dx, int64_t kw, int64_t pixel, int64_t first,
                            T scale, int n_in, int n_out)
{
    V v = FN(load_some)(dy, n_in) * SPLAT(scale);
    if (!index) {
        for (int64_t j = 0; j < kw; j++) FN(store_some)(dx + j * pixel, v, n_out);
        return;
    }
    VI where = WIDEN(FN(load_index)(index, n_in));
    for (int64_t j = 0; j < kw; j++)
        FN(store_some)(dx + j * pixel, SELECT(where == (VI)SPLAT(0) + (int)(first + j), v, SPLAT(0)), n_out);
}

/* The same with the usual sizes known to the compiler. */
INLINE void FN(pool_max)(const T *x, T *y, uint8_t *index, int64_t kh, int64_t kw, int64_t row, int64_t pixel,
                         int64_t first, int64_t pw, int n_in, int n_out)
{
    if (n_in < VL || n_out < VL) FN(max_taps)(x, y, index, kh, kw, row, pixel, first, pw, n_in, n_out);
    else if (kh == 2 && kw == 2) FN(max_taps)(x, y, index, 2, 2, row, pixel, first, pw, VL, VL);
    else FN(max_taps)(x, y, index, kh, kw, row, pixel, first, pw, VL, VL);
}

INLINE void FN(pool_sum)(const T *x, T *y, int64_t kh, int64_t kw, int64_t row, int64_t pixel, T scale,
                         int n_in, int n_out)
{
    if (n_in < VL || n_out < VL) FN(sum_taps)(x, y, kh, kw, row, pixel, scale, n_in, n_out);
    else if (kh == 2 && kw == 2) FN(sum_taps)(x, y, 2, 2, row, pixel, scale, VL, VL);
    else FN(sum_taps)(x, y, kh, kw, row, pixel, scale, VL, VL);
}

INLINE void FN(pool_gather)(const T *dy, const uint8_t *index, T *dx, int64_t kh, int64_t kw, int64_t row,
                            int64_t pixel, int64_t first, int64_t down, int64_t right, int n_in, int n_out)
{
    if (n_in < VL || n_out < VL)
        FN(gather_taps)(dy, index, dx, kh, kw, row, pixel, first, down, right, n_in, n_out);
    else FN(gather_taps)(dy, index, dx, kh, kw, row, pixel, first, down, right, VL, VL);
}

INLINE void FN(pool_spread)(const T *dy, const uint8_t *index, T *dx, int64_t kw, int64_t pixel, int64_t first,
                            T scale, int n_in, int n_out)
{
    if (n_in < VL || n_out < VL) FN(spread_taps)(dy, index, dx, kw, pixel, first, scale, n_in, n_out);
    else if (kw == 2) FN(spread_taps)(dy, index, dx, 2, pixel, first, scale, VL, VL);
    else FN(spread_taps)(dy, index, dx, kw, pixel, first, scale, VL, VL);
}
#endif
