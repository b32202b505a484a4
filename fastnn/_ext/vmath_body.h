/* Included by vmath.h once for float and once for double (each_type.h). */

/* Written with comparisons that are false for NaN, so that NaN survives. */
INLINE V FN(at_least)(V x, T low) { return SELECT(x < SPLAT(low), SPLAT(low), x); }
INLINE V FN(at_most)(V x, T high) { return SELECT(x > SPLAT(high), SPLAT(high), x); }
INLINE V FN(magnitude)(V x) { return NUMBER(BITS(x) & ~FN(K).sign); }
INLINE V FN(minus_magnitude)(V x) { return NUMBER(BITS(x) | FN(K).sign); }
/* x without its lower half of digits: a product of two such numbers is exact, with or without FMA. */
INLINE V FN(shorten)(V x) { return NUMBER(BITS(x) & FN(K).high); }

/* c[0] + c[1] x + ... + c[n-1] x^(n-1); a long one as two chains that overlap, even and odd powers. */
INLINE V FN(polynomial)(V x, const T *c, const int n)
{
    V sum = SPLAT(c[n - 1]);
    if (n < 8) {
        UNROLL_ALL for (int i = n - 2; i >= 0; i--) sum = sum * x + SPLAT(c[i]);
        return sum;
    }
    V other = SPLAT(c[n - 2]), xx = x * x;
    UNROLL_ALL for (int i = n - 3; i >= 0; i -= 2) sum = sum * xx + SPLAT(c[i]);
    UNROLL_ALL for (int i = n - 4; i >= 0; i -= 2) other = other * xx + SPLAT(c[i]);
    if (n % 2) return sum + x * other;
    return other + x * sum;
}
#define POLYNOMIAL(x, c) FN(polynomial)(x, FN(c), (int)(sizeof FN(c) / sizeof(T)))

/* 2^k for k in the low bits of `bits` (the higher ones are shifted out), k a normal exponent. */
INLINE V FN(power_of_2)(VU bits) { return NUMBER((bits + FN(K).bias) << FN(K).mantissa); }

/* e^r - 1 - r, |r| <= ln(2) / 2 */
INLINE V FN(exp_rest)(V r) { return r * r * POLYNOMIAL(r, EXP); }

/* e^x = 2^k (1 + r + w): returns w; k is in the low bits of *t. */
INLINE V FN(exp_parts)(V x, V *t, V *r)
{
    *t = x * SPLAT(LOG2_E) + SPLAT(FN(K).magic);
    V k = *t - SPLAT(FN(K).magic);
    *r = (x - k * SPLAT(FN(K).ln2_hi)) - k * SPLAT(FN(K).ln2_lo);
    return FN(exp_rest)(*r);
}

/* 2^k = *a *b for k in the low bits: two factors, so that a product with them may become denormal. */
INLINE void FN(two_factors)(VU bits, V *a, V *b)
{
    VU half = bits >> 1;
    *a = FN(power_of_2)(half);
    *b = FN(power_of_2)(bits - half);
}

/* e^x for x <= 0 */
INLINE V FN(exp_negative)(V x)
{
    V t, r, a, b, w = FN(exp_parts)(FN(at_least)(x, FN(K).exp_min), &t, &r);
    FN(two_factors)(BITS(t), &a, &b);
    return (SPLAT(1) + (r + w)) * a * b;
}

/* e^x - 1 for expm1_min <= x <= 2 tanh_max, right to the last places near 0 too. */
INLINE V FN(expm1_small)(V x)
{
    V t, r, w = FN(exp_parts)(x, &t, &r), s = FN(power_of_2)(BITS(t));
    return s * w + (s * r + (s - SPLAT(1)));
}

/* tanh |x| = 1 - 2 / (e^(2 |x|) + 1), a polynomial below 1/2 */
INLINE V FN(tanh)(V x)
{
    V z = FN(at_most)(FN(magnitude)(x), FN(K).tanh_max), zz = z * z;
    V large = SPLAT(1) - SPLAT(2) / (FN(expm1_small)(SPLAT(2) * z) + SPLAT(2));
    V y = SELECT(z < SPLAT(0.55), z + z * zz * POLYNOMIAL(zz, TANH), large);
    return NUMBER(BITS(y) | (BITS(x) & FN(K).sign));
}

/* 1 / (1 + e^-x) without overflow: e = exp(-|x|), q = e / (1 + e); the result is 1 - q, or q as e - e q, in
 * which the error of q weighs little. *slope = sigma (1 - sigma) */
