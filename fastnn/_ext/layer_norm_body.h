/* Included by layer_norm.h once for float and once for double. */
#define AT(p) (*(V *)(p))
#define READ(p) (*(const V *)(p))

/* Mean and sum (x - mean)^2 of a row. The first pass sums x - x_0, so that a large mean costs no digits. The second
 * takes the sums about the first one's mean m, which is rounded: mean = m + sum (x - m) / n, and sum (x - m)^2 is
 * too large by (sum (x - m))^2 / n. */
NOINLINE void FN(row_moments)(const T *x, int64_t n, double *mean, double *squares)
{
    enum { STRETCH = 128 * VL };  /* longer sums are kept in double */
    const int64_t whole = n - n % VL;
    V sum = SPLAT(0);
    T s = 0, r = 0, q = 0;
    for (int64_t i = 0; i < whole; i += VL) sum += READ(x + i) - SPLAT(x[0]);
    for (int64_t i = whole; i < n; i++) s += x[i] - x[0];
    const T m = x[0] + (FN(vector_sum)(sum) + s) / (T)n;
    double off = 0, square = 0;
    for (int64_t start = 0; start < whole; start += STRETCH) {
        const int64_t end = start + STRETCH < whole ? start + STRETCH : whole;
        V rest = SPLAT(0), sq = SPLAT(0);
        for (int64_t i = start; i < end; i += VL) {
            const V d = READ(x + i) - SPLAT(m);
            rest += d;
            sq += d * d;
        }
        off += FN(vector_sum)(rest);
        square += FN(vector_sum)(sq);
    }
    for (int64_t i = whole; i < n; i++) {
        const T d = x[i] - m;
        r += d;
        q += d * d;
    }
    off += r;
    square += q - off * off / (double)n;
    *mean = m + off / (double)n;
    *squares = square < 0 ? 0 : square;
}

/* y = (x - mean) inv_std gamma + beta; y may be x. */
NOINLINE void FN(row_normalize)(const T *x, const T *gamma, const T *beta, T *y, int64_t n, T mean, T inv_std)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        AT(y + i) = (READ(x + i) - SPLAT(mean)) * SPLAT(inv_std) * READ(gamma + i) + READ(beta + i);
    for (; i < n; i++) y[i] = (x[i] - mean) * inv_std * gamma[i] + beta[i];
}

/* dgamma += dy x_hat, dbeta += dy; totals of g = dy gamma and of g x_hat over the row. */
NOINLINE void FN(row_sums)(const T *dy, const T *x, const T *gamma, T *dgamma, T *dbeta, int64_t n, T mean, T inv_std,
    double *total, double *product)
{
    int64_t i = 0;
    V sum = SPLAT(0), with_x = SPLAT(0);
    T s = 0, p = 0;
    for (; i + VL <= n; i += VL) {
        const V d = READ(dy + i), x_hat = (READ(x + i) - SPLAT(mean)) * SPLAT(inv_std), g = d * READ(gamma + i);
        AT(dgamma + i) += d * x_hat;
        AT(dbeta + i) += d;
        sum += g;
        with_x += g * x_hat;
    }
    for (; i < n; i++) {
        const T x_hat = (x[i] - mean) * inv_std, g = dy[i] * gamma[i];
        dgamma[i] += dy[i] * x_hat;
        dbeta[i] += dy[i];
        s += g;
        p += g * x_hat;
    }
    *total = (double)FN(vector_sum)(sum) + s;
    *product = (double)FN(vector_sum)(with_x) + p;
}

/* dx = inv_std (dy gamma - offset - x_hat slope); dx may be dy. */
NOINLINE void FN(row_input)(const T *dy, const T *x, const T *gamma, T *dx, int64_t n, T mean, T inv_std, T offset,
    T slope)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        const V x_hat = (READ(x + i) - SPLAT(mean)) * SPLAT(inv_std);
        AT(dx + i) = SPLAT(inv_std) * (READ(dy + i) * READ(gamma + i) - SPLAT(offset) - x_hat * SPLAT(slope));
    }
    for (; i < n; i++) dx[i] = inv_std * (dy[i] * gamma[i] - offset - (x[i] - mean) * inv_std * slope);
}
#undef AT
#undef READ
