/* The register tile: MR rows x NR columns of a product, kept in registers over the whole inner loop.
 *
 *     acc[i][j] = sum_s sum_k  a[i][off[s] + k*a_step] * b_row(s, k)[j]
 *
 * One tile, three users. The left operand is MR row pointers, so the rows may be rows of a matrix
 * (gemm), pixels of an image (convolution; the segments s are the kernel's taps, no im2col copy) or
 * tiles of a Winograd transform. The right operand's k-th row is at
 *     tile_panel   b + k*ldb: a packed panel
 *     tile_taps    b + b_off[s] + k*ldb: some segments of a panel (a window that leaves the image)
 *     tile_gather  b + b_off[k]: anywhere in memory
 * Bias and activation are applied while the tile is in registers. */
#ifndef FASTNN_TILE_H
#define FASTNN_TILE_H
#include "vec.h"
#include "vmath.h"
#include "pack.h"

#define NR_F32 (2 * VL_F32)
#define NR_F64 (2 * VL_F64)

#if FASTNN_VECTOR
  #define PREFETCH(address) __builtin_prefetch(address, 1)
#else
  #define PREFETCH(address)
#endif

#define FMA_CHAINS 12  /* more than latency times units, and they fit 16 registers */

enum { TILE_ACCUMULATE = 1, TILE_TRANSPOSED = 2 };
enum { ROWS_PANEL, ROWS_TAPS, ROWS_GATHER };

/* What a tile needs; the pointers are to float or double, as the function called. */
typedef struct {
    const void *a[MR];     /* row pointers of the left operand */
    int64_t a_step;        /* distance between a[i][k] and a[i][k+1] */
    const void *b;         /* right operand */
    int64_t ldb;           /* distance between its rows */
    const int64_t *b_off;  /* offset of each segment (tile_taps) or of each row (tile_gather) */
    const int64_t *off;    /* (n_seg,) offsets of the segments, added to every row pointer */
    int64_t n_seg, seg_len;
    void *out[MR];         /* row pointers of the output (TILE_TRANSPOSED: out[0] is its corner) */
    int64_t ldc;           /* TILE_TRANSPOSED: out[0][j*ldc + i] */
    const void *bias;      /* per column (TILE_TRANSPOSED: per row), or NULL */
    double alpha;
    int activation;
    int flags;
} tile_args;
#define tile_args_f32 tile_args
#define tile_args_f64 tile_args

#define BODY "tile_body.h"
#include "each_type.h"
#endif