INLINE V FN(sigmoid)(V x, V *slope)
{
    V e = FN(exp_negative)(FN(minus_magnitude)(x)), q = e / (SPLAT(1) + e), n = SELECT(x < 0, e, SPLAT(1));
    if (slope) *slope = q - q * q;
    return n - n * q;
}

/* log(1 + e^x) = max(x, 0) + log1p(e), e = exp(-|x|); with s = e / (2 + e),
 * log1p(e) = 2 atanh(s) = e - s (e - R), R = (2 atanh(s) - 2 s) / s */
INLINE V FN(softplus)(V x)
{
    V e = FN(exp_negative)(FN(minus_magnitude)(x)), s = e / (SPLAT(2) + e), z = s * s;
    return SELECT(x > 0, x, SPLAT(0)) + (e - s * (e - z * POLYNOMIAL(z, LOG1P)));
}

/* G(z) = z Phi(-z), Phi the normal distribution, 0 <= z <= phi_max, or its derivative Phi(-z) - z phi(z).
 *
 * Phi(-z) = e^(-z^2/2) q / (z + m), q a polynomial of u = (z - b) / (z + k). It changes so little with u that
 * the error of u weighs little. The rest is kept as a short number, whose products are exact, and what that
 * leaves: z = h + h_lo, z + m = d + h_lo, e^(-z^2/2) = 2^j (p + p_lo), q / (z + m) = f + t rest.
 * 2^j comes last: where Phi(-z) is denormal, G(z) may not be. */
INLINE V FN(gelu_tail)(V z, const int derivative)
{
    V sum = z + SPLAT(PHI_M), d = FN(shorten)(sum), h = d - SPLAT(PHI_M), h_lo = z - h;
    V minus_half = SPLAT(-0.5) * h, rest_of_square = h_lo * (minus_half - SPLAT(0.5) * z);
    V bits = z * z * SPLAT(-0.5 * LOG2_E) + SPLAT(FN(K).magic), j = bits - SPLAT(FN(K).magic);
    V r = (minus_half * h - j * SPLAT(FN(K).ln2_hi)) + (rest_of_square - j * SPLAT(FN(K).ln2_lo));
    V w = FN(exp_rest)(r), p = FN(shorten)(SPLAT(1) + (r + w)), p_lo = (r - (p - SPLAT(1))) + w;

    V s = z + SPLAT(FN(K).phi_k), v = SPLAT(1) / (s * sum), t = s * v;
    V u = (z - SPLAT(FN(K).phi_b)) * sum * v;
    V c0 = SPLAT(FN(TAIL_0)), c = POLYNOMIAL(u, TAIL), q = c0 + u * c, q_lo = (c0 - q) + u * c;
    V ratio = q * t, f = FN(shorten)(ratio), rest = (q - f * d) + (q_lo - f * h_lo);

    V y = p * f + (p * t * rest + p_lo * ratio), a, b;
    FN(two_factors)(BITS(bits), &a, &b);
    if (derivative) return (y - SPLAT(INV_SQRT_2PI) * z * (p + p_lo)) * a * b;
    return y * (z * a) * b;
}

/* x sigma(g(x)) is silu, and gelu_sigmoid and gelu_tanh: (1 + tanh u) / 2 = sigma(2 u). */
INLINE V FN(gate)(V x, int act, V *slope)
{
    if (act == ACT_GELU_SIGMOID) {
        *slope = SPLAT(1.702);
        return SPLAT(1.702) * x;
    }
    if (act == ACT_GELU_TANH) {
        V c = SPLAT(2 * GELU_TANH_C), xx = x * x;
        *slope = c * (SPLAT(1) + SPLAT(3 * 0.044715) * xx);
        return c * (x + SPLAT(0.044715) * (xx * x));
    }
    *slope = SPLAT(1);
    return x;
}

