/* What becomes of the 36 sums of a tile; included by winograd_body.h once for float and once for double. */

/* The larger of two, the first of equals; NaN wins, as in pooling.h. */
INLINE V FN(wino_larger)(V a, V b)
{
    return SELECT((b > a) | (b != b), b, a);
}

/* out[i*half + j], half = size / 2: the maxima of the 2x2 windows of out[i*size + j] */
INLINE void FN(wino_pool)(const int size, V *out)
{
    const int half = size / 2;
    UNROLL for (int i = 0; i < half; i++) UNROLL for (int j = 0; j < half; j++) {
        const V *v = out + 2 * i * size + 2 * j;
        const V first = FN(wino_larger)(v[0], v[1]);
        out[i * half + j] = FN(wino_larger)(FN(wino_larger)(first, v[size]), v[size + 1]);
    }
}

/* out[i*size + j] += the first pixels of add, rows x cols of them, or all */
INLINE void FN(wino_add)(const int size, const T *add, int64_t line, int64_t pixel, const int all, int rows, int cols,
    const int width, V *out)
{
    if (all)
        UNROLL for (int i = 0; i < size; i++) UNROLL for (int j = 0; j < size; j++)
            out[i * size + j] += *(const V *)(add + i * line + j * pixel);
    else
        for (int i = 0; i < rows; i++) for (int j = 0; j < cols; j++)
            out[i * size + j] += FN(wino_load)(add + i * line + j * pixel, width);
}

/* y[i][j] = out[i*size + j] */
INLINE void FN(wino_put)(const int size, const V *out, T *y, int64_t line, int64_t pixel, const int all, int rows,
    int cols, const int width)
{
    if (all)
        UNROLL for (int i = 0; i < size; i++) UNROLL for (int j = 0; j < size; j++)
        {
            *(V *)(y + i * line + j * pixel) = out[i * size + j];
            WINO_PREFETCH(y + i * line + (j + size) * pixel, 1);
        }
    else
        for (int i = 0; i < rows; i++) for (int j = 0; j < cols; j++)
            FN(wino_store)(y + i * line + j * pixel, out[i * size + j], width);
}

/* y = act(A^T m A + bias) for the channels and pixels of one tile, a simple activation; m[k*ld] are the 36 products. */
INLINE void FN(wino_output_of)(const int size, const T *m, int64_t ld, const wino_target *to)
{
    /* Local: for all that the compiler knows, a vector that is stored could change *to. */
    const T *bias = to->bias, alpha = (T)to->alpha;
    T *y = to->y;
    const int64_t line = to->y_line, pixel = to->pixel;
    const int rows = to->rows, cols = to->cols, n = to->n, activation = to->activation;
    for (int c = 0; c < n; c += VL) {
        const int width = n - c < VL ? n - c : VL, all = rows == size && cols == size && width == VL;
        const V b = FN(wino_load)(bias ? bias + c : m, bias ? width : 0);
        V out[16];
        FN(wino_collect_square)(size, 0, m + c, ld, out);
        UNROLL for (int i = 0; i < size * size; i++) out[i] = FN(rectify)(out[i] + b, activation, alpha);
        FN(wino_put)(size, out, y + c, line, pixel, all, rows, cols, width);
    }
}

/* y = act(A^T m A + bias + add) with any activation, or the maxima of its 2x2 windows. */
INLINE void FN(wino_output_more_of)(const int size, const T *m, int64_t ld, const wino_target *to)
{
    const T *bias = to->bias, *add = to->add, alpha = (T)to->alpha;
    T *y = to->y;
    const int rows = to->rows, cols = to->cols;
    for (int c = 0; c < to->n; c += VL) {
        const int width = to->n - c < VL ? to->n - c : VL, all = rows == size && cols == size && width == VL;
        const V b = FN(wino_load)(bias ? bias + c : m, bias ? width : 0);
        V out[16];
        FN(wino_collect_square)(size, 0, m + c, ld, out);
        UNROLL for (int i = 0; i < size * size; i++) out[i] += b;
        if (add) FN(wino_add)(size, add + c, to->add_line, to->pixel, all, rows, cols, width, out);
        if (to->activation <= ACT_LEAKY_RELU)
            UNROLL for (int i = 0; i < size * size; i++) out[i] = FN(rectify)(out[i], to->activation, alpha);
        else FN(activate)((const T *)out, (T *)out, size * size * VL, to->activation, alpha);
        if (to->pool) {
            FN(wino_pool)(size, out);
            FN(wino_put)(size / 2, out, y + c, to->y_line, to->pixel, all, rows / 2, cols / 2, width);
        } else FN(wino_put)(size, out, y + c, to->y_line, to->pixel, all, rows, cols, width);
    }
}

/* A function of its own: in one with the usual case the choices cost that 4 to 7 % of a convolution. */
NOINLINE void FN(wino_output_more)(int size, const T *m, int64_t ld, const wino_target *to)
{
    WINO_SIZES(FN(wino_output_more_of), m, ld, to);
}

NOINLINE void FN(wino_output)(int size, const void *m, int64_t ld, const wino_target *to)
{
    if (to->add || to->pool || to->activation > ACT_LEAKY_RELU) FN(wino_output_more)(size, m, ld, to);
    else WINO_SIZES(FN(wino_output_of), m, ld, to);
}

/* dw = G^T s G for n <= NR channels of one filter: dw (R, R, channels), s[k*ld] the 36 sums. */
INLINE void FN(wino_filter_gradient_of)(const int size, const T *s, int64_t ld, T *dw, int64_t channels, int n,
    int accumulate)
{
    const int r = 7 - size;
    for (int c = 0; c < n; c += VL) {
        const int width = n - c < VL ? n - c : VL;
        V g[25];
        FN(wino_collect_square)(r, 1, s + c, ld, g);
        for (int k = 0; k < r * r; k++) {
            T *to = dw + k * channels + c;
            if (accumulate) g[k] += FN(wino_load)(to, width);
            FN(wino_store)(to, g[k], width);
        }
    }
}

NOINLINE void FN(wino_filter_gradient)(int size, const void *s, int64_t ld, void *dw, int64_t channels, int n,
    int accumulate)
{
    WINO_SIZES(FN(wino_filter_gradient_of), s, ld, dw, channels, n, accumulate);
}
