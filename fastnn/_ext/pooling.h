/* Pooling, one vector of channels at a time, in registers over a whole window.
 *
 * With fewer channels than a vector has lanes it reaches into the next pixels: what it reads there is
 * discarded, what it writes there is written again with the next pixel. Only at the end of an array, or
 * of the rows that one thread owns, does it read or write fewer.
 *
 * The file includes itself once for each number type T, and for float again with shorter vectors for
 * images of few channels, whose overlapping stores would cross too many cache lines. BYTES is the size
 * of T, VL the number of lanes; n_in and n_out say how many of them may be read and written. */
#ifndef T
#ifndef FASTNN_POOLING_H
#define FASTNN_POOLING_H
#include <math.h>
#include "vec.h"

enum { POOL_MAX, POOL_MAX_INDEX, POOL_AVERAGE };

typedef struct {
    int64_t n, h, w, c, oh, ow; /* x (n, h, w, c), y (n, oh, ow, c) */
    int64_t ph, pw, sh, sw, top, left;
    int padded, count_include_pad;
} geometry;

INLINE int64_t at_least_0(int64_t a) { return a > 0 ? a : 0; }
INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Positions are bytes in memory and as wide as the values in registers. GCC has good code only for
 * conversions to twice or half the width, so they go step by step. */
#if FASTNN_VECTOR
  #define LANES(type, name) \
      typedef type name __attribute__((vector_size(VL * sizeof(type)), aligned(sizeof(type)), may_alias));
  #define CONVERT(v, type) __builtin_convertvector(v, type)
  #define SPLAT(x) ((T)(x) - (V){0})
  #define SELECT(m, a, b) ((V)(((VI)(m) & (VI)(a)) | (~(VI)(m) & (VI)(b))))
#else
  #define LANES(type, name) typedef type name;
  #define CONVERT(v, type) ((type)(v))
  #define SPLAT(x) ((T)(x))
  #define SELECT(m, a, b) ((m) ? (a) : (b))
#endif
#define V FN(lanes)
#define VI FN(lanes_int)
#define VU8 FN(lanes_u8)

#define T float
#define BYTES 4
#define VL VL_F32
#define FN(name) name##_f32
#include "pooling.h"
#undef VL
#undef FN
#if VL_F32 >= 16
  #define VL 8
  #define FN(name) name##_f32x8
  #include "pooling.h"
  #undef VL
  #undef FN
#endif
#if VL_F32 >= 8
  #define VL 4
  #define FN(name) name##_f32x4
  #include "pooling.h"
  #undef VL
  #undef FN
#endif
#undef T
#undef BYTES

#define T double
#define BYTES 8
#define VL VL_F64
#define FN(name) name##_f64
#include "pooling.h"
#undef T
#undef BYTES
#undef VL
#undef FN

#if VL_F32 >= 8
  #define FEW_4(call) if (p->c <= 4) { call; return; }
#else
  #define FEW_4(call)
#endif
#if VL_F32 >= 16
  #define FEW_8(call) if (p->c <= 8) { call; return; }
#else
  #define FEW_8(call)
#endif

static void pool_forward_f32(const float *x, float *y, uint8_t *index, const geometry *p, int op, int64_t r0,
                             int64_t r1)
{
    FEW_4(forward_rows_f32x4(x, y, index, p, op, r0, r1))
    FEW_8(forward_rows_f32x8(x, y, index, p, op, r0, r1))
    forward_rows_f32(x, y, index, p, op, r0, r1);
}

static void pool_backward_f32(const float *dy, const uint8_t *index, float *dx, const geometry *p,
                              float scale, int64_t r0, int64_t r1)
{
    FEW_4(backward_rows_f32x4(dy, index, dx, p, scale, r0, r1))
    FEW_8(backward_rows_f32x8(dy, index, dx, p, scale, r0, r1))
    backward_rows_f32(dy, index, dx, p, scale, r0, r1);
}
#define pool_forward_f64 forward_rows_f64
#define pool_backward_f64 backward_rows_f64
#endif

#else /* the body */

LANES(T, V)
LANES(uint8_t, VU8)
LANES(uint16_t, FN(lanes_u16))
LANES(uint32_t, FN(lanes_u32))
#if BYTES == 4
LANES(int32_t, VI)
INLINE VI FN(widen)(VU8 v) { return CONVERT(CONVERT(v, FN(lanes_u16)), VI); }
INLINE VU8 FN(narrow)(VI v) { return CONVERT(CONVERT(v, FN(lanes_u16)), VU8); }
#else
LANES(int64_t, VI)
INLINE VI FN(widen)(VU8 v) { return CONVERT(CONVERT(CONVERT(v, FN(lanes_u16)), FN(lanes_u32)), VI); }
INLINE VU8 FN(narrow)(VI v) { return CONVERT(CONVERT(CONVERT(v, FN(lanes_u32)), FN(lanes_u16)), VU8); }
#endif

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
    VU8 v = FN(narrow)((VI)SPLAT(0));
    memcpy(&v, index, (size_t)n);
    return v;
}