INLINE V FN(activation)(V x, int act, V alpha)
{
    V slope, s;
    switch (act) {
    case ACT_RELU: case ACT_RELU_RIGHT: return SELECT(x <= 0, SPLAT(0), x);
    case ACT_LEAKY_RELU: return SELECT(x <= 0, alpha * x, x);
    case ACT_ELU:
        return SELECT(x <= 0, alpha * FN(expm1_small)(FN(at_least)(FN(at_most)(x, 0), FN(K).expm1_min)), x);
    case ACT_SELU: return SPLAT(SELU_LAMBDA) * FN(activation)(x, ACT_ELU, SPLAT(SELU_ALPHA));
    case ACT_SIGMOID: return FN(sigmoid)(x, NULL);
    case ACT_TANH: return FN(tanh)(x);
    case ACT_SOFTPLUS: return FN(softplus)(x);
    case ACT_GELU: /* x Phi(x) = max(x, 0) - G(|x|) */
        return FN(at_least)(x, 0) - FN(gelu_tail)(FN(at_most)(FN(magnitude)(x), FN(K).phi_max), 0);
    case ACT_GELU_TANH: case ACT_GELU_SIGMOID: case ACT_SILU:
        x = FN(at_least)(x, -GATE_FAR);
        return x * FN(sigmoid)(FN(gate)(x, act, &slope), NULL);
    case ACT_SWISH: /* where sigma is 0 so is the product, for an infinite x too */
        s = FN(sigmoid)(alpha * x, NULL);
        return SELECT(s == 0, SPLAT(0), x * s);
    case ACT_HARD_SIGMOID: return FN(at_most)(FN(at_least)(x + SPLAT(3), 0), 6) * SPLAT(1.0 / 6);
    case ACT_HARD_TANH: return FN(at_most)(FN(at_least)(x, -1), 1);
    case ACT_HARD_SWISH:
        x = FN(at_least)(x, -3);
        return x * (FN(at_most)(x + SPLAT(3), 6) * SPLAT(1.0 / 6));
    case ACT_STEP: return SELECT(x >= 0, SPLAT(1), SELECT(x < 0, SPLAT(0), x));
    default: return x;
    }
}

/* da = dy f'(a), from y = f(a), or from a itself for the names in SAVES_INPUT. */
INLINE V FN(activation_slope)(V dy, V saved, int act, V alpha)
{
    V y = saved, x, s, slope, ds;
    switch (act) {
    case ACT_RELU: return SELECT(y <= 0, SPLAT(0), dy);
    case ACT_LEAKY_RELU: return SELECT(y <= 0, alpha * dy, dy);
    case ACT_ELU: return SELECT(y <= 0, (y + alpha) * dy, dy);
    case ACT_SELU: return SELECT(y <= 0, y + SPLAT(SELU_LAMBDA * SELU_ALPHA), SPLAT(SELU_LAMBDA)) * dy;
    case ACT_SIGMOID: return dy * (y * (SPLAT(1) - y));
    case ACT_TANH: return dy * (SPLAT(1) - y * y);
    case ACT_SOFTPLUS: /* 1 - e^-y */
        return -dy * FN(expm1_small)(FN(at_least)(-y, FN(K).expm1_min));
    case ACT_GELU: /* G'(-x) or 1 - G'(x) */
        s = FN(gelu_tail)(FN(at_most)(FN(magnitude)(saved), FN(K).phi_max), 1);
        return dy * SELECT(saved < 0, s, SPLAT(1) - s);
    case ACT_GELU_TANH: case ACT_GELU_SIGMOID: case ACT_SILU: /* sigma(g) + x sigma'(g) g' */
        x = FN(at_most)(FN(at_least)(saved, -GATE_FAR), GATE_FAR);
        s = FN(sigmoid)(FN(gate)(x, act, &slope), &ds);
        return dy * (s + x * ds * slope);
    case ACT_SWISH:
        s = FN(sigmoid)(alpha * saved, &ds);
        return dy * (s + SELECT(ds == 0, SPLAT(0), saved * ds) * alpha);
    case ACT_HARD_SIGMOID: return SELECT(y <= 0, SPLAT(0), SELECT(y >= 1, SPLAT(0), dy * SPLAT(1.0 / 6)));
    case ACT_HARD_TANH: return SELECT(y <= -1, SPLAT(0), SELECT(y >= 1, SPLAT(0), dy));
    case ACT_HARD_SWISH: /* 2 x / 6 + 3 / 6 between the kinks */
        return SELECT(saved <= -3, SPLAT(0), SELECT(saved >= 3, dy, dy * (saved * SPLAT(1.0 / 3) + SPLAT(0.5))));
    case ACT_STEP: return SPLAT(0);
    case ACT_RELU_RIGHT: return SELECT(saved < 0, SPLAT(0), dy);
    default: return dy;
    }
}

/* Elements that do not fill a vector take the same way through a small buffer: the value of an element
 * does not depend on its position. */
#define FORWARD(act) case act: \
    for (; i + VL <= n; i += VL) { *(V *)(y + i) = FN(activation)(*(const V *)(x + i), act, a); } break;

