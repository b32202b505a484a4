/* The dot tile: products of rows with rows, the lanes of a vector along the sum.
 *
 *     s[i][j] = sum_s sum_k  a[i][s*a_seg + k] * b[j][s*b_seg + k]
 *
 * The register tile (tile.h) has its lanes along the columns. With few columns on both sides, one picture or six
 * filters, most of them would compute nothing. Here the sums stay spread over lanes until `lane_sums`. */
#ifndef FASTNN_DOT_H
#define FASTNN_DOT_H
#include "vec.h"
#include "pack.h"

/* DOT_ROWS x DOT_COLUMNS accumulators and a row of operands: 24 + 5 of 32 registers with AVX-512, else 12 + 3 of 16. */
#define DOT_COLUMNS 6
#if FASTNN_VECTOR && (VBYTES == 64 || defined(__aarch64__))
  #define DOT_ROWS 4
#else
  #define DOT_ROWS 2
#endif
#define EVEN_2 0, 2
#define ODD_2 1, 3
#define EVEN_4 0, 2, 4, 6
#define ODD_4 1, 3, 5, 7
#define EVEN_8 0, 2, 4, 6, 8, 10, 12, 14
#define ODD_8 1, 3, 5, 7, 9, 11, 13, 15
#define EVEN_16 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD_16 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31

typedef struct {
    const void *a[DOT_ROWS], *b[DOT_COLUMNS];
    int64_t a_seg, b_seg, n_seg, len;
    void *sums;     /* rows x DOT_COLUMNS vectors */
    int accumulate; /* add to what `sums` holds */
} dot_args;

#define T float
#define V v_f32
#define VL VL_F32
#define FN(name) name##_f32
#define SPLAT SPLAT_F32
#if !FASTNN_VECTOR
#elif VBYTES == 64
  #define LOW LOW_16
  #define HIGH HIGH_16
  #define EVEN EVEN_16
  #define ODD ODD_16
#elif VBYTES == 32
  #define LOW LOW_8
  #define HIGH HIGH_8
  #define EVEN EVEN_8
  #define ODD ODD_8
#else
  #define LOW LOW_4
  #define HIGH HIGH_4
  #define EVEN EVEN_4
  #define ODD ODD_4
#endif
#include "dot_body.h"
#undef T
#undef V
#undef VL
#undef FN
#undef SPLAT
#undef LOW
#undef HIGH
#undef EVEN
#undef ODD

#define T double
#define V v_f64
#define VL VL_F64
#define FN(name) name##_f64
#define SPLAT SPLAT_F64
#if !FASTNN_VECTOR
#elif VBYTES == 64
  #define LOW LOW_8
  #define HIGH HIGH_8
  #define EVEN EVEN_8
  #define ODD ODD_8
#elif VBYTES == 32
  #define LOW LOW_4
  #define HIGH HIGH_4
  #define EVEN EVEN_4
  #define ODD ODD_4
#else
  #define LOW LOW_2
  #define HIGH HIGH_2
  #define EVEN EVEN_2
  #define ODD ODD_2
#endif
#include "dot_body.h"
#undef T
#undef V
#undef VL
#undef FN
#undef SPLAT
#undef LOW
#undef HIGH
#undef EVEN
#undef ODD
#endif
