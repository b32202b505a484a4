/* Included by depthwise.h once for float and once for double (each_type.h). */

/* y = bias + sum over the taps of x * weight, for nv vectors of channels of some pixels */
INLINE void FN(depthwise_block)(const int pixels, const int nv, const T *x, const T *weight, const T *bias, T *y,
    const depthwise_args *p)
{
    const int64_t next = p->next, col = p->col, weight_col = p->weight_col, cols = p->cols;
    V sum[DEPTHWISE_PIXELS][2];
    UNROLL for (int k = 0; k < pixels; k++) UNROLL for (int v = 0; v < nv; v++) sum[k][v] = SPLAT(0);
    for (int64_t i = 0; i < p->rows; i++) {
        const T *from = x + i * p->row, *w = weight + i * p->weight_row;
        for (int64_t j = 0; j < cols; j++, from += col, w += weight_col) {
            V tap[2];
            UNROLL for (int v = 0; v < nv; v++) tap[v] = *(const V *)(w + v * VL);
            UNROLL for (int k = 0; k < pixels; k++) UNROLL for (int v = 0; v < nv; v++)
                sum[k][v] += *(const V *)(from + k * next + v * VL) * tap[v];
        }
    }
    if (bias) UNROLL for (int v = 0; v < nv; v++) {
        const V b = *(const V *)(bias + v * VL);
        UNROLL for (int k = 0; k < pixels; k++) sum[k][v] += b;
    }
    UNROLL for (int k = 0; k < pixels; k++) UNROLL for (int v = 0; v < nv; v++)
        *(V *)(y + k * p->channels + v * VL) = sum[k][v];
}

/* One pixel, or DEPTHWISE_PIXELS; at least VL channels: the last vector overlaps the one before. */
NOINLINE void FN(depthwise_pixels)(int pixels, const T *x, const T *weight, const T *bias, T *y,
    const depthwise_args *p)
{
    int64_t c = 0;
    for (; c + 2 * VL <= p->channels; c += 2 * VL) {
        const T *b = bias ? bias + c : NULL;
        if (pixels == 1) FN(depthwise_block)(1, 2, x + c, weight + c, b, y + c, p);
        else FN(depthwise_block)(DEPTHWISE_PIXELS, 2, x + c, weight + c, b, y + c, p);
    }
    for (; c < p->channels; c += VL) {
        if (c + VL > p->channels) c = p->channels - VL;
        const T *b = bias ? bias + c : NULL;
        if (pixels == 1) FN(depthwise_block)(1, 1, x + c, weight + c, b, y + c, p);
        else FN(depthwise_block)(DEPTHWISE_PIXELS, 1, x + c, weight + c, b, y + c, p);
    }
}
