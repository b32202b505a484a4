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

#define BODY "pack_body.h"
#include "each_type.h"
#endif
