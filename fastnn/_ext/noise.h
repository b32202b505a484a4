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

#define BODY "noise_body.h"
#include "each_type.h"
#endif
