/* Losses of single outputs with their derivatives, as vector code (losses.pxd). Once for float and double. */
#ifndef FASTNN_LOSSES_H
#define FASTNN_LOSSES_H
#include "vmath.h"

enum { LOSS_HUBER, LOSS_BINARY, LOSS_HINGE, LOSS_SQUARED_HINGE };

#define T float
#define V v_f32
#define VU v_u32
#define VL VL_F32
#define FN(name) name##_f32
#define SPLAT SPLAT_F32
#define SELECT SELECT_F32
#define BITS BITS_F32
#define NUMBER NUMBER_F32
#include "losses_body.h"
#undef T
#undef V
#undef VU
#undef VL
#undef FN
#undef SPLAT
#undef SELECT
#undef BITS
#undef NUMBER

#define T double
#define V v_f64
#define VU v_u64
#define VL VL_F64
#define FN(name) name##_f64
#define SPLAT SPLAT_F64
#define SELECT SELECT_F64
#define BITS BITS_F64
#define NUMBER NUMBER_F64
#include "losses_body.h"
#undef T
#undef V
#undef VU
#undef VL
#undef FN
#undef SPLAT
#undef SELECT
#undef BITS
#undef NUMBER
#endif
