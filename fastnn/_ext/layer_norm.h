/* Layer normalization of one row, once for float and once for double. A row is read several times, but it stays in
 * the first cache meanwhile. */
#ifndef FASTNN_LAYER_NORM_H
#define FASTNN_LAYER_NORM_H
#include "vmath.h"

#define BODY "layer_norm_body.h"
#include "each_type.h"
#endif
