/* Included by winograd.h once for float and once for double (each_type.h). */
#define K(x) SPLAT((T)(x))
#define LINE (64 / (int)sizeof(T))  /* numbers in a cache line */

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

/* e = the polynomial with n = 2..5 coefficients c at the six points: A c or, with the denominators, G c */
INLINE void FN(wino_evaluate)(const int n, const int denominators, const V *c, V e[6])
{
    V even_a = c[0], even_b = c[0], odd_a = c[1], odd_b = c[1], a = K(WINO_A), b = K(WINO_B);
    if (n > 2) even_a += K(WINO_A2) * c[2], even_b += K(WINO_B2) * c[2];
    if (n > 3) odd_a += K(WINO_A2) * c[3], odd_b += K(WINO_B2) * c[3];
    if (n > 4) even_a += K(WINO_A4) * c[4], even_b += K(WINO_B4) * c[4];
    e[0] = c[0];
    if (denominators) {
        e[0] *= K(1 / WINO_N0), even_a *= K(1 / WINO_NA), even_b *= K(1 / WINO_NB);
        a = K(WINO_A / WINO_NA), b = K(WINO_B / WINO_NB);
    }
    e[1] = even_a + a * odd_a;
    e[2] = even_a - a * odd_a;
    e[3] = even_b + b * odd_b;
    e[4] = even_b - b * odd_b;
    e[5] = c[n - 1];
}

/* c = A^T e or, with the denominators, G^T e */
INLINE void FN(wino_collect)(const int n, const int denominators, const V e[6], V *c)
{
    V even_a = e[1] + e[2], odd_a = e[1] - e[2], even_b = e[3] + e[4], odd_b = e[3] - e[4], first = e[0];
    if (denominators) {
        first *= K(1 / WINO_N0), even_a *= K(1 / WINO_NA), even_b *= K(1 / WINO_NB);
        odd_a *= K(1 / WINO_NA), odd_b *= K(1 / WINO_NB);
    }
    c[0] = first + even_a + even_b;
    c[1] = K(WINO_A) * odd_a + K(WINO_B) * odd_b;
    if (n > 2) c[2] = K(WINO_A2) * even_a + K(WINO_B2) * even_b;
    if (n > 3) c[3] = K(WINO_A3) * odd_a + K(WINO_B3) * odd_b;
    if (n > 4) c[4] = K(WINO_A4) * even_a + K(WINO_B4) * even_b;
    c[n - 1] += e[5];
}

/* out[k*ld] = (A c A^T)[k] or (G c G^T)[k], c (n, n) */
INLINE void FN(wino_evaluate_square)(const int n, const int denominators, const V *c, T *out, int64_t ld)
{
    V t[6][5];
    UNROLL for (int j = 0; j < n; j++) {
        V column[5], e[6];
        UNROLL for (int i = 0; i < n; i++) column[i] = c[i * n + j];
        FN(wino_evaluate)(n, denominators, column, e);
        UNROLL for (int i = 0; i < 6; i++) t[i][j] = e[i];
    }
    UNROLL for (int i = 0; i < 6; i++) {
        V e[6];
        FN(wino_evaluate)(n, denominators, t[i], e);
        UNROLL for (int j = 0; j < 6; j++) *(V *)(out + (i * 6 + j) * ld) = e[j];
    }
}