/* y = f(x); y may be x. */
NOINLINE void FN(activate)(const T *x, T *y, int64_t n, int act, T alpha)
{
    int64_t i = 0;
    V a = SPLAT(alpha);
    switch (act) {
    FORWARD(ACT_RELU) FORWARD(ACT_LEAKY_RELU) FORWARD(ACT_ELU) FORWARD(ACT_SELU) FORWARD(ACT_SIGMOID)
    FORWARD(ACT_TANH) FORWARD(ACT_SOFTPLUS) FORWARD(ACT_GELU) FORWARD(ACT_GELU_TANH)
    FORWARD(ACT_GELU_SIGMOID) FORWARD(ACT_SILU) FORWARD(ACT_SWISH) FORWARD(ACT_HARD_SIGMOID)
    FORWARD(ACT_HARD_TANH) FORWARD(ACT_HARD_SWISH) FORWARD(ACT_STEP) FORWARD(ACT_RELU_RIGHT)
    default:
        if (x != y) memmove(y, x, (size_t)n * sizeof(T));
        return;
    }
    if (i < n) {
        T t[VL] = {0};
        memcpy(t, x + i, (size_t)(n - i) * sizeof(T));
        FN(activate)(t, t, VL, act, alpha);
        memcpy(y + i, t, (size_t)(n - i) * sizeof(T));
    }
}
#undef FORWARD

#define BACKWARD(act) case act: \
    for (; i + VL <= n; i += VL) { \
        *(V *)(da + i) = FN(activation_slope)(*(const V *)(dy + i), *(const V *)(saved + i), act, a); \
    } break;

/* da = dy f'; da may be dy or saved. */
NOINLINE void FN(activate_backward)(const T *dy, const T *saved, T *da, int64_t n, int act, T alpha)
{
    int64_t i = 0;
    V a = SPLAT(alpha);
    switch (act) {
    BACKWARD(ACT_RELU) BACKWARD(ACT_LEAKY_RELU) BACKWARD(ACT_ELU) BACKWARD(ACT_SELU) BACKWARD(ACT_SIGMOID)
    BACKWARD(ACT_TANH) BACKWARD(ACT_SOFTPLUS) BACKWARD(ACT_GELU) BACKWARD(ACT_GELU_TANH)
    BACKWARD(ACT_GELU_SIGMOID) BACKWARD(ACT_SILU) BACKWARD(ACT_SWISH) BACKWARD(ACT_HARD_SIGMOID)
    BACKWARD(ACT_HARD_TANH) BACKWARD(ACT_HARD_SWISH) BACKWARD(ACT_STEP) BACKWARD(ACT_RELU_RIGHT)
    default:
        if (dy != da) memmove(da, dy, (size_t)n * sizeof(T));
        return;
    }
    if (i < n) {
        T t[VL] = {0}, u[VL] = {0};
        memcpy(t, dy + i, (size_t)(n - i) * sizeof(T));
        memcpy(u, saved + i, (size_t)(n - i) * sizeof(T));
        FN(activate_backward)(t, u, t, VL, act, alpha);
        memcpy(da + i, t, (size_t)(n - i) * sizeof(T));
    }
}
#undef BACKWARD

/* The sum of a vector, halved again and again. */
INLINE T FN(vector_sum)(V x)
{
    T t[VL];
    memcpy(t, &x, sizeof t);
    for (int w = VL / 2; w > 0; w /= 2) for (int i = 0; i < w; i++) t[i] += t[i + w];
    return t[0];
}

/* y = exp(x - max x) of a row (y may be x, or NULL); returns the sum and the maximum. */
NOINLINE T FN(exp_row)(const T *x, T *y, int64_t n, T *maximum)
{
    const int64_t whole = n - n % VL;
    T t[VL];
    for (int i = 0; i < VL; i++) t[i] = -INFINITY;
    if (whole < n) memcpy(t, x + whole, (size_t)(n - whole) * sizeof(T));
    V rest, m, sum = SPLAT(0);
    memcpy(&rest, t, sizeof t);
    m = rest;
    for (int64_t i = 0; i < whole; i += VL) {
        V v = *(const V *)(x + i);
        m = SELECT(v > m, v, m);
    }
    memcpy(t, &m, sizeof t);
    T top = t[0];
    for (int i = 1; i < VL; i++) top = t[i] > top ? t[i] : top;
    *maximum = top;
    for (int64_t i = 0; i < whole; i += VL) {
        V e = FN(exp_negative)(*(const V *)(x + i) - SPLAT(top));
        if (y) *(V *)(y + i) = e;
        sum += e;
    }
    if (whole < n) {
        V e = FN(exp_negative)(rest - SPLAT(top));
        sum += e;
        memcpy(t, &e, sizeof t);
        if (y) memcpy(y + whole, t, (size_t)(n - whole) * sizeof(T));
    }
    return FN(vector_sum)(sum);
}

