/* Winograd's F(4x4, 3x3) on vectors of channels. winograd.pyx includes this once for float and once
 * for double, with T, V, VI, VL, NR, FN, SPLAT and LIST defined (see tile_body.h).
 *
 * A tile of 4x4 outputs needs 6x6 inputs. With the points 0, a, -a, b, -b and infinity, a = 5/8, b = 3/2,
 *
 *     Y = A^T [ (G g G^T) * (B^T d B) ] A        (* elementwise: 36 products instead of 144)
 *
 *           | a2b2   0    -a2-b2   0      1  0 |        | 1/n0                |        | 1              |
 *           | 0     -ab2   -b2      a      1  0 |        | 1/na   a/na   a2/na |        | 1   a   a2  a3 |
 *     B^T = | 0      ab2   -b2     -a      1  0 |    G = | 1/na  -a/na   a2/na |    A = | 1  -a   a2 -a3 |
 *           | 0     -a2b   -a2      b      1  0 |        | 1/nb   b/nb   b2/nb |        | 1   b   b2  b3 |
 *           | 0      a2b   -a2     -b      1  0 |        | 1/nb  -b/nb   b2/nb |        | 1  -b   b2 -b3 |
 *           | 0      a2b2   0      -a2-b2  0  1 |        |                 1   |        |             1  |
 *
 *     n0 = a2 b2,   na = 2 a2 (a2 - b2),   nb = 2 b2 (b2 - a2)       (a2 = a^2, b3 = b^3, ...)
 *
 * A and G evaluate polynomials at the points (row k of A: 1, p, p^2, p^3), row k of B^T holds the
 * coefficients of the product of (x - p_j) over all other points. The rows of p and -p share their even and
 * odd parts, so that six numbers cost 12 operations. These points round less than the usual 0, 1, 2: the
 * error is half as large. The gradients are the transposes of the same maps: with dY for the gradient of Y,
 *
 *     dg = G^T [ (A dY A^T) * (B^T d B) ] G. */

#ifndef WINO_A
#define WINO_A 0.625
#define WINO_B 1.5
#define WINO_A2 (WINO_A * WINO_A)
#define WINO_B2 (WINO_B * WINO_B)
#define WINO_A3 (WINO_A * WINO_A2)
#define WINO_B3 (WINO_B * WINO_B2)
#define WINO_N0 (WINO_A2 * WINO_B2)
#define WINO_NA (2 * WINO_A2 * (WINO_A2 - WINO_B2))
#define WINO_NB (2 * WINO_B2 * (WINO_B2 - WINO_A2))

#define WINO_INNER 128

/* Places in two vectors: LOW interleaves their first halves, HIGH their second halves. */
#define WINO_LOW_2 0, 2
#define WINO_HIGH_2 1, 3
#define WINO_LOW_4 0, 4, 1, 5
#define WINO_HIGH_4 2, 6, 3, 7
#define WINO_LOW_8 0, 8, 1, 9, 2, 10, 3, 11
#define WINO_HIGH_8 4, 12, 5, 13, 6, 14, 7, 15
#define WINO_LOW_16 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define WINO_HIGH_16 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#if FASTNN_VECTOR
  #define WINO_PREFETCH __builtin_prefetch
#else
  #define WINO_PREFETCH(...)
#endif
#if !FASTNN_VECTOR
  #define WINO_SHUFFLE(a, b, ...) (a)  /* one number: there is nothing to transpose */
#elif defined(__clang__) || __GNUC__ >= 12
  #define WINO_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
  #define WINO_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (VI){__VA_ARGS__})
#endif
#if !FASTNN_VECTOR || VBYTES == 16
  #define WINO_VECTOR_F32(half) WINO_##half##_4
  #define WINO_VECTOR_F64(half) WINO_##half##_2
#elif VBYTES == 32
  #define WINO_VECTOR_F32(half) WINO_##half##_8
  #define WINO_VECTOR_F64(half) WINO_##half##_4
#else
  #define WINO_VECTOR_F32(half) WINO_##half##_16
  #define WINO_VECTOR_F64(half) WINO_##half##_8
#endif