/* c (n, n) = A^T e A or G^T e G, from e[k*ld] */
INLINE void FN(wino_collect_square)(const int n, const int denominators, const T *e, int64_t ld, V *c)
{
    V t[5][6];
    UNROLL for (int j = 0; j < 6; j++) {
        V column[6], r[5];
        UNROLL for (int i = 0; i < 6; i++) column[i] = *(const V *)(e + (i * 6 + j) * ld);
        FN(wino_collect)(n, denominators, column, r);
        UNROLL for (int i = 0; i < n; i++) t[i][j] = r[i];
    }
    UNROLL for (int i = 0; i < n; i++) FN(wino_collect)(n, denominators, t[i], c + i * n);
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
INLINE void FN(wino_input_vector)(const int size, const T *const *pixel, int64_t c, const int n, int64_t next,
    T *out, int64_t ld)
{
    V t[6][6];
    UNROLL for (int j = 0; j < 6; j++) {
        V d[6], r[6];
        UNROLL for (int i = 0; i < 6; i++) d[i] = FN(wino_load)(pixel[i * 6 + j] + c, n);
        if (j >= 6 - size) UNROLL for (int i = 0; i < 6; i++) WINO_PREFETCH(pixel[i * 6 + j] + c + next);
        FN(wino_bt)(d, r);
        UNROLL for (int i = 0; i < 6; i++) t[i][j] = r[i];
    }
    UNROLL for (int i = 0; i < 6; i++) {
        V r[6];
        FN(wino_bt)(t[i], r);
        UNROLL for (int j = 0; j < 6; j++) *(V *)(out + (i * 6 + j) * ld) = r[j];
    }
}

/* out[k*ld] = (A dY A^T)[k], pixel[k] points at the gradients. */
INLINE void FN(wino_gradient_vector)(const int size, const T *const *pixel, int64_t c, const int n, int64_t next,
    T *out, int64_t ld)
{
    V dy[16];
    UNROLL for (int i = 0; i < size * size; i++) {
        dy[i] = FN(wino_load)(pixel[i] + c, n);
        WINO_PREFETCH(pixel[i] + c + next);
    }
    FN(wino_evaluate_square)(size, 0, dy, out, ld);
}

/* Transform the n x n pixels from (row, col) of an image (height, width, channels): n = 6 for the inputs of a tile,
 * its size for gradients. Pixels outside are read from `zeros` (channels,). Vectors v of channels go to
 * out + (v/2)*panel + (v%2)*VL, the 36 results ld apart. */
INLINE void FN(wino_vector)(int size, int n, const T *const *pixel, int64_t c, const int width, int64_t next,
    T *out, int64_t ld)
{
    if (n == 6) WINO_SIZES(FN(wino_input_vector), pixel, c, width, next, out, ld);
    else WINO_SIZES(FN(wino_gradient_vector), pixel, c, width, next, out, ld);
}

NOINLINE void FN(wino_transform)(int size, int n, const void *image_, const void *zeros, int64_t row, int64_t col,
    int64_t height, int64_t width, int64_t channels, void *out_, int64_t panel, int64_t ld)
{
    const T *image = image_;
    T *out = out_;
    const T *pixel[36];
    for (int i = 0; i < n; i++) for (int j = 0; j < n; j++) {
        const int64_t h = row + i, w = col + j;
        const int inside = h >= 0 && h < height && w >= 0 && w < width;
        pixel[i * n + j] = inside ? image + (h * width + w) * channels : zeros;
    }
    const int64_t next = size * channels;
    int64_t c = 0;
    for (; c + VL <= channels; c += VL)
        FN(wino_vector)(size, n, pixel, c, VL, next, out + c / NR * panel + c % NR, ld);
    if (c < channels)
        FN(wino_vector)(size, n, pixel, c, (int)(channels - c), next, out + c / NR * panel + c % NR, ld);
}

/* Rows become columns: log2(VL) times, interleave the first half of the vectors with the second. */
INLINE void FN(wino_transpose)(V v[VL])
{
    UNROLL for (int round = 1; round < VL; round *= 2) {
        V t[VL];
        UNROLL for (int i = 0; i < VL; i++) t[i] = v[i];
        UNROLL for (int i = 0; i < VL / 2; i++) {
            v[2 * i] = WINO_SHUFFLE(t[i], t[i + VL / 2], LOW);
            v[2 * i + 1] = WINO_SHUFFLE(t[i], t[i + VL / 2], HIGH);
        }
    }
}


/* Filters f..f+NR of w (filters, R, R, channels) and channels c0..c1:
 * out[k*ld + (c - c0)*NR + j] = (G g G^T)[k], zero for filters that do not exist. */
INLINE void FN(wino_filter_of)(const int size, const T *w, int64_t f, int64_t filters, int64_t channels, int64_t c0,
    int64_t c1, T *out, int64_t ld)
{
    const int r = 7 - size, taps = r * r;
    for (int64_t c = c0; c < c1; c += VL) for (int half = 0; half < 2; half++) {
        const int n = c1 - c < VL ? (int)(c1 - c) : VL;
        const int64_t first = f + half * VL, left = filters - first;
        V g[VL][25];
        for (int k = 0; k < taps; k++) {
            const T *from = w + (first * taps + k) * channels + c;
            V v[VL];
            if (n == VL && left >= VL)
                UNROLL for (int i = 0; i < VL; i++) {
                    v[i] = *(const V *)(from + i * taps * channels);
                    WINO_PREFETCH(from + i * taps * channels + VL);
                }
            else for (int i = 0; i < VL; i++)
                v[i] = FN(wino_load)(from + i * taps * channels, i < left ? n : 0);
            FN(wino_transpose)(v);
            UNROLL for (int i = 0; i < VL; i++) g[i][k] = v[i];
        }
        for (int i = 0; i < n; i++)
            FN(wino_evaluate_square)(r, 1, g[i], out + (c - c0 + i) * NR + half * VL, ld);
    }
}

NOINLINE void FN(wino_filter)(int size, const void *w, int64_t f, int64_t filters, int64_t channels, int64_t c0,
    int64_t c1, void *out, int64_t ld)
{
    WINO_SIZES(FN(wino_filter_of), w, f, filters, channels, c0, c1, out, ld);
}

/* The same for the gradient to the input, a forward pass whose filters are the channels c..c+NR and whose
 * kernel is rotated by 180 degrees:
 * out[k*ld + (f - f0)*NR + j]. The lanes are channels: nothing to transpose. */
INLINE void FN(wino_filter_rotated_of)(const int size, const T *w, int64_t c, int64_t filters, int64_t channels,
    int64_t f0, int64_t f1, T *out, int64_t ld)
{
    const int r = 7 - size, taps = r * r;
    for (int64_t f = f0; f < f1; f++) for (int half = 0; half < 2; half++) {
        const int64_t first = c + half * VL, left = channels - first;
        const int n = left >= VL ? VL : left > 0 ? (int)left : 0;
        const T *from = w + f * taps * channels + first;
        V g[25];
        if (n == VL) for (int k = 0; k < taps; k++) g[k] = *(const V *)(from + (taps - 1 - k) * channels);
        else for (int k = 0; k < taps; k++) g[k] = FN(wino_load)(from + (taps - 1 - k) * channels, n);
        FN(wino_evaluate_square)(r, 1, g, out + (f - f0) * NR + half * VL, ld);
    }
}

NOINLINE void FN(wino_filter_rotated)(int size, const void *w, int64_t c, int64_t filters, int64_t channels,
    int64_t f0, int64_t f1, void *out, int64_t ld)
{
    WINO_SIZES(FN(wino_filter_rotated_of), w, c, filters, channels, f0, f1, out, ld);
}

/* What comes after a tile: the rows of the next one, and a part of the panel of the next point. */
typedef struct {
    const T *rows, *panel;
    int64_t step;  /* numbers of the panel for each four of the inner loop */
} FN(wino_next);

/* out[i][j] = (or +=) sum_k a[i*a_row + k*a_step] b[k*NR + j] for MR rows and NR columns. With sums as short as these
 * a new matrix begins every few hundred cycles, too often for the processor to foresee: asking for its lines in
 * the level 1 cache makes a quarter of the time. */
INLINE void FN(wino_tile)(const T *from, int64_t a_row, int64_t a_step, const T *b, int64_t inner, T *out,
    int accumulate, FN(wino_next) next)
{
    V c[MR][2];
    const T *a[MR];
    UNROLL for (int i = 0; i < MR; i++) {
        a[i] = from + i * a_row;
        PREFETCH(out + i * NR);
        PREFETCH(out + i * NR + VL);
        c[i][0] = c[i][1] = SPLAT(0);
    }
    int64_t k = 0;
    const int64_t end = inner * a_step;
    while (k + 15 * a_step < end) {
        UNROLL for (int u = 0; u < 16; u++, k += a_step) {
            if (a_step == 1 && u < MR)
                for (int j = 0; j < 16; j += LINE) WINO_PREFETCH(next.rows + u * a_row + k - u + j);
            if (u % 4 == 3) {
                for (int64_t j = 0; j < next.step; j += LINE) WINO_PREFETCH(next.panel + j);
                next.panel += next.step;
            }
            FN(tile_step)(MR, 2, ROWS_PANEL, a, k, &b, NR, NULL, c);
        }
        HIDE(k);
    }
    for (; k < end; k += a_step) FN(tile_step)(MR, 2, ROWS_PANEL, a, k, &b, NR, NULL, c);
    UNROLL for (int i = 0; i < MR; i++) UNROLL for (int j = 0; j < 2; j++) {
        V *to = (V *)(out + i * NR + j * VL);
        if (accumulate) c[i][j] += *to;
        *to = c[i][j];
    }
}

/* The tiles of one point; rows are evenly apart within a tile. Returns how many rows are done. */
INLINE int64_t FN(wino_tiles)(int64_t rows, int64_t inner, const T *a, int64_t a_panel, int64_t a_row, int64_t a_step,
    const T *b, T *out, int accumulate, const T *next_a, const T *next_b)
{
    const int64_t tiles = rows / MR, share = (inner * NR + tiles - 1) / (tiles ? tiles : 1);
    FN(wino_next) next = {.step = (4 * NR + tiles - 1) / (tiles ? tiles : 1)};
    for (int64_t r = 0; r + MR <= rows; r += MR) {
        const int64_t after = r + MR;
        next.rows = after + MR <= rows ? a + after / NR * a_panel + after % NR * a_row : next_a;
        next.panel = next_b + r / MR * share;
        FN(wino_tile)(a + r / NR * a_panel + r % NR * a_row, a_row, a_step, b, inner, out + r * NR, accumulate, next);
    }
    return tiles * MR;
}

/* For each of the 36 points: out[r][j] = (or +=) sum_k a[r][k] b[k][j] for r < rows and the first columns of
 * NR, in whole vectors. Row r of a starts at (r / NR) * a_panel + (r % NR) * a_row, its elements are a_step
 * apart. Long sums go in parts of WINO_INNER: they round less, and b's part stays in the level 1 cache. */
NOINLINE void FN(wino_products)(int64_t rows, int64_t inner, int64_t columns, const void *a, int64_t a_ld,
    int64_t a_panel, int64_t a_row, int64_t a_step, const void *b, int64_t b_ld, void *out, int64_t out_ld,
    int accumulate)
{
    const int64_t start = 0;
    const int even = NR % MR == 0 || a_panel == NR * a_row;
    for (int k = 0; k < 36; k++) for (int64_t first = 0; first < inner || first == 0; first += WINO_INNER) {
        const int last = first + WINO_INNER >= inner;
        const int64_t length = last ? inner - first : WINO_INNER;
        const T *point = (const T *)a + k * a_ld + first * a_step, *panel = (const T *)b + k * b_ld + first * NR;
        const T *next_a = last ? (const T *)a + (k + 1) * a_ld : point + length * a_step;
        const T *next_b = last ? (const T *)b + (k + 1) * b_ld : panel + length * NR;
        T *to = (T *)out + k * out_ld;
        const int add = accumulate || first > 0;
        int64_t r = 0;
        if (even && columns > VL && a_step == 1)
            r = FN(wino_tiles)(rows, length, point, a_panel, a_row, 1, panel, to, add, next_a, next_b);
        else if (even && columns > VL)
            r = FN(wino_tiles)(rows, length, point, a_panel, a_row, a_step, panel, to, add, next_a, next_b);
        for (; r < rows; r += MR) {
            tile_args p = {.a_step = a_step, .b = panel, .ldb = NR, .off = &start, .n_seg = 1, .seg_len = length,
                           .flags = add ? TILE_ACCUMULATE : 0};
            const int mr = rows - r < MR ? (int)(rows - r) : MR;
            for (int i = 0; i < mr; i++) {
                p.a[i] = point + (r + i) / NR * a_panel + (r + i) % NR * a_row;
                p.out[i] = to + (r + i) * NR;
            }
            FN(tile_panel)(mr, columns > VL ? NR : VL, &p);
        }
    }
}

#include "winograd_output.h"

static const wino_kernels FN(wino) = {NR, sizeof(T), FN(wino_transform), FN(wino_filter),
    FN(wino_filter_rotated), FN(wino_products), FN(wino_output), FN(wino_filter_gradient)};
#undef K
#undef LINE
