/* Included by pack.h once for float and once for double. */

#ifdef FASTNN_SHUFFLE
/* One round for each doubling of n: rows i and i + n/2 of the n vectors are interleaved. After log2(n)
 * rounds the numbers lie in the order of their columns: element j of vector i is number j*n + i. */
INLINE void FN(interleave)(V *r, const int n)
{
    V s[16];  /* n <= 16 */
    UNROLL for (int round = 1; round < n; round *= 2) {
        UNROLL for (int i = 0; i < n / 2; i++) {
            s[2 * i] = __builtin_shufflevector(r[i], r[i + n / 2], LOW);
            s[2 * i + 1] = __builtin_shufflevector(r[i], r[i + n / 2], HIGH);
        }
        UNROLL for (int i = 0; i < n; i++) r[i] = s[i];
    }
}

/* dst[i*ld_dst + j] = src[j*ld_src + i] for i, j < VL */
INLINE void FN(transpose)(const T *src, int64_t ld_src, T *dst, int64_t ld_dst)
{
    V r[VL];
    UNROLL for (int i = 0; i < VL; i++) r[i] = *(const V *)(src + i * ld_src);
    FN(interleave)(r, VL);
    UNROLL for (int i = 0; i < VL; i++) *(V *)(dst + i * ld_dst) = r[i];
}
#endif

NOINLINE void FN(pack_columns)(const T *src, int64_t row, int64_t col, int64_t K, int64_t n, int64_t width, T *dst)
{
    if (n < width) memset(dst, 0, (size_t)(K * width) * sizeof(T));
    if (col == 1 && n == 2 * VL && width == 2 * VL) {
        for (int64_t k = 0; k < K; k++) memcpy(dst + k * (2 * VL), src + k * row, 2 * VL * sizeof(T));
        return;
    }
    if (col == 1 && n == MR && width == MR) {
        for (int64_t k = 0; k < K; k++) memcpy(dst + k * MR, src + k * row, MR * sizeof(T));
        return;
    }
    if (col == 1) {
        for (int64_t k = 0; k < K; k++) for (int64_t j = 0; j < n; j++) dst[k * width + j] = src[k * row + j];
        return;
    }
    /* A column is contiguous in src. VL rows at a time keep the destination in the level 1 cache. */
    for (int64_t k = 0; k < K; k += VL) {
        int64_t rows = K - k < VL ? K - k : VL, j = 0;
#ifdef FASTNN_SHUFFLE
        if (row == 1 && rows == VL)
            for (; j + VL <= n; j += VL) FN(transpose)(src + k + j * col, col, dst + k * width + j, width);
#endif
        for (; j < n; j++)
            for (int64_t i = k; i < k + rows; i++) dst[i * width + j] = src[i * row + j * col];
    }
}
