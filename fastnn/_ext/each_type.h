/* Includes the file BODY once for float and once for double, which reads there:
 *
 *     T, U                     the type of a number, an unsigned integer of its size
 *     V, VI, VU, VL            vectors of numbers, of signed and of unsigned integers, and their length
 *     FN(name)                 name_f32, name_f64
 *     SPLAT, SELECT            of vec.h; BITS, NUMBER: of vmath.h; NR: of tile.h
 *     LOW, HIGH, EVEN, ODD     places in two vectors (vec.h)
 *     ROOT                     the square root of a number */
#define T float
#define U uint32_t
#define V v_f32
#define VI v_i32
#define VU v_u32
#define VL VL_F32
#define NR NR_F32
#define FN(name) name##_f32
#define SPLAT SPLAT_F32
#define SELECT SELECT_F32
#define BITS BITS_F32
#define NUMBER NUMBER_F32
#define PLACES PLACES_F32
#define ROOT sqrtf
#define LOW PLACES(LOW)
#define HIGH PLACES(HIGH)
#define EVEN PLACES(EVEN)
#define ODD PLACES(ODD)
#include BODY
#undef T
#undef U
#undef V
#undef VI
#undef VU
#undef VL
#undef NR
#undef FN
#undef SPLAT
#undef SELECT
#undef BITS
#undef NUMBER
#undef PLACES
#undef ROOT

#define T double
#define U uint64_t
#define V v_f64
#define VI v_i64
#define VU v_u64
#define VL VL_F64
#define NR NR_F64
#define FN(name) name##_f64
#define SPLAT SPLAT_F64
#define SELECT SELECT_F64
#define BITS BITS_F64
#define NUMBER NUMBER_F64
#define PLACES PLACES_F64
#define ROOT sqrt
#include BODY
#undef T
#undef U
#undef V
#undef VI
#undef VU
#undef VL
#undef NR
#undef FN
#undef SPLAT
#undef SELECT
#undef BITS
#undef NUMBER
#undef PLACES
#undef ROOT
#undef LOW
#undef HIGH
#undef EVEN
#undef ODD
#undef BODY