/* The functions below for one dtype, so that winograd.pyx says everything once. */
typedef struct {
    int64_t nr, item;  /* panel width, bytes of a number */
    void (*transform)(const void *, const void *, int, int64_t, int64_t, int64_t, int64_t, int64_t, void *,
        int64_t, int64_t);
    void (*filter)(const void *, int64_t, int64_t, int64_t, int64_t, int64_t, void *, int64_t);
    void (*filter_rotated)(const void *, int64_t, int64_t, int64_t, int64_t, int64_t, void *, int64_t);
    void (*products)(int64_t, int64_t, int64_t, const void *, int64_t, int64_t, int64_t, int64_t,
        const void *, int64_t, void *, int64_t, int);
    void (*output)(const void *, int64_t, const void *, void *, int64_t, int64_t, int, int, int, int, double);
    void (*filter_gradient)(const void *, int64_t, void *, int64_t, int, int);
} wino_kernels;
#endif
#define K(x) SPLAT((T)(x))

/* r = B^T d */
INLINE void FN(wino_bt)(const V d[6], V r[6])
{
    const V odd_a = d[3] - K(WINO_B2) * d[1], even_a = d[4] - K(WINO_B2) * d[2];
    const V odd_b = d[3] - K(WINO_A2) * d[1], even_b = d[4] - K(WINO_A2) * d[2];
    r[0] = d[4] + K(WINO_N0) * d[0] - K(WINO_A2 + WINO_B2) * d[2];
    r[1] = even_a + K(WINO_A) * odd_a;
    r[2] = even_a - K(WINO_A) * odd_a;
    r[3] = even_b + K(WINO_B) * odd_b;
    r[4] = even_b - K(WINO_B) * odd_b;
    r[5] = d[5] + K(WINO_N0) * d[1] - K(WINO_A2 + WINO_B2) * d[3];
}

/* y = A^T m */
INLINE void FN(wino_at)(const V m[6], V y[4])
{
    const V even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
    y[0] = m[0] + even_a + even_b;
    y[1] = K(WINO_A) * odd_a + K(WINO_B) * odd_b;
    y[2] = K(WINO_A2) * even_a + K(WINO_B2) * even_b;
    y[3] = m[5] + K(WINO_A3) * odd_a + K(WINO_B3) * odd_b;
}

/* e = A y */
INLINE void FN(wino_a)(const V y[4], V e[6])
{
    const V even_a = y[0] + K(WINO_A2) * y[2], odd_a = y[1] + K(WINO_A2) * y[3];
    const V even_b = y[0] + K(WINO_B2) * y[2], odd_b = y[1] + K(WINO_B2) * y[3];
    e[0] = y[0];
    e[1] = even_a + K(WINO_A) * odd_a;
    e[2] = even_a - K(WINO_A) * odd_a;
    e[3] = even_b + K(WINO_B) * odd_b;
    e[4] = even_b - K(WINO_B) * odd_b;
    e[5] = y[3];
}

/* u = G g */
INLINE void FN(wino_g)(const V g[3], V u[6])
{
    const V even_a = K(1 / WINO_NA) * (g[0] + K(WINO_A2) * g[2]);
    const V even_b = K(1 / WINO_NB) * (g[0] + K(WINO_B2) * g[2]);
    u[0] = K(1 / WINO_N0) * g[0];
    u[1] = even_a + K(WINO_A / WINO_NA) * g[1];
    u[2] = even_a - K(WINO_A / WINO_NA) * g[1];
    u[3] = even_b + K(WINO_B / WINO_NB) * g[1];
    u[4] = even_b - K(WINO_B / WINO_NB) * g[1];
    u[5] = g[2];
}

/* g = G^T u */
INLINE void FN(wino_gt)(const V u[6], V g[3])
{
    const V even_a = K(1 / WINO_NA) * (u[1] + u[2]), odd_a = K(WINO_A / WINO_NA) * (u[1] - u[2]);
    const V even_b = K(1 / WINO_NB) * (u[3] + u[4]), odd_b = K(WINO_B / WINO_NB) * (u[3] - u[4]);
    g[0] = K(1 / WINO_N0) * u[0] + even_a + even_b;
    g[1] = odd_a + odd_b;
    g[2] = u[5] + K(WINO_A2) * even_a + K(WINO_B2) * even_b;
}

/* The first n of VL numbers, then zeros; p is not read if n is 0. */
INLINE V FN(wino_load)(const T *p, const int n)
{
    if (n >= VL) return *(const V *)p;
    V v = SPLAT(0);
    if (n > 0) memcpy(&v, p, (size_t)n * sizeof(T));
    return v;
}

