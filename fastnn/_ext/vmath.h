/* Functions on vectors: exp, expm1, tanh, sigmoid, log(1 + e^x), the normal distribution, and from them
 * the activations, their derivatives and softmax. Written once, in vmath_body.h, for float and double.
 *
 * Largest errors found, in units in the last place of the result, with each of the instruction sets and with
 * one number at a time (float: up to each 5th of all floats against long double; double: up to 3 million
 * random points against numbers of 113 bits):
 *
 *              exp   expm1   tanh   sigmoid   log(1 + e^x)   Phi   x Phi(x)
 *     float    1.1   1.3     1.6    1.9       2.0            1.4   2.0
 *     double   1.1   1.7     1.7    1.8       2.0            1.4   2.0
 *
 * NaN passes through; results too small for a normal number are denormal, then zero. */
#ifndef FASTNN_VMATH_H
#define FASTNN_VMATH_H
#include <math.h>
#include "vec.h"

/* BITS(x): the bits of a vector as unsigned integers; NUMBER(u): back again. */
#if FASTNN_VECTOR
  typedef uint32_t v_u32 __attribute__((vector_size(VBYTES), aligned(4), may_alias));
  typedef uint64_t v_u64 __attribute__((vector_size(VBYTES), aligned(8), may_alias));
  #define BITS_F32(x) ((v_u32)(x))
  #define BITS_F64(x) ((v_u64)(x))
  #define NUMBER_F32(u) ((v_f32)(u))
  #define NUMBER_F64(u) ((v_f64)(u))
  #define UNROLL_ALL _Pragma("GCC unroll 32")
#else
  typedef uint32_t v_u32;
  typedef uint64_t v_u64;
  INLINE v_u32 BITS_F32(float x) { v_u32 u; memcpy(&u, &x, 4); return u; }
  INLINE v_u64 BITS_F64(double x) { v_u64 u; memcpy(&u, &x, 8); return u; }
  INLINE float NUMBER_F32(v_u32 u) { float x; memcpy(&x, &u, 4); return x; }
  INLINE double NUMBER_F64(v_u64 u) { double x; memcpy(&x, &u, 8); return x; }
  #define UNROLL_ALL
#endif

#define LOG2_E 1.44269504088896340736
#define INV_SQRT_2PI 0.398942280401432677940
#define PHI_M 1.25 /* m, and in K k and b, of gelu_tail */
#define GELU_TANH_C 0.797884560802865355880   /* sqrt(2 / pi) */
#define SELU_LAMBDA 1.0507009873554805
#define SELU_ALPHA 1.6732632423543772
#define GATE_FAR 1e4   /* beyond +-GATE_FAR a gate is exactly 0 or 1, and its cube is still finite */

/* Constants that depend on the format. */
static const struct {
    float magic;           /* 1.5 * 2^23: adding it rounds to an integer and leaves that in the low bits */
    float ln2_hi, ln2_lo;  /* ln 2; products of ln2_hi and an exponent are exact */
    float exp_min, expm1_min, tanh_max, phi_max; /* beyond them the result is 0, -1, 1, 0 */
    float phi_k, phi_b;
    int mantissa;
    uint32_t bias, sign, high; /* `high`: the bits that leave a number whose square is exact */
} K_f32 = {12582912.0f, 0.693145751953125f, 1.4286068203094173e-06f, -104.0f, -20.0f, 10.0f, 14.5f, 4.0625f,
           3.453125f, 23, 127, 0x80000000u, 0xfffff000u};
static const struct {
    double magic, ln2_hi, ln2_lo, exp_min, expm1_min, tanh_max, phi_max, phi_k, phi_b;
    int mantissa;
    uint64_t bias, sign, high;
} K_f64 = {6755399441055744.0, 0.6931471805601177, -1.7239444525614835e-13, -746.0, -40.0, 20.0, 38.7, 5.375,
           4.76171875, 52, 1023, 0x8000000000000000u, 0xfffffffff8000000u};

/* Minimax polynomials (50 digits), lowest power first, and their relative errors.
 *     EXP:   (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2                       2^-28.2, 2^-58.0 of e^r
 *     TANH:  (tanh x - x) / x^3 of x^2, |x| <= 0.55                        2^-29.8, 2^-60.6
 *     LOG1P: (2 atanh(s) - 2 s) / s^3 of s^2, 0 <= s <= 1/3                2^-27.7, 2^-59.4
 *     TAIL:  (z + m) e^(z^2/2) Phi(-z), less TAIL_0, its value at z = b,
 *            over u = (z - b) / (z + k), 0 <= z <= phi_max                 2^-29.5, 2^-57.4
 * With m = 1.25 the product is between 0.40 and 0.63; b is such that TAIL_0 is almost a float or a double. */
static const float EXP_f32[] = {5.e-1f, 1.6666518e-1f, 4.1666206e-2f, 8.369023e-3f, 1.3950614e-3f};
static const double EXP_f64[] = {
    0.5000000000000013, 0.166666666666667, 0.04166666666651318, 0.008333333333306936, 0.001388888894766328,
    0.00019841269917900882, 2.4801489216250784e-05, 2.7557215871812356e-06, 2.763155703119176e-07,
    2.5117992861559815e-08};
static const float TANH_f32[] = {-3.3333316e-1f, 1.3332586e-1f, -5.3852316e-2f, 2.1071704e-2f, -6.274275e-3f};
static const double TANH_f64[] = {
    -0.333333333333333, 0.13333333333326622, -0.053968253963761474, 0.021869488385878193,
    -0.008863232601778157, 0.0035920920336133884, -0.0014555428651297755, 0.000588444562677519,
    -0.00023338175389815994, 8.331671175196866e-05, -1.9494848173985558e-05};
static const float LOG1P_f32[] = {6.666642e-1f, 4.002153e-1f, 2.800179e-1f, 2.801204e-1f};
static const double LOG1P_f64[] = {
    0.6666666666666631, 0.40000000000155084, 0.285714285481221, 0.22222223953385467, 0.18181744488401697,
    0.15386548193048946, 0.13301123991406716, 0.12104924435680321, 0.08345059679605218, 0.1700959600967446};
#define TAIL_0_f32 5.061151e-1f
static const float TAIL_f32[] = {
    -1.5770991e-1f, 5.039769e-2f, 2.2939587e-2f, -4.268754e-2f, 2.8062686e-2f, -8.71861e-3f,
    -5.18414e-4f, 1.3448745e-3f, -1.305567e-4f, -1.6768681e-4f};
#define TAIL_0_f64 0.4838917888129295
static const double TAIL_f64[] = {
    -0.13867803500300935, 0.0740618946447827, -0.01595072447689374, -0.020040321908376308,
    0.031334685095052314, -0.02594628060111331, 0.014935168849172181, -0.00593827040169745,
    0.001283467784442586, 0.00014360971708800874, -0.00020607780588837596, 4.402255558945952e-05,
    1.6488408364999394e-05, -9.752698994675866e-06, -7.232482317594029e-07, 1.5954800860474205e-06,
    -5.291486876432818e-08, -2.527360178454249e-07, 1.9103515487648003e-08, 3.785377371968939e-08,
    -2.2749708370703786e-09, -3.8338909797629235e-09};

#define BODY "vmath_body.h"
#include "each_type.h"
#endif
