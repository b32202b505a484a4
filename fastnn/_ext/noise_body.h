/* Included by noise.h once for float and once for double. */
#define POLYNOMIAL(x, c) FN(polynomial)(x, FN(c), (int)(sizeof FN(c) / sizeof(T)))

/* The words of the elements `first`, first + 1, ... */
INLINE VU FN(words)(uint32_t first, uint32_t high)
{
    U lanes[VL];
    for (int j = 0; j < VL; j++) lanes[j] = (U)j;
    VU lane;
    memcpy(&lane, lanes, sizeof lane);
    return FN(mix)(FN(mix)((lane + first) & 0xffffffffu) ^ high);
}

/* The upper 23 bits of a word as a number in (0, 1), the middle of its cell: the same for float and double. */
INLINE V FN(uniform)(VU word)
{
    V from_1_to_2 = NUMBER(((word >> 9) << (FN(K).mantissa - 23)) | BITS(SPLAT(1)));
    return from_1_to_2 - SPLAT(1 - 1.0 / 16777216);
}

/* -log u, 0 < u < 1: u = 2^k (1 + e), 1 + e between the roots of 1/2 and 2, log(1 + e) as in softplus. */
INLINE V FN(minus_log)(V u)
{
    const U digits = ((U)1 << FN(K).mantissa) - 1;
    V k = NUMBER(BITS(SPLAT(FN(K).magic)) + (BITS(u) >> FN(K).mantissa) - FN(K).bias) - SPLAT(FN(K).magic);
    V m = NUMBER((BITS(u) & digits) | BITS(SPLAT(1))), root = SPLAT(1.41421356);
    k = SELECT(m > root, k + SPLAT(1), k);
    V e = SELECT(m > root, SPLAT(0.5) * m, m) - SPLAT(1), s = e / (SPLAT(2) + e), z = s * s;
    return s * (e - z * POLYNOMIAL(z, LOG1P)) - e - k * SPLAT(LN_2);
}

/* A normal number of two words (Box & Muller 1958): sqrt(-2 log u) cos(2 pi v); cos(2 pi v) = sin(2 pi (q - 1/4)),
 * q = |v - 1/2|. */
INLINE V FN(normal)(VU word, VU other)
{
    V r = SPLAT(2) * FN(minus_log)(FN(uniform)(word));
    T roots[VL];
    memcpy(roots, &r, sizeof r);
    for (int j = 0; j < VL; j++) roots[j] = ROOT(roots[j]);
    memcpy(&r, roots, sizeof r);
    V q = FN(magnitude)(FN(uniform)(other) - SPLAT(0.5)), t = SPLAT(TWO_PI) * (q - SPLAT(0.25)), tt = t * t;
    return r * (t + t * tt * POLYNOMIAL(tt, SINE));
}

/* y_i = x_i + std z_i; y may be x. */
NOINLINE void FN(gaussian_row)(const T *x, T *y, int64_t n, T std, uint32_t first, uint32_t high, uint32_t other_first,
    uint32_t other_high)
{
    T t[VL] = {0};
    for (int64_t i = 0; i < n; i += VL) {
        const int64_t left = n - i;
        if (left < VL) memcpy(t, x + i, (size_t)left * sizeof(T));
        V z = FN(normal)(FN(words)(first + (uint32_t)i, high), FN(words)(other_first + (uint32_t)i, other_high));
        V v = *(const V *)(left < VL ? t : x + i) + SPLAT(std) * z;
        if (left < VL) {
            memcpy(t, &v, sizeof t);
            memcpy(y + i, t, (size_t)left * sizeof(T));
        } else
            *(V *)(y + i) = v;
    }
}

/* y_i = value_i where u_i < phi(x_i), else 0. phi(x) = f(x) / x with f = gelu or silu, so u |x| < |f(x)| decides. */
INLINE void FN(gate_row_as)(const int act, const T *x, const T *value, T *y, int64_t n, uint32_t first, uint32_t high)
{
    T t[VL] = {0}, s[VL] = {0};
    for (int64_t i = 0; i < n; i += VL) {
        const int64_t left = n - i;
        if (left < VL) {
            memcpy(t, x + i, (size_t)left * sizeof(T));
            memcpy(s, value + i, (size_t)left * sizeof(T));
        }
        V a = *(const V *)(left < VL ? t : x + i), u = FN(uniform)(FN(words)(first + (uint32_t)i, high));
        a = SELECT(FN(magnitude)(a) < SPLAT(NEAR_0), SPLAT(NEAR_0), a);
        a = FN(at_most)(FN(at_least)(a, -GATE_FAR), GATE_FAR);
        V f = FN(activation)(a, act, SPLAT(0)), v = *(const V *)(left < VL ? s : value + i);
        v = SELECT(u * FN(magnitude)(a) >= FN(magnitude)(f), SPLAT(0), v);
        if (left < VL) {
            memcpy(s, &v, sizeof s);
            memcpy(y + i, s, (size_t)left * sizeof(T));
        } else
            *(V *)(y + i) = v;
    }
}

NOINLINE void FN(gate_row)(const T *x, const T *value, T *y, int64_t n, int act, uint32_t first, uint32_t high)
{
    if (act == ACT_GELU) FN(gate_row_as)(ACT_GELU, x, value, y, n, first, high);
    else FN(gate_row_as)(ACT_SILU, x, value, y, n, first, high);
}
#undef POLYNOMIAL
