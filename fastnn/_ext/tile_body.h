/* Included by tile.h once for float and once for double (each_type.h). */

/* What the tile can do without leaving the registers; NaN passes through. */
INLINE V FN(rectify)(V x, int activation, T alpha)
{
    if (activation == ACT_RELU) return SELECT(x <= 0, SPLAT(0), x);
    if (activation == ACT_LEAKY_RELU) return SELECT(x <= 0, SPLAT(alpha) * x, x);
    return x;
}

/* One k of the product, from the next row of b. */
INLINE void FN(tile_step)(const int mr, const int nv, const int rows, const T *const *a, int64_t k,
    const T **b, int64_t ldb, const int64_t **b_off, V c[MR][2])
{
    const T *row = rows == ROWS_GATHER ? *b + *(*b_off)++ : *b;
    V b0 = *(const V *)row, b1;
    if (nv > 1) b1 = *(const V *)(row + VL);
    if (rows != ROWS_GATHER) *b += ldb;
    UNROLL for (int i = 0; i < mr; i++) {
        V ai = SPLAT(a[i][k]);
        c[i][0] += ai * b0;
        if (nv > 1) c[i][1] += ai * b1;
    }
}

/* Four k at a time: the counters take issue slots and ports from the multiply-adds (5 to 8 % of AVX-512). HIDE keeps
 * the rows indexed by one counter; the compiler would rather count up each row's pointer. */
INLINE void FN(tile_segment)(const int mr, const int nv, const int rows, const T *const *a, int64_t len,
    const int64_t step, const T **b, const int64_t ldb, const int64_t **b_off, V c[MR][2])
{
    int64_t k = 0;
    while (k + 3 * step < len) {
        UNROLL for (int u = 0; u < 4; u++, k += step) FN(tile_step)(mr, nv, rows, a, k, b, ldb, b_off, c);
        HIDE(k);
    }
    for (; k < len; k += step) FN(tile_step)(mr, nv, rows, a, k, b, ldb, b_off, c);
}

INLINE void FN(tile_fixed)(const int mr, const int nv, const int rows, const int n, const tile_args *p)
{
    V c[MR][2];
    const T *a[MR];
    const T *b = p->b, *bias = p->bias;
    T *out[MR];
    UNROLL for (int i = 0; i < mr; i++) out[i] = p->out[i];
    const int64_t step = p->a_step, ldb = p->ldb, len = p->seg_len * step;
    const int64_t *b_off = p->b_off;
    if (!(p->flags & TILE_TRANSPOSED))  /* the output may be far away; it is needed after the loop */
        UNROLL for (int i = 0; i < mr; i++) UNROLL for (int j = 0; j < nv; j++) PREFETCH(out[i] + j * VL);
    UNROLL for (int i = 0; i < mr; i++) UNROLL for (int j = 0; j < nv; j++) c[i][j] = SPLAT(0);
    for (int64_t s = 0; s < p->n_seg; s++) {
        UNROLL for (int i = 0; i < mr; i++) a[i] = (const T *)p->a[i] + p->off[s];
        if (rows == ROWS_TAPS) b = (const T *)p->b + b_off[s];
        /* The usual strides as constants: two registers more for the loop. */
        if (rows == ROWS_PANEL && mr == MR && nv == 2 && step == 1 && ldb == 2 * VL)
            FN(tile_segment)(mr, nv, rows, a, len, 1, &b, 2 * VL, &b_off, c);
        else
            FN(tile_segment)(mr, nv, rows, a, len, step, &b, ldb, &b_off, c);
    }
    const int act = p->activation, transposed = p->flags & TILE_TRANSPOSED;
    const int simple = act <= ACT_LEAKY_RELU;
    if (bias && transposed)
        UNROLL for (int i = 0; i < mr; i++) UNROLL for (int j = 0; j < nv; j++) c[i][j] += SPLAT(bias[i]);
    if (simple && !transposed && n == nv * VL) {
        if (bias) UNROLL for (int j = 0; j < nv; j++) {
            V bj = *(const V *)(bias + j * VL);
            UNROLL for (int i = 0; i < mr; i++) c[i][j] += bj;
        }
        if (p->flags & TILE_ACCUMULATE)
            UNROLL for (int i = 0; i < mr; i++) UNROLL for (int j = 0; j < nv; j++)
                c[i][j] += *(const V *)(out[i] + j * VL);
        if (act != ACT_LINEAR)
            UNROLL for (int i = 0; i < mr; i++) UNROLL for (int j = 0; j < nv; j++)
                c[i][j] = FN(rectify)(c[i][j], act, (T)p->alpha);
        UNROLL for (int i = 0; i < mr; i++) UNROLL for (int j = 0; j < nv; j++)
            *(V *)(out[i] + j * VL) = c[i][j];
        return;
    }
    /* The edges: leave the registers through a small buffer, then finish row by row. */
    const int early = transposed && simple && !(p->flags & TILE_ACCUMULATE);
    if (early && act != ACT_LINEAR)
        UNROLL for (int i = 0; i < mr; i++) UNROLL for (int j = 0; j < nv; j++)
            c[i][j] = FN(rectify)(c[i][j], act, (T)p->alpha);
    T t[MR][2 * VL];
    if (transposed) {
#ifdef FASTNN_SHUFFLE
        const int high = mr == 1 ? 1 : mr <= 4 ? 4 : 8;  /* flat[j*high + i] */
#else
        const int high = mr;
#endif
        T flat[8 * 2 * VL], *corner = p->out[0];
#ifdef FASTNN_SHUFFLE
        V column[2][8];
        UNROLL for (int j = 0; j < nv; j++) {
            UNROLL for (int i = 0; i < mr; i++) column[j][i] = c[i][j];
            UNROLL for (int i = mr; i < high; i++) column[j][i] = SPLAT(0);
        }
        UNROLL for (int j = 0; j < nv; j++) FN(interleave)(column[j], high);
        UNROLL for (int j = 0; j < nv; j++) UNROLL for (int i = 0; i < high; i++)
            *(V *)(flat + (j * high + i) * VL) = column[j][i];
#else
        UNROLL for (int i = 0; i < mr; i++) UNROLL for (int j = 0; j < nv; j++) *(V *)(t[i] + j * VL) = c[i][j];
        for (int j = 0; j < n; j++) UNROLL for (int i = 0; i < mr; i++) flat[j * mr + i] = t[i][j];
#endif
        if (p->flags & TILE_ACCUMULATE)
            for (int j = 0; j < n; j++) UNROLL for (int i = 0; i < mr; i++) flat[j * high + i] += corner[j * p->ldc + i];
        if (act != ACT_LINEAR && !early) FN(activate)(flat, flat, n * high, act, (T)p->alpha);
        for (int j = 0; j < n; j++) memcpy(corner + j * p->ldc, flat + j * high, (size_t)mr * sizeof(T));
        return;
    }
    UNROLL for (int i = 0; i < mr; i++) UNROLL for (int j = 0; j < nv; j++) *(V *)(t[i] + j * VL) = c[i][j];
    for (int i = 0; i < mr; i++) {
        if (bias) for (int j = 0; j < n; j++) t[i][j] += bias[j];
        if (p->flags & TILE_ACCUMULATE) for (int j = 0; j < n; j++) t[i][j] += out[i][j];
        if (act != ACT_LINEAR) FN(activate)(t[i], t[i], n, act, (T)p->alpha);
        memcpy(out[i], t[i], (size_t)n * sizeof(T));
    }
}

