/* Layer normalization of one row, once for float and once for double. A row is read several times, but it stays in
 * the first cache meanwhile. */
#ifndef FASTNN_LAYER_NORM_H
#define FASTNN_LAYER_NORM_H
#include "vmath.h"

#define T float
#define V v_f32
#define VL VL_F32
#define FN(name) name##_f32
#define SPLAT SPLAT_F32
#include "layer_norm_body.h"
#undef T
#undef V
#undef VL
#undef FN
#undef SPLAT

#define T double
#define V v_f64
#define VL VL_F64
#define FN(name) name##_f64
#define SPLAT SPLAT_F64
#include "layer_norm_body.h"
#undef T
#undef V
#undef VL
#undef FN
#undef SPLAT
#endif