INLINE void FN(store_index)(uint8_t *index, VI where, int n)
{
    VU8 v = FN(narrow)(where);
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
        VI where = FN(widen)(FN(load_index)(index + at, n_in));
        VI here = (VI)SPLAT(0) + (int)(first - i * down - j * right);
        total += SELECT(where == here, FN(load_some)(dy + at, n_in), SPLAT(0));
    }
    FN(store_some)(dx, total, n_out);
}

/* One row of a window that overlaps no other: dx = dy * scale, or dy where index is first + j. */
INLINE void FN(spread_taps)(const T *dy, const uint8_t *index, T *dx, int64_t kw, int64_t pixel,
                            int64_t first, T scale, int n_in, int n_out)
{
    V v = FN(load_some)(dy, n_in) * SPLAT(scale);
    if (!index) {
        for (int64_t j = 0; j < kw; j++) FN(store_some)(dx + j * pixel, v, n_out);
        return;
    }
    VI where = FN(widen)(FN(load_index)(index, n_in));
    for (int64_t j = 0; j < kw; j++)
        FN(store_some)(dx + j * pixel, SELECT(where == (VI)SPLAT(0) + (int)(first + j), v, SPLAT(0)), n_out);
}

/* Row r of the n * oh rows of y; the thread owns y up to y_end. */
INLINE void FN(forward_row)(const T *x, T *y, uint8_t *index, const geometry *p, int64_t r, int64_t y_end,
                            const int op, const int two)
{
    const int64_t C = p->c, pw = two ? 2 : p->pw, oh = r % p->oh, ih = oh * p->sh - p->top;
    const int64_t kh0 = two ? 0 : at_least_0(-ih), kh = two ? 2 : smaller(p->ph, p->h - ih) - kh0;
    const int64_t row = p->w * C, x_end = p->n * p->h * row, x_row = (r / p->oh * p->h + ih + kh0) * row;
    const T average = (T)1 / (T)(p->ph * p->pw);
    for (int64_t ow = 0; ow < p->ow; ow++) {
        const int64_t iw = ow * p->sw - p->left, kw0 = two ? 0 : at_least_0(-iw);
        const int64_t kw = two ? 2 : smaller(pw, p->w - iw) - kw0, first = kh0 * pw + kw0;
        const T scale = op != POOL_AVERAGE || p->count_include_pad ? average : (T)1 / (T)(kh * kw);
        for (int64_t c = 0; c < C; c += VL) {
            if (c + VL > C && C >= VL) c = C - VL; /* the last vector overlaps the one before */
            const int64_t at = x_row + (iw + kw0) * C + c, at_y = (r * p->ow + ow) * C + c;
            if (C >= VL || (at + (kh - 1) * row + (kw - 1) * C + VL <= x_end && at_y + VL <= y_end)) {
                if (op == POOL_AVERAGE) FN(sum_taps)(x + at, y + at_y, kh, kw, row, C, scale, VL, VL);
                else FN(max_taps)(x + at, y + at_y, op == POOL_MAX ? NULL : index + at_y, kh, kw, row, C,
                                  first, pw, VL, VL);
            } else {
                if (op == POOL_AVERAGE) FN(sum_taps)(x + at, y + at_y, kh, kw, row, C, scale, (int)C, (int)C);
                else FN(max_taps)(x + at, y + at_y, op == POOL_MAX ? NULL : index + at_y, kh, kw, row, C,
                                  first, pw, (int)C, (int)C);
            }
        }
    }
}

/* Rows r0 to r1, with the usual window known to the compiler. */
NOINLINE void FN(forward_rows)(const T *x, T *y, uint8_t *index, const geometry *p, int op, int64_t r0,
                               int64_t r1)
{
    const int two = p->ph == 2 && p->pw == 2 && !p->padded;
    const int64_t y_end = r1 * p->ow * p->c;
#define FORWARD(op_, two_) for (int64_t r = r0; r < r1; r++) \
        FN(forward_row)(x, y, index, p, r, y_end, op_, two_)
    if (op == POOL_MAX) { if (two) FORWARD(POOL_MAX, 1); else FORWARD(POOL_MAX, 0); }
    else if (op == POOL_MAX_INDEX) { if (two) FORWARD(POOL_MAX_INDEX, 1); else FORWARD(POOL_MAX_INDEX, 0); }
    else { if (two) FORWARD(POOL_AVERAGE, 1); else FORWARD(POOL_AVERAGE, 0); }
#undef FORWARD
}

