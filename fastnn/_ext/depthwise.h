/* Windows of a convolution with one channel per group, for all channels of a few neighbouring pixels: the sums stay in
 * registers, and a weight is read once for all of them. Once for float and once for double. */
#ifndef FASTNN_DEPTHWISE_H
#define FASTNN_DEPTHWISE_H
#include "vec.h"

#define DEPTHWISE_PIXELS 4  /* times two vectors of channels: eight sums hide the latency of the multiply-adds */

/* Distances are in numbers. */
typedef struct {
    int64_t rows, cols;                /* taps inside the image */
    int64_t row, col;                  /* from tap to tap in the source */
    int64_t weight_row, weight_col;    /* and in the weights, whose last axis is the channels */
    int64_t next, channels;            /* from pixel to pixel in the source and in the target */
} depthwise_args;

#define T float
#define V v_f32
#define VL VL_F32
#define FN(name) name##_f32
#define SPLAT SPLAT_F32
#include "depthwise_body.h"
#undef T
#undef V
#undef VL
#undef FN
#undef SPLAT
#define T double
#define V v_f64
#define VL VL_F64
#define FN(name) name##_f64
#define SPLAT SPLAT_F64
#include "depthwise_body.h"
#undef T
#undef V
#undef VL
#undef FN
#undef SPLAT
#endif