/* exp_row for n rows of k. Short rows would fill a vector badly and end in sums across its lanes, so VL of
 * them are turned first: a vector then holds one column. */
NOINLINE void FN(exp_rows)(const T *x, T *y, int64_t n, int64_t k, T *total, T *maximum)
{
    enum { SHORT = 16 };
    int64_t i = 0;
    for (; k > SHORT && i < n; i++) total[i] = FN(exp_row)(x + i * k, y ? y + i * k : NULL, k, maximum + i);
    for (; i < n; i += VL) {
        const int64_t rows = n - i < VL ? n - i : VL;
        T t[SHORT][VL] = {{0}};
        for (int64_t l = 0; l < rows; l++) for (int64_t j = 0; j < k; j++) t[j][l] = x[(i + l) * k + j];
        V m = *(const V *)t[0], sum = SPLAT(0);
        for (int64_t j = 1; j < k; j++) m = SELECT(*(const V *)t[j] > m, *(const V *)t[j], m);
        for (int64_t j = 0; j < k; j++) {
            V e = FN(exp_negative)(*(const V *)t[j] - m);
            *(V *)t[j] = e;
            sum += e;
        }
        memcpy(maximum + i, &m, (size_t)rows * sizeof(T));
        memcpy(total + i, &sum, (size_t)rows * sizeof(T));
        if (y) for (int64_t l = 0; l < rows; l++) for (int64_t j = 0; j < k; j++) y[(i + l) * k + j] = t[j][l];
    }
}

/* y = a + b; y may be a or b, which the compiler's own vector loop would not allow. */
NOINLINE void FN(add_row)(const T *a, const T *b, T *y, int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL) *(V *)(y + i) = *(const V *)(a + i) + *(const V *)(b + i);
    for (; i < n; i++) y[i] = a[i] + b[i];
}

/* sum_i a_i b_i */
NOINLINE T FN(dot_row)(const T *a, const T *b, int64_t n)
{
    V sum = SPLAT(0);
    int64_t i = 0;
    for (; i + VL <= n; i += VL) sum += *(const V *)(a + i) * *(const V *)(b + i);
    T s = FN(vector_sum)(sum);
    for (; i < n; i++) s += a[i] * b[i];
    return s;
}

/* sum_i (p_i - t_i)^2; d = scale (p - t) unless d is NULL */
NOINLINE T FN(squared_row)(const T *p, const T *t, T *d, int64_t n, T scale)
{
    V sum = SPLAT(0);
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        V e = *(const V *)(p + i) - *(const V *)(t + i);
        if (d) *(V *)(d + i) = SPLAT(scale) * e;
        sum += e * e;
    }
    T s = FN(vector_sum)(sum);
    for (; i < n; i++) {
        T e = p[i] - t[i];
        if (d) d[i] = scale * e;
        s += e * e;
    }
    return s;
}
/* Every bit of the result depends on every bit of h (the end of MurmurHash3, Appleby 2011), in 32-bit
 * arithmetic also where the lanes have 64. */
INLINE VU FN(mix)(VU h)
{
    h = ((h ^ (h >> 16)) * 0x85ebca6bu) & 0xffffffffu;
    h = ((h ^ (h >> 13)) * 0xc2b2ae35u) & 0xffffffffu;
    return h ^ (h >> 16);
}

/* y_i = scale x_i + shift where mix(mix(first + i) ^ high) >= least, else fill; y may be x. */
NOINLINE void FN(dropout_row)(const T *x, T *y, int64_t n, uint32_t first, uint32_t high, uint32_t least, T scale,
    T shift, T fill)
{
    U lanes[VL];
    T t[VL] = {0};
    for (int j = 0; j < VL; j++) lanes[j] = (U)j;
    VU lane;
    memcpy(&lane, lanes, sizeof lane);
    for (int64_t i = 0; i < n; i += VL) {
        const int64_t left = n - i;
        if (left < VL) memcpy(t, x + i, (size_t)left * sizeof(T));
        VU h = FN(mix)(FN(mix)((lane + (uint32_t)(first + (uint32_t)i)) & 0xffffffffu) ^ high);
        V v = SPLAT(scale) * *(const V *)(left < VL ? t : x + i) + SPLAT(shift);
        v = SELECT(h >= least, v, SPLAT(fill));
        if (left < VL) {
            memcpy(t, &v, sizeof t);
            memcpy(y + i, t, (size_t)left * sizeof(T));
        } else
            *(V *)(y + i) = v;
    }
}
#undef POLYNOMIAL
