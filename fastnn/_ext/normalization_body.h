/* Included by normalization.h once for float and once for double. n numbers in rows of `width`, the last one short;
 * factors are rows too. The constant arguments of the inner functions choose the loop. */

INLINE T FN(bn_activate)(T a, const int activation, T alpha)
{
    if (activation == ACT_RELU) return a <= 0 ? 0 : a;
    return activation == ACT_LEAKY_RELU && a <= 0 ? alpha * a : a;
}

/* y = activation((x - mean) * scale + shift + add), factors = mean, scale, shift */
INLINE void FN(bn_normalize_as)(const int activation, const int adds, const T *RESTRICT x, const T *RESTRICT add,
    T *RESTRICT y, const T *RESTRICT factors, int64_t n, int64_t width, T alpha)
{
    const T *RESTRICT scale = factors + width, *RESTRICT shift = scale + width;
    for (int64_t i = 0; i < n; i += width) {
        const int64_t m = n - i < width ? n - i : width;
        for (int64_t k = 0; k < m; k++) {
            T a = (x[i + k] - factors[k]) * scale[k] + shift[k];
            if (adds) a += add[i + k];
            y[i + k] = FN(bn_activate)(a, activation, alpha);
        }
    }
}

NOINLINE void FN(bn_normalize)(const T *x, const T *add, T *y, const T *factors, int64_t n, int64_t width,
    int activation, T alpha)
{
    #define CASE(act) case act: \
        if (add) FN(bn_normalize_as)(act, 1, x, add, y, factors, n, width, alpha); \
        else FN(bn_normalize_as)(act, 0, x, x, y, factors, n, width, alpha); \
        break;
    switch (activation) { CASE(ACT_LINEAR) CASE(ACT_RELU) CASE(ACT_LEAKY_RELU) }
    #undef CASE
}

/* da = dy * activation'(a); the sign of a is that of y */
INLINE T FN(bn_gate)(const int gate, const int activation, T dy, T y, T alpha)
{
    if (gate == GATE_NONE || !(y <= 0)) return dy;
    return activation == ACT_RELU ? 0 : alpha * dy;
}

/* sums += da, products += da * (x - mean); factors = mean, scale, shift of forward */
INLINE void FN(bn_sum_as)(const int gate, const int activation, const T *RESTRICT dy, const T *RESTRICT x,
    const T *RESTRICT y, const T *RESTRICT factors, T *RESTRICT sums, T *RESTRICT products, int64_t n, int64_t width,
    T alpha)
{
    const T *RESTRICT scale = factors + width, *RESTRICT shift = scale + width;
    for (int64_t i = 0; i < n; i += width) {
        const int64_t m = n - i < width ? n - i : width;
        for (int64_t k = 0; k < m; k++) {
            const T centred = x[i + k] - factors[k], a = gate == GATE_X ? centred * scale[k] + shift[k] : y[i + k];
            const T da = FN(bn_gate)(gate, activation, dy[i + k], a, alpha);
            sums[k] += da;
            products[k] += da * centred;
        }
    }
}

/* dx = scale * (da - offset - (x - mean) * slope); factors = mean, scale, shift, slope, offset */
INLINE void FN(bn_input_as)(const int gate, const int activation, const T *RESTRICT dy, const T *RESTRICT x,
    const T *RESTRICT y, T *RESTRICT dx, const T *RESTRICT factors, int64_t n, int64_t width, T alpha)
{
    const T *RESTRICT scale = factors + width, *RESTRICT shift = scale + width;
    const T *RESTRICT slope = shift + width, *RESTRICT offset = slope + width;
    for (int64_t i = 0; i < n; i += width) {
        const int64_t m = n - i < width ? n - i : width;
        for (int64_t k = 0; k < m; k++) {
            const T centred = x[i + k] - factors[k], a = gate == GATE_X ? centred * scale[k] + shift[k] : y[i + k];
            const T da = FN(bn_gate)(gate, activation, dy[i + k], a, alpha);
            dx[i + k] = scale[k] * (da - offset[k] - centred * slope[k]);
        }
    }
}

#define BN_GATES(function, ...) \
    if (gate == GATE_NONE) FN(function)(GATE_NONE, ACT_LINEAR, __VA_ARGS__); \
    else if (activation == ACT_RELU && gate == GATE_Y) FN(function)(GATE_Y, ACT_RELU, __VA_ARGS__); \
    else if (activation == ACT_RELU) FN(function)(GATE_X, ACT_RELU, __VA_ARGS__); \
    else if (gate == GATE_Y) FN(function)(GATE_Y, ACT_LEAKY_RELU, __VA_ARGS__); \
    else FN(function)(GATE_X, ACT_LEAKY_RELU, __VA_ARGS__);

NOINLINE void FN(bn_sum)(int gate, int activation, const T *dy, const T *x, const T *y, const T *factors, T *sums,
    T *products, int64_t n, int64_t width, T alpha)
{
    BN_GATES(bn_sum_as, dy, x, y, factors, sums, products, n, width, alpha)
}

NOINLINE void FN(bn_input)(int gate, int activation, const T *dy, const T *x, const T *y, T *dx, const T *factors,
    int64_t n, int64_t width, T alpha)
{
    BN_GATES(bn_input_as, dy, x, y, dx, factors, n, width, alpha)
}
#undef BN_GATES
