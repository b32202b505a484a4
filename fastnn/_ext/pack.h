/* Panels for the register tile: dst[k][j] = src[k*row + j*col], zero-padded to `width` columns. */
#ifndef FASTNN_PACK_H
#define FASTNN_PACK_H
#include "vec.h"

/* MR x 2 vectors: 12 to 16 accumulators hide the latency of two FMA units, the two vectors of b
 * and the row pointers still fit the register files (16 vectors and 15 integers before AVX-512).
 * 12 rows would need 12 integer registers for the row pointers and spill them. */
#if FASTNN_VECTOR && (VBYTES == 64 || defined(__aarch64__))
  #define MR 8
#else
  #define MR 6
#endif

/* A square of VL x VL numbers is transposed in registers: each of log2(VL) rounds interleaves rows i and
 * i + VL/2, which rotates the bits of (row, column) by one. One shuffle for VL numbers and round, where
 * a scalar copy needs VL loads and stores. */
#if FASTNN_VECTOR && defined(__has_builtin)
  #if __has_builtin(__builtin_shufflevector)
    #define FASTNN_SHUFFLE 1
  #endif
#endif
#define LOW_2 0, 2
#define HIGH_2 1, 3
#define LOW_4 0, 4, 1, 5
#define HIGH_4 2, 6, 3, 7
#define LOW_8 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_8 4, 12, 5, 13, 6, 14, 7, 15
#define LOW_16 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_16 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31

#define T float
#define V v_f32
#define VL VL_F32
#define FN(name) name##_f32
#if !FASTNN_VECTOR
#elif VBYTES == 64
  #define LOW LOW_16
  #define HIGH HIGH_16
#elif VBYTES == 32
  #define LOW LOW_8
  #define HIGH HIGH_8
#else
  #define LOW LOW_4
  #define HIGH HIGH_4
#endif
#include "pack_body.h"
#undef T
#undef V
#undef VL
#undef FN
#undef LOW
#undef HIGH

#define T double
#define V v_f64
#define VL VL_F64
#define FN(name) name##_f64
#if !FASTNN_VECTOR
#elif VBYTES == 64
  #define LOW LOW_8
  #define HIGH HIGH_8
#elif VBYTES == 32
  #define LOW LOW_4
  #define HIGH HIGH_4
#else
  #define LOW LOW_2
  #define HIGH HIGH_2
#endif
#include "pack_body.h"
#undef T
#undef V
#undef VL
#undef FN
#undef LOW
#undef HIGH
#endif
