/* Included by dot.h once for float and once for double. */

/* The first n of VL numbers, then zeros. */
INLINE V FN(dot_load)(const T *p, int64_t n)
{
    V v = SPLAT(0);
    memcpy(&v, p, (size_t)n * sizeof(T));
    return v;
}

INLINE void FN(dot_fixed)(const int rows, const dot_args *p)
{
    V s[DOT_ROWS][DOT_COLUMNS], *sums = p->sums;
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int j = 0; j < DOT_COLUMNS; j++) {
        s[i][j] = SPLAT(0);
        if (p->accumulate) s[i][j] = sums[i * DOT_COLUMNS + j];
    }
    for (int64_t g = 0; g < p->n_seg; g++) {
        const T *a[DOT_ROWS], *b[DOT_COLUMNS];
        UNROLL for (int i = 0; i < rows; i++) a[i] = (const T *)p->a[i] + g * p->a_seg;
        UNROLL for (int j = 0; j < DOT_COLUMNS; j++) b[j] = (const T *)p->b[j] + g * p->b_seg;
        int64_t k = 0;
        for (; k + VL <= p->len; k += VL) {
            V row[DOT_ROWS];
            UNROLL for (int i = 0; i < rows; i++) row[i] = *(const V *)(a[i] + k);
            UNROLL for (int j = 0; j < DOT_COLUMNS; j++) {
                const V column = *(const V *)(b[j] + k);
                UNROLL for (int i = 0; i < rows; i++) s[i][j] += row[i] * column;
            }
            HIDE(k);
        }
        if (k < p->len) UNROLL for (int j = 0; j < DOT_COLUMNS; j++) {
            const V column = FN(dot_load)(b[j] + k, p->len - k);
            UNROLL for (int i = 0; i < rows; i++) s[i][j] += FN(dot_load)(a[i] + k, p->len - k) * column;
        }
    }
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int j = 0; j < DOT_COLUMNS; j++) sums[i * DOT_COLUMNS + j] = s[i][j];
}

/* rows in 1..DOT_ROWS; all DOT_COLUMNS pointers b must be readable. */
NOINLINE void FN(dot_tile)(int rows, const dot_args *p)
{
    switch (rows) {
    case 1: FN(dot_fixed)(1, p); break;
    case 2: FN(dot_fixed)(2, p); break;
#if DOT_ROWS == 4
    case 3: FN(dot_fixed)(3, p); break;
    case 4: FN(dot_fixed)(4, p); break;
#endif
    }
}

/* out[i] = the sum of the lanes of vector i of n. VL vectors at a time, each round adds the halves of two vectors and
 * leaves one: VL - 1 additions of vectors in all, where one after the other would be VL * VL of numbers. */
NOINLINE void FN(lane_sums)(const void *sums, int n, T *out)
{
    const V *v = sums;
    for (int first = 0; first < n; first += VL) {
        const int count = n - first < VL ? n - first : VL;
#if defined(FASTNN_SHUFFLE)
        V r[VL];
        UNROLL for (int i = 0; i < VL; i++) {
            r[i] = SPLAT(0);
            if (i < count) r[i] = v[first + i];
        }
        UNROLL for (int half = VL / 2; half > 0; half /= 2)
            UNROLL for (int i = 0; i < half; i++)
                r[i] = __builtin_shufflevector(r[i], r[i + half], LOW) + __builtin_shufflevector(r[i], r[i + half], HIGH);
        memcpy(out + first, &r[0], (size_t)count * sizeof(T));
#else
        for (int i = 0; i < count; i++) {
            T lanes[VL], sum = 0;
            memcpy(lanes, v + first + i, sizeof(V));
            for (int k = 0; k < VL; k++) sum += lanes[k];
            out[first + i] = sum;
        }
#endif
    }
}

/* planes[c][p] = row[p*channels + c] for the pixels in whole vectors and channels <= 8; row is readable for 8 numbers
 * behind each of them. Eight numbers of VL pixels are eight vectors; three rounds that part even from odd numbers
 * sort them by channel. */
NOINLINE void FN(part_channels)(const T *row, int64_t pixels, int64_t channels, T *planes, int64_t plane)
{
    for (int64_t p = 0; p < pixels; p += VL) {
#if defined(FASTNN_SHUFFLE)
        T flat[8 * VL];
        V r[8], t[8];
        UNROLL for (int i = 0; i < VL; i++) memcpy(flat + i * 8, row + (p + i) * channels, 8 * sizeof(T));
        UNROLL for (int i = 0; i < 8; i++) r[i] = *(const V *)(flat + i * VL);
        UNROLL for (int round = 0; round < 3; round++) {
            UNROLL for (int i = 0; i < 4; i++) {
                t[i] = __builtin_shufflevector(r[2 * i], r[2 * i + 1], EVEN);
                t[i + 4] = __builtin_shufflevector(r[2 * i], r[2 * i + 1], ODD);
            }
            UNROLL for (int i = 0; i < 8; i++) r[i] = t[i];
        }
        UNROLL for (int c = 0; c < 8; c++) if (c < channels) *(V *)(planes + c * plane + p) = r[c];
#else
        for (int64_t c = 0; c < channels; c++)
            for (int i = 0; i < VL; i++) planes[c * plane + p + i] = row[(p + i) * channels + c];
#endif
    }
}
