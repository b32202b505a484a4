/* Vectors of the instruction set this file is compiled for, once for float and double.
 *
 * GCC and Clang write vector code with ordinary operators; other compilers get VL = 1:
 * every kernel still works, one number at a time. */
#ifndef FASTNN_VEC_H
#define FASTNN_VEC_H
#include <stdint.h>
#include <stddef.h>
#include <string.h>

#if (defined(__GNUC__) || defined(__clang__)) && !defined(FASTNN_NO_VECTOR)
  #define FASTNN_VECTOR 1
  #if defined(__AVX512F__)
    #define VBYTES 64
  #elif defined(__AVX2__)
    #define VBYTES 32
  #else
    #define VBYTES 16
  #endif
  #define VL_F32 (VBYTES / 4)
  #define VL_F64 (VBYTES / 8)
  /* The types are unaligned on purpose: a parameter may start anywhere in theta. */
  typedef float v_f32 __attribute__((vector_size(VBYTES), aligned(4), may_alias));
  typedef double v_f64 __attribute__((vector_size(VBYTES), aligned(8), may_alias));
  typedef int32_t v_i32 __attribute__((vector_size(VBYTES), aligned(4), may_alias));
  typedef int64_t v_i64 __attribute__((vector_size(VBYTES), aligned(8), may_alias));
  #define SPLAT_F32(x) ((float)(x) - (v_f32){0})
  #define SPLAT_F64(x) ((double)(x) - (v_f64){0})
  /* mask ? a : b, where mask is the result of a comparison (all bits set or none) */
  #define SELECT_F32(m, a, b) ((v_f32)(((v_i32)(m) & (v_i32)(a)) | (~(v_i32)(m) & (v_i32)(b))))
  #define SELECT_F64(m, a, b) ((v_f64)(((v_i64)(m) & (v_i64)(a)) | (~(v_i64)(m) & (v_i64)(b))))
  #define INLINE static inline __attribute__((always_inline))
  #define NOINLINE static __attribute__((noinline, unused))
  #define UNROLL _Pragma("GCC unroll 16")
  #define HIDE(x) __asm__("" : "+r"(x))  /* the compiler does not know that x keeps its value */
#else
  #define FASTNN_VECTOR 0
  #define VL_F32 1
  #define VL_F64 1
  typedef float v_f32;
  typedef double v_f64;
  typedef int32_t v_i32;
  typedef int64_t v_i64;
  #define SPLAT_F32(x) ((float)(x))
  #define SPLAT_F64(x) ((double)(x))
  #define SELECT_F32(m, a, b) ((m) ? (a) : (b))
  #define SELECT_F64(m, a, b) ((m) ? (a) : (b))
  #if defined(_MSC_VER)
    #define INLINE static __forceinline
    #define NOINLINE static __declspec(noinline)
  #else
    #define INLINE static inline
    #define NOINLINE static
  #endif
  #define UNROLL
  #define HIDE(x) (void)0
#endif

/* Places in two vectors, for shuffles: LOW interleaves their first halves and HIGH their second ones, EVEN and ODD
 * are every other number of both. */
#define LOW_2 0, 2
#define HIGH_2 1, 3
#define LOW_4 0, 4, 1, 5
#define HIGH_4 2, 6, 3, 7
#define LOW_8 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_8 4, 12, 5, 13, 6, 14, 7, 15
#define LOW_16 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_16 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define EVEN_2 0, 2
#define ODD_2 1, 3
#define EVEN_4 0, 2, 4, 6
#define ODD_4 1, 3, 5, 7
#define EVEN_8 0, 2, 4, 6, 8, 10, 12, 14
#define ODD_8 1, 3, 5, 7, 9, 11, 13, 15
#define EVEN_16 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD_16 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#if !FASTNN_VECTOR || VBYTES == 16
  #define PLACES_F32(which) which##_4
  #define PLACES_F64(which) which##_2
#elif VBYTES == 32
  #define PLACES_F32(which) which##_8
  #define PLACES_F64(which) which##_4
#else
  #define PLACES_F32(which) which##_16
  #define PLACES_F64(which) which##_8
#endif

/* Activations by number; common.pyx has the same list by name. */
enum {
    ACT_LINEAR = 0, ACT_RELU, ACT_LEAKY_RELU, ACT_ELU, ACT_SELU, ACT_SIGMOID, ACT_TANH,
    ACT_SOFTPLUS, ACT_GELU, ACT_GELU_TANH, ACT_GELU_SIGMOID, ACT_SILU, ACT_SWISH,
    ACT_HARD_SIGMOID, ACT_HARD_TANH, ACT_HARD_SWISH, ACT_STEP, ACT_RELU_RIGHT
};
#endif