INLINE void FN(wino_store)(T *p, const V v, const int n)
{
    if (n >= VL) *(V *)p = v; else memcpy(p, &v, (size_t)n * sizeof(T));
}

/* out[k*ld] = (B^T d B)[k], pixel[k] points at the 36 inputs; those of the next tile are `next` further on.
 * The processor does not foresee so many streams, asking for them early saves up to a fifth of the time. */
INLINE void FN(wino_input_vector)(const T *const *pixel, int64_t c, const int n, int64_t next,
    T *out, int64_t ld)
{
    V t[6][6];
    UNROLL for (int j = 0; j < 6; j++) {
        V d[6], r[6];
        UNROLL for (int i = 0; i < 6; i++) d[i] = FN(wino_load)(pixel[i * 6 + j] + c, n);
        if (j >= 2) UNROLL for (int i = 0; i < 6; i++) WINO_PREFETCH(pixel[i * 6 + j] + c + next);
        FN(wino_bt)(d, r);
        UNROLL for (int i = 0; i < 6; i++) t[i][j] = r[i];
    }
    UNROLL for (int i = 0; i < 6; i++) {
        V r[6];
        FN(wino_bt)(t[i], r);
        UNROLL for (int j = 0; j < 6; j++) *(V *)(out + (i * 6 + j) * ld) = r[j];
    }
}

/* out[k*ld] = (A dY A^T)[k], pixel[k] points at the 16 gradients. */
INLINE void FN(wino_gradient_vector)(const T *const *pixel, int64_t c, const int n, int64_t next,
    T *out, int64_t ld)
{
    V t[6][4];
    UNROLL for (int j = 0; j < 4; j++) {
        V y[4], e[6];
        UNROLL for (int i = 0; i < 4; i++) {
            y[i] = FN(wino_load)(pixel[i * 4 + j] + c, n);
            WINO_PREFETCH(pixel[i * 4 + j] + c + next);
        }
        FN(wino_a)(y, e);
        UNROLL for (int i = 0; i < 6; i++) t[i][j] = e[i];
    }
    UNROLL for (int i = 0; i < 6; i++) {
        V e[6];
        FN(wino_a)(t[i], e);
        UNROLL for (int j = 0; j < 6; j++) *(V *)(out + (i * 6 + j) * ld) = e[j];
    }
}

/* Transform the size x size pixels from (row, col) of an image (height, width, channels): size 6 for inputs,
 * 4 for gradients. Pixels outside are read from `zeros` (channels,). Vectors v of channels go to
 * out + (v/2)*panel + (v%2)*VL, the 36 results ld apart. */
NOINLINE void FN(wino_transform)(const void *image_, const void *zeros, int size, int64_t row, int64_t col,
    int64_t height, int64_t width, int64_t channels, void *out_, int64_t panel, int64_t ld)
{
    const T *image = image_;
    T *out = out_;
    const T *pixel[36];
    for (int i = 0; i < size; i++) for (int j = 0; j < size; j++) {
        const int64_t h = row + i, w = col + j;
        const int inside = h >= 0 && h < height && w >= 0 && w < width;
        pixel[i * size + j] = inside ? image + (h * width + w) * channels : zeros;
    }
    int64_t c = 0;
    for (; c + VL <= channels; c += VL) {
        T *to = out + c / NR * panel + c % NR;
        if (size == 6) FN(wino_input_vector)(pixel, c, VL, 4 * channels, to, ld);
        else FN(wino_gradient_vector)(pixel, c, VL, 4 * channels, to, ld);
    }
    if (c < channels) {
        T *to = out + c / NR * panel + c % NR;
        if (size == 6) FN(wino_input_vector)(pixel, c, (int)(channels - c), 4 * channels, to, ld);
        else FN(wino_gradient_vector)(pixel, c, (int)(channels - c), 4 * channels, to, ld);
    }
}

/* out[k*ld] = (G g G^T)[k] */
INLINE void FN(wino_filter_vector)(const V g[9], T *out, int64_t ld)
{
    V t[6][3];
    UNROLL for (int j = 0; j < 3; j++) {
        V column[3] = {g[j], g[3 + j], g[6 + j]}, u[6];
        FN(wino_g)(column, u);
        UNROLL for (int i = 0; i < 6; i++) t[i][j] = u[i];
    }
    UNROLL for (int i = 0; i < 6; i++) {
        V u[6];
        FN(wino_g)(t[i], u);
        UNROLL for (int j = 0; j < 6; j++) *(V *)(out + (i * 6 + j) * ld) = u[j];
    }
}

