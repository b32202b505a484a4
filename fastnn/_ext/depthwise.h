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

#define BODY "depthwise_body.h"
#include "each_type.h"
#endif