/* mr in 1..MR rows, n in 1..2*VL columns; b must be readable for a whole vector. */
#define TILE_CASE(mr_) case mr_: \
    if (n > VL) FN(tile_fixed)(mr_, 2, rows, n, p); else FN(tile_fixed)(mr_, 1, rows, n, p); break;
#if MR == 8
  #define TILE_CASES TILE_CASE(1) TILE_CASE(2) TILE_CASE(3) TILE_CASE(4) TILE_CASE(5) TILE_CASE(6) TILE_CASE(7) TILE_CASE(8)
#else
  #define TILE_CASES TILE_CASE(1) TILE_CASE(2) TILE_CASE(3) TILE_CASE(4) TILE_CASE(5) TILE_CASE(6)
#endif

NOINLINE void FN(tile_panel)(int mr, int n, const tile_args *p)
{
    enum { rows = ROWS_PANEL };
    switch (mr) { TILE_CASES }
}

NOINLINE void FN(tile_gather)(int mr, int n, const tile_args *p)
{
    enum { rows = ROWS_GATHER };
    switch (mr) { TILE_CASES }
}

NOINLINE void FN(tile_taps)(int mr, int n, const tile_args *p)
{
    enum { rows = ROWS_TAPS };
    switch (mr) { TILE_CASES }
}
#undef TILE_CASE
#undef TILE_CASES

/* 2*FMA_CHAINS*VL*n operations on registers alone: what the arithmetic units can do at best. */
NOINLINE T FN(fma_loop)(int64_t n)
{
    V c[FMA_CHAINS], a = SPLAT(0.5), b = SPLAT(0.25);
    T sum = 0;
    UNROLL for (int i = 0; i < FMA_CHAINS; i++) c[i] = SPLAT(i);
    for (int64_t k = 0; k < n; k++) UNROLL for (int i = 0; i < FMA_CHAINS; i++) c[i] = c[i] * a + b;
    UNROLL for (int i = 1; i < FMA_CHAINS; i++) c[0] += c[i];
    memcpy(&sum, &c[0], sizeof(T));
    return sum;
}
