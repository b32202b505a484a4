/* Winograd's F(4x4, 3x3) and F(2x2, 5x5) on vectors of channels; winograd_body.h has the functions, for float and
 * double.
 *
 * A tile of MxM outputs (M = 4 for RxR kernels with R = 3, M = 2 for R = 5) needs 6x6 inputs. With the points
 * 0, a, -a, b, -b and infinity, a = 5/8, b = 3/2,
 *
 *     Y = A^T [ (G g G^T) * (B^T d B) ] A        (* elementwise: 36 products instead of M*M*R*R, 144 or 100)
 *
 *           | a2b2   0    -a2-b2   0      1  0 |            | 1/n0             |        | 1             |
 *           | 0     -ab2   -b2      a      1  0 |            | 1/na   a/na  ..  |        | 1   a   a2 .. |
 *     B^T = | 0      ab2   -b2     -a      1  0 |    G (R) = | 1/na  -a/na  ..  |  A (M) = | 1  -a   a2 .. |
 *           | 0     -a2b   -a2      b      1  0 |            | 1/nb   b/nb  ..  |        | 1   b   b2 .. |
 *           | 0      a2b   -a2     -b      1  0 |            | 1/nb  -b/nb  ..  |        | 1  -b   b2 .. |
 *           | 0      a2b2   0      -a2-b2  0  1 |            |               1  |        |             1 |
 *
 *     n0 = a2 b2,   na = 2 a2 (a2 - b2),   nb = 2 b2 (b2 - a2)       (a2 = a^2, b3 = b^3, ...)
 *
 * A and G evaluate polynomials with M and R coefficients at the points (1, p, p^2, ...; infinity takes the last
 * coefficient), row k of B^T holds the coefficients of the product of (x - p_j) over all other points; it is the same
 * for both kernels since M + R - 1 = 6. The rows of p and -p share their even and odd parts, so that six numbers cost
 * 12 operations. These points round less than the usual 0, 1, 2: the error is half as large. The gradients are the
 * transposes of the same maps: with dY for the gradient of Y,
 *
 *     dg = G^T [ (A dY A^T) * (B^T d B) ] G. */
#ifndef FASTNN_WINOGRAD_H
#define FASTNN_WINOGRAD_H
#include "tile.h"

#define WINO_A 0.625
#define WINO_B 1.5
#define WINO_A2 (WINO_A * WINO_A)
#define WINO_B2 (WINO_B * WINO_B)
#define WINO_A3 (WINO_A * WINO_A2)
#define WINO_B3 (WINO_B * WINO_B2)
#define WINO_A4 (WINO_A2 * WINO_A2)
#define WINO_B4 (WINO_B2 * WINO_B2)
#define WINO_N0 (WINO_A2 * WINO_B2)
#define WINO_NA (2 * WINO_A2 * (WINO_A2 - WINO_B2))
#define WINO_NB (2 * WINO_B2 * (WINO_B2 - WINO_A2))

#define WINO_INNER 128

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

/* Where a tile of outputs goes, and what happens to it before. */
typedef struct {
    const void *bias;          /* (n,) or NULL */
    const void *add;           /* what is added before the activation, at the tile's first pixel, or NULL */
    void *y;                   /* the tile's first pixel or, with `pool`, its first window */
    int64_t add_line, y_line;  /* from one row to the next */
    int64_t pixel;             /* from one pixel to the next, of both */
    int rows, cols, n;         /* pixels and channels that exist, before pooling */
    int activation, pool;
    double alpha;
} wino_target;

/* The functions for one dtype, so that the .pyx files say everything once. `size` is M, 4 or 2. */
typedef struct {
    int64_t nr, item;  /* panel width, bytes of a number */
    void (*transform)(int size, int n, const void *, const void *, int64_t, int64_t, int64_t, int64_t, int64_t,
        void *, int64_t, int64_t);
    void (*filter)(int size, const void *, int64_t, int64_t, int64_t, int64_t, int64_t, void *, int64_t);
    void (*filter_rotated)(int size, const void *, int64_t, int64_t, int64_t, int64_t, int64_t, void *, int64_t);
    void (*products)(int64_t, int64_t, int64_t, const void *, int64_t, int64_t, int64_t, int64_t, const void *,
        int64_t, void *, int64_t, int);
    void (*output)(int size, const void *, int64_t, const wino_target *);
    void (*filter_gradient)(int size, const void *, int64_t, void *, int64_t, int, int);
} wino_kernels;

/* A function for both sizes of tiles: its loops are unrolled for each. */
#define WINO_SIZES(function, ...) \
    do { if (size == 4) function(4, __VA_ARGS__); else function(2, __VA_ARGS__); } while (0)

#define BODY "winograd_body.h"
#include "each_type.h"
#endif
