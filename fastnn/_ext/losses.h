/* Losses of single outputs with their derivatives, as vector code (losses.pxd). Once for float and double. */
#ifndef FASTNN_LOSSES_H
#define FASTNN_LOSSES_H
#include "vmath.h"

enum { LOSS_HUBER, LOSS_BINARY, LOSS_HINGE, LOSS_SQUARED_HINGE };

#define BODY "losses_body.h"
#include "each_type.h"
#endif