/* Rows become columns: log2(VL) times, interleave the first half of the vectors with the second. */
INLINE void FN(wino_transpose)(V v[VL])
{
    UNROLL for (int round = 1; round < VL; round *= 2) {
        V t[VL];
        UNROLL for (int i = 0; i < VL; i++) t[i] = v[i];
        UNROLL for (int i = 0; i < VL / 2; i++) {
            v[2 * i] = WINO_SHUFFLE(t[i], t[i + VL / 2], LIST(LOW));
            v[2 * i + 1] = WINO_SHUFFLE(t[i], t[i + VL / 2], LIST(HIGH));
        }
    }
}

/* Filters f..f+NR of w (filters, 3, 3, channels) and channels c0..c1:
 * out[k*ld + (c - c0)*NR + j] = (G g G^T)[k], zero for filters that do not exist. */
NOINLINE void FN(wino_filter)(const void *w_, int64_t f, int64_t filters, int64_t channels, int64_t c0,
    int64_t c1, void *out_, int64_t ld)
{
    const T *w = w_;
    T *out = out_;
    for (int64_t c = c0; c < c1; c += VL) for (int half = 0; half < 2; half++) {
        const int n = c1 - c < VL ? (int)(c1 - c) : VL;
        const int64_t first = f + half * VL, left = filters - first;
        V taps[VL][9];
        UNROLL for (int k = 0; k < 9; k++) {
            const T *from = w + (first * 9 + k) * channels + c;
            V v[VL];
            if (n == VL && left >= VL)
                UNROLL for (int i = 0; i < VL; i++) {
                    v[i] = *(const V *)(from + i * 9 * channels);
                    WINO_PREFETCH(from + i * 9 * channels + VL);
                }
            else for (int i = 0; i < VL; i++)
                v[i] = FN(wino_load)(from + i * 9 * channels, i < left ? n : 0);
            FN(wino_transpose)(v);
            UNROLL for (int i = 0; i < VL; i++) taps[i][k] = v[i];
        }
        for (int i = 0; i < n; i++)
            FN(wino_filter_vector)(taps[i], out + (c - c0 + i) * NR + half * VL, ld);
    }
}

/* The same for the gradient to the input, a forward pass whose filters are the channels c..c+NR and whose
 * kernel is rotated by 180 degrees:
 * out[k*ld + (f - f0)*NR + j]. The lanes are channels: nothing to transpose. */
NOINLINE void FN(wino_filter_rotated)(const void *w, int64_t c, int64_t filters, int64_t channels, int64_t f0,
    int64_t f1, void *out_, int64_t ld)
{
    T *out = out_;
    for (int64_t f = f0; f < f1; f++) for (int half = 0; half < 2; half++) {
        const int64_t first = c + half * VL, left = channels - first;
        const int n = left >= VL ? VL : left > 0 ? (int)left : 0;
        const T *from = (const T *)w + f * 9 * channels + first;
        V g[9];
        if (n == VL) UNROLL for (int k = 0; k < 9; k++) g[k] = *(const V *)(from + (8 - k) * channels);
        else for (int k = 0; k < 9; k++) g[k] = FN(wino_load)(from + (8 - k) * channels, n);
        FN(wino_filter_vector)(g, out + (f - f0) * NR + half * VL, ld);
    }
}

/* For each of the 36 points: out[r][j] = (or +=) sum_k a[r][k] b[k][j] for r < rows and the first columns of
 * NR, in whole vectors. Row r of a starts at (r / NR) * a_panel + (r % NR) * a_row, its elements are a_step
 * apart. Long sums go in parts of WINO_INNER: they round less, and b's part stays in the level 1 cache. */