/* Row r of the n * h rows of dx: each pixel gathers from the windows that hold it, in order. */
INLINE void FN(gather_row)(const T *dy, const uint8_t *index, T *dx, const geometry *p, T scale, int64_t r,
                           int64_t dx_end)
{
    const int64_t C = p->c, row = p->ow * C, dy_end = p->n * p->oh * row, ih = r % p->h + p->top;
    const int64_t oh0 = (at_least_0(ih - p->ph + 1) + p->sh - 1) / p->sh;
    const int64_t kh = smaller(p->oh, ih / p->sh + 1) - oh0, dy_row = (r / p->h * p->oh + oh0) * row;
    int64_t ow0 = 0, ow1 = 0;
    for (int64_t w = 0; w < p->w; w++) {
        const int64_t iw = w + p->left;
        while (ow0 * p->sw + p->pw <= iw) ow0++;             /* windows that end before this pixel */
        while (ow1 < p->ow && ow1 * p->sw <= iw) ow1++;      /* windows that begin before or on it */
        const int64_t kw = ow1 - ow0, first = (ih - oh0 * p->sh) * p->pw + iw - ow0 * p->sw;
        for (int64_t c = 0; c < C; c += VL) {
            if (c + VL > C && C >= VL) c = C - VL;
            const int64_t at = dy_row + ow0 * C + c, at_dx = (r * p->w + w) * C + c;
            const uint8_t *at_index = index ? index + at : NULL;
            const int whole = C >= VL
                || (at + (kh - 1) * row + (kw - 1) * C + VL <= dy_end && at_dx + VL <= dx_end);
            if (!index && whole) FN(sum_taps)(dy + at, dx + at_dx, kh, kw, row, C, scale, VL, VL);
            else if (!index) FN(sum_taps)(dy + at, dx + at_dx, kh, kw, row, C, scale, (int)C, (int)C);
            else if (whole) FN(gather_taps)(dy + at, at_index, dx + at_dx, kh, kw, row, C, first,
                                            p->sh * p->pw, p->sw, VL, VL);
            else FN(gather_taps)(dy + at, at_index, dx + at_dx, kh, kw, row, C, first,
                                 p->sh * p->pw, p->sw, (int)C, (int)C);
        }
    }
}

/* The same for windows that tile the image: each passes its dy on to its pixels of this row. */
INLINE void FN(spread_row)(const T *dy, const uint8_t *index, T *dx, const geometry *p, T scale, int64_t r,
                           int64_t dx_end, const int two)
{
    const int64_t C = p->c, pw = two ? 2 : p->pw, ih = r % p->h, oh = ih / p->ph, dx_row = r * p->w * C;
    const int64_t dy_end = p->n * p->oh * p->ow * C, dy_row = (r / p->h * p->oh + oh) * p->ow * C;
    const int64_t first = (ih - oh * p->ph) * pw, windows = oh < p->oh ? p->ow : 0;
    for (int64_t ow = 0; ow < windows; ow++) for (int64_t c = 0; c < C; c += VL) {
        if (c + VL > C && C >= VL) c = C - VL;
        const int64_t at = dy_row + ow * C + c, at_dx = dx_row + ow * pw * C + c;
        const uint8_t *at_index = index ? index + at : NULL;
        if (C >= VL || (at + VL <= dy_end && at_dx + (pw - 1) * C + VL <= dx_end))
            FN(spread_taps)(dy + at, at_index, dx + at_dx, pw, C, first, scale, VL, VL);
        else
            FN(spread_taps)(dy + at, at_index, dx + at_dx, pw, C, first, scale, (int)C, (int)C);
    }
    memset(dx + dx_row + windows * pw * C, 0, (size_t)((p->w - windows * pw) * C) * sizeof(T));
}

NOINLINE void FN(backward_rows)(const T *dy, const uint8_t *index, T *dx, const geometry *p, T scale,
                                int64_t r0, int64_t r1)
{
    const int tiled = p->sh == p->ph && p->sw == p->pw && !p->padded;
    const int64_t dx_end = r1 * p->w * p->c;
#define SPREAD(index_, two_) for (int64_t r = r0; r < r1; r++) \
        FN(spread_row)(dy, index_, dx, p, scale, r, dx_end, two_)
    if (tiled && index) { if (p->pw == 2) SPREAD(index, 1); else SPREAD(index, 0); }
    else if (tiled) { if (p->pw == 2) SPREAD(NULL, 1); else SPREAD(NULL, 0); }
    else for (int64_t r = r0; r < r1; r++) FN(gather_row)(dy, index, dx, p, scale, r, dx_end);
#undef SPREAD
}
#endif
