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

typedef struct {
    const void *a[DOT_ROWS], *b[DOT_COLUMNS];
    int64_t a_seg, b_seg, n_seg, len;
    void *sums;     /* rows x DOT_COLUMNS vectors */
    int accumulate; /* add to what `sums` holds */
} dot_args;

#define BODY "dot_body.h"
#include "each_type.h"
#endif