NOINLINE void FN(wino_products)(int64_t rows, int64_t inner, int64_t columns, const void *a, int64_t a_ld,
    int64_t a_panel, int64_t a_row, int64_t a_step, const void *b, int64_t b_ld, void *out, int64_t out_ld,
    int accumulate)
{
    const int64_t start = 0;
    tile_args p = {.a_step = a_step, .ldb = NR, .off = &start, .n_seg = 1};
    for (int k = 0; k < 36; k++) {
        int64_t first = 0;
        do {
            p.b = (const T *)b + k * b_ld + first * NR;
            p.seg_len = inner - first < WINO_INNER ? inner - first : WINO_INNER;
            p.flags = accumulate || first > 0 ? TILE_ACCUMULATE : 0;
            for (int64_t r = 0; r < rows; r += MR) {
                const int mr = rows - r < MR ? (int)(rows - r) : MR;
                for (int i = 0; i < mr; i++) {
                    const int64_t row = (r + i) / NR * a_panel + (r + i) % NR * a_row;
                    p.a[i] = (const T *)a + k * a_ld + row + first * a_step;
                    p.out[i] = (T *)out + k * out_ld + (r + i) * NR;
                }
                FN(tile_panel)(mr, columns > VL ? NR : VL, &p);
            }
            first += WINO_INNER;
        } while (first < inner);
    }
}

/* y = act(A^T m A + bias) for n <= NR channels of the rows x cols pixels (at most 4x4) of one tile;
 * m[k*ld] are the 36 products, y's pixels are `pixel` apart and its rows `line`. */
NOINLINE void FN(wino_output)(const void *m_, int64_t ld, const void *bias, void *y_, int64_t line,
    int64_t pixel, int rows, int cols, int n, int activation, double alpha)
{
    const T *m = m_;
    T *y = y_;
    for (int c = 0; c < n; c += VL) {
        const int width = n - c < VL ? n - c : VL;
        const V b = FN(wino_load)((const T *)bias + c, bias ? width : 0);
        V t[4][6], out[4][4];
        UNROLL for (int j = 0; j < 6; j++) {
            V column[6], r[4];
            UNROLL for (int i = 0; i < 6; i++) column[i] = *(const V *)(m + (i * 6 + j) * ld + c);
            FN(wino_at)(column, r);
            UNROLL for (int i = 0; i < 4; i++) t[i][j] = r[i];
        }
        UNROLL for (int i = 0; i < 4; i++) {
            V r[4];
            FN(wino_at)(t[i], r);
            UNROLL for (int j = 0; j < 4; j++) out[i][j] = FN(rectify)(r[j] + b, activation, (T)alpha);
        }
        if (rows == 4 && cols == 4 && width == VL) {
            UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < 4; j++)
            {
                *(V *)(y + i * line + j * pixel + c) = out[i][j];
                WINO_PREFETCH(y + i * line + (j + 4) * pixel + c, 1);
            }
        } else {
            for (int i = 0; i < rows; i++) for (int j = 0; j < cols; j++)
                FN(wino_store)(y + i * line + j * pixel + c, out[i][j], width);
        }
    }
    if (activation > ACT_LEAKY_RELU)
        for (int i = 0; i < rows; i++) for (int j = 0; j < cols; j++) {
            T *to = y + i * line + j * pixel;
            FN(activate)(to, to, n, activation, (T)alpha);
        }
}

/* dw = G^T s G for n <= NR channels of one filter: dw (3, 3, channels), s[k*ld] the 36 sums. */
NOINLINE void FN(wino_filter_gradient)(const void *s_, int64_t ld, void *dw, int64_t channels, int n,
    int accumulate)
{
    const T *s = s_;
    for (int c = 0; c < n; c += VL) {
        const int width = n - c < VL ? n - c : VL;
        V t[3][6];
        UNROLL for (int j = 0; j < 6; j++) {
            V column[6], r[3];
            UNROLL for (int i = 0; i < 6; i++) column[i] = *(const V *)(s + (i * 6 + j) * ld + c);
            FN(wino_gt)(column, r);
            UNROLL for (int i = 0; i < 3; i++) t[i][j] = r[i];
        }
        UNROLL for (int i = 0; i < 3; i++) {
            V r[3];
            FN(wino_gt)(t[i], r);
            UNROLL for (int j = 0; j < 3; j++) {
                T *to = (T *)dw + (i * 3 + j) * channels + c;
                if (accumulate) r[j] += FN(wino_load)(to, width);
                FN(wino_store)(to, r[j], width);
            }
        }
    }
}

static const wino_kernels FN(wino) = {NR, sizeof(T), FN(wino_transform), FN(wino_filter),
    FN(wino_filter_rotated), FN(wino_products), FN(wino_output), FN(wino_filter_gradient)};
#undef K
