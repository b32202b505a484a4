/* Random numbers of elements, from the words that dropout_row (vmath_body.h) makes of a key: normal ones, and the
 * gates of StochasticGate. Once for float and once for double. */
#ifndef FASTNN_NOISE_H
#define FASTNN_NOISE_H
#include "vmath.h"

#define LN_2 0.693147180559945309417
#define TWO_PI 6.28318530717958647693
#define NEAR_0 1e-20  /* phi(x) = 1/2 to all digits for |x| up to here */

/* (sin t - t) / t^3 of t^2, the Taylor series, |t| <= pi / 2: the first term left out is below 2^-30 and 2^-59. */
static const float SINE_f32[] = {-1.6666667e-1f, 8.333333e-3f, -1.984127e-4f, 2.7557319e-6f, -2.5052108e-8f,
                                 1.6059044e-10f};
static const double SINE_f64[] = {
    -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800, 1.0 / 6227020800.0, -1.0 / 1307674368000.0,
    1.0 / 355687428096000.0, -1.0 / 121645100408832000.0, 1.0 / 51090942171709440000.0};

#define T float
#define U uint32_t
#define V v_f32
#define VU v_u32
#define VL VL_F32
#define FN(name) name##_f32
#define SPLAT SPLAT_F32
#define SELECT SELECT_F32
#define BITS BITS_F32
#define NUMBER NUMBER_F32
#define ROOT sqrtf
#include "noise_body.h"
#undef T
#undef U
#undef V
#undef VU
#undef VL
#undef FN
#undef SPLAT
#undef SELECT
#undef BITS
#undef NUMBER
#undef ROOT

#define T double
#define U uint64_t
#define V v_f64
#define VU v_u64
#define VL VL_F64
#define FN(name) name##_f64
#define SPLAT SPLAT_F64
#define SELECT SELECT_F64
#define BITS BITS_F64
#define NUMBER NUMBER_F64
#define ROOT sqrt
#include "noise_body.h"
#undef T
#undef U
#undef V
#undef VU
#undef VL
#undef FN
#undef SPLAT
#undef SELECT
#undef BITS
#undef NUMBER
#undef ROOT
#endif
