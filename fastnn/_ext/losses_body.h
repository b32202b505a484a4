/* Included by losses.h once for float and once for double (each_type.h). */

/* Whether every target is one that the loss takes: in [0, 1], or -1 or 1, and no NaN. */
NOINLINE int FN(targets_fit)(int kind, const T *t, int64_t n)
{
    int bad = 0;
    if (kind == LOSS_BINARY)
        for (int64_t i = 0; i < n; i++) bad |= !((t[i] >= 0) & (t[i] <= 1));
    else if (kind != LOSS_HUBER)
        for (int64_t i = 0; i < n; i++) bad |= (t[i] != 1) & (t[i] != -1);
    return !bad;
}

/* The loss of outputs z with targets t, and its derivative. a and b: Huber's delta; the weights of the targets
 * 0 and 1, or -1 and 1. Comparisons are such that NaN survives. */
INLINE V FN(one_loss)(const int kind, V z, V t, T a, T b, V *slope)
{
    if (kind == LOSS_HUBER) { /* c (|e| - c / 2) with c = min(|e|, delta) */
        V e = z - t, size = FN(magnitude)(e), c = FN(at_most)(size, a);
        *slope = FN(at_least)(FN(at_most)(e, a), -a);
        return c * (size - SPLAT(0.5) * c);
    }
    if (kind == LOSS_BINARY) { /* log(1 + e^z) = max(z, 0) + log(1 + e^-|z|), and the same of -z */
        V zero = SPLAT(a) * (SPLAT(1) - t), one = SPLAT(b) * t;
        V rest = FN(softplus)(FN(minus_magnitude)(z));
        *slope = zero * FN(sigmoid)(z, NULL) - one * FN(sigmoid)(-z, NULL);
        return zero * (SELECT(z > 0, z, SPLAT(0)) + rest) + one * (SELECT(z < 0, -z, SPLAT(0)) + rest);
    }
    V weight = SELECT(t > 0, SPLAT(b), SPLAT(a)), gap = SPLAT(1) - t * z;
    if (kind == LOSS_SQUARED_HINGE) {
        gap = SELECT(gap <= 0, SPLAT(0), gap);
        *slope = SPLAT(-2) * weight * t * gap;
        return weight * gap * gap;
    }
    *slope = SELECT(gap <= 0, SPLAT(0), -weight * t);
    return SELECT(gap <= 0, SPLAT(0), weight * gap);
}

/* Elements that do not fill a vector take the same way through a small buffer, as in vmath_body.h. */
#define EACH(kind) case kind: \
    for (; i + VL <= n; i += VL) { \
        V slope, loss = FN(one_loss)(kind, *(const V *)(z + i), *(const V *)(t + i), a, b, &slope); \
        *(V *)(losses + i) = SPLAT(c) * loss; \
        if (dz) *(V *)(dz + i) = SPLAT(scale) * slope; \
    } break;

/* losses = c loss, dz = scale (the loss's derivative) unless it is NULL; dz may be z. */
NOINLINE void FN(loss_each)(int kind, const T *z, const T *t, T *dz, T *losses, int64_t n, T a, T b, T c, T scale)
{
    int64_t i = 0;
    switch (kind) {
    EACH(LOSS_HUBER) EACH(LOSS_BINARY) EACH(LOSS_HINGE)
    default: EACH(LOSS_SQUARED_HINGE)
    }
    if (i < n) {
        const size_t left = (size_t)(n - i) * sizeof(T);
        T some_z[VL] = {0}, some_t[VL] = {0}, some_losses[VL];
        memcpy(some_z, z + i, left);
        memcpy(some_t, t + i, left);
        FN(loss_each)(kind, some_z, some_t, dz ? some_z : NULL, some_losses, VL, a, b, c, scale);
        memcpy(losses + i, some_losses, left);
        if (dz) memcpy(dz + i, some_z, left);
    }
}
#undef EACH

/* sum_i w_i (x_i - top), each w_i 1 if w is NULL. What weighs 0 may be infinite. */
NOINLINE T FN(centred_row)(const T *x, const T *w, int64_t n, T top)
{
    V sum = SPLAT(0);
    int64_t i = 0;
    if (!w)
        for (; i + VL <= n; i += VL) sum += *(const V *)(x + i) - SPLAT(top);
    for (; i + VL <= n; i += VL) {
        V weight = *(const V *)(w + i), product = weight * (*(const V *)(x + i) - SPLAT(top));
        sum += SELECT(weight == 0, SPLAT(0), product);
    }
    T s = FN(vector_sum)(sum);
    for (; i < n; i++) s += !w ? x[i] - top : w[i] == 0 ? 0 : w[i] * (x[i] - top);
    return s;
}

/* x_0 + ... + x_(n-1) */
NOINLINE T FN(sum_row)(const T *x, int64_t n)
{
    V sum = SPLAT(0);
    int64_t i = 0;
    for (; i + VL <= n; i += VL) sum += *(const V *)(x + i);
    T s = FN(vector_sum)(sum);
    for (; i < n; i++) s += x[i];
    return s;
}

/* log t for positive normal t = 2^k m, sqrt(1/2) <= m < sqrt(2); with s = (m - 1) / (m + 1), log m = 2 atanh(s) */
INLINE V FN(log)(V t)
{
    const int mantissa = FN(K).mantissa;
    const VU one = BITS(SPLAT(1)), from_half = BITS(t) + (one - BITS(SPLAT(0.70710678118654752440)));
    VU k = from_half >> mantissa; /* plus the bias */
    V m = NUMBER(BITS(t) - (k << mantissa) + one), s = (m - SPLAT(1)) / (m + SPLAT(1)), z = s * s;
    V power = NUMBER(BITS(SPLAT(FN(K).magic)) | k) - SPLAT(FN(K).magic) - SPLAT(FN(K).bias);
    V log_m = SPLAT(2) * s + s * z * FN(polynomial)(z, FN(LOG1P), (int)(sizeof FN(LOG1P) / sizeof(T)));
    return power * SPLAT(FN(K).ln2_hi) + (power * SPLAT(FN(K).ln2_lo) + log_m);
}

/* sum_i t_i (log t_i - (x_i - top)), and the sum of t. Where t = 0, x may be infinite. */
NOINLINE T FN(divergence_row)(const T *x, const T *t, int64_t n, T top, T *mass)
{
    V sum = SPLAT(0), all = SPLAT(0);
    for (int64_t i = 0; i < n; i += VL) {
        T some_x[VL] = {0}, some_t[VL] = {0};
        const T *px = x + i, *pt = t + i;
        if (VL > 1 && n - i < VL) {
            px = memcpy(some_x, px, (size_t)(n - i) * sizeof(T));
            pt = memcpy(some_t, pt, (size_t)(n - i) * sizeof(T));
        }
        V p = *(const V *)pt;
        sum += SELECT(p == 0, SPLAT(0), p * (FN(log)(p) - (*(const V *)px - SPLAT(top))));
        all += p;
    }
    *mass = FN(vector_sum)(all);
    return FN(vector_sum)(sum);
}

/* Whether numbers are probabilities: none below 0, their sum within `tolerance` of 1. */
NOINLINE int FN(is_distribution)(const T *t, int64_t n, T tolerance)
{
    T sum = FN(sum_row)(t, n) - 1;
    int bad = 0;
    for (int64_t i = 0; i < n; i++) bad |= t[i] < 0;
    return !bad && sum <= tolerance && sum >= -tolerance;
}
