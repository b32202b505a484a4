/* Batch normalization of a block of folded rows (normalization.pxd): what needs `restrict`, without which the
 * compiler does not vectorise loops over so many arrays. Once for float and once for double. */
#ifndef FASTNN_NORMALIZATION_H
#define FASTNN_NORMALIZATION_H
#include "vec.h"

/* Where the gradient's gate comes from: nowhere (linear), from forward's y, or from y computed again of x, which
 * saves reading an array twice. */
enum { GATE_NONE, GATE_Y, GATE_X };

#if defined(_MSC_VER)
  #define RESTRICT __restrict
#else
  #define RESTRICT restrict
#endif

#define BODY "normalization_body.h"
#include "each_type.h"
#endif
