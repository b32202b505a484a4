# What the losses share: checks, means, and the losses of single outputs. See losses.pyx and losses.h.
cimport numpy as cnp
from fastnn._ext.common cimport real
from libc.stdint cimport int64_t

cdef enum:
    ROWS = 16  # samples of one owner

cdef extern from "losses.h" nogil:
    enum:
        LOSS_HUBER, LOSS_BINARY, LOSS_HINGE, LOSS_SQUARED_HINGE
    int targets_fit_f32(int kind, const float* t, int64_t n)
    int targets_fit_f64(int kind, const double* t, int64_t n)
    void loss_each_f32(int kind, const float* z, const float* t, float* dz, float* losses, int64_t n, float a, float b,
                       float c, float scale)
    void loss_each_f64(int kind, const double* z, const double* t, double* dz, double* losses, int64_t n, double a,
                       double b, double c, double scale)
    float sum_row_f32(const float* x, int64_t n)
    double sum_row_f64(const double* x, int64_t n)
    float centred_row_f32(const float* x, const float* w, int64_t n, float top)
    double centred_row_f64(const double* x, const double* w, int64_t n, double top)
    float divergence_row_f32(const float* x, const float* t, int64_t n, float top, float* mass)
    double divergence_row_f64(const double* x, const double* t, int64_t n, double top, double* mass)
    int is_distribution_f32(const float* t, int64_t n, float tolerance)
    int is_distribution_f64(const double* t, int64_t n, double tolerance)


cdef inline real sum_row(const real* x, int64_t n) noexcept nogil:
    if real is float:
        return sum_row_f32(x, n)
    else:
        return sum_row_f64(x, n)


cdef inline real centred_row(const real* x, const real* w, int64_t n, real top) noexcept nogil:
    if real is float:
        return centred_row_f32(x, w, n, top)
    else:
        return centred_row_f64(x, w, n, top)


# Checks of arguments

cdef int check_samples(cnp.ndarray x, str name, int64_t n, int typenum) except -1

# 1 for labels (N,), 0 for probabilities (N, K); anything else is an error.
cdef int has_labels(cnp.ndarray target, cnp.ndarray scores, str name, int typenum) except -1
cdef void* data_or_null(cnp.ndarray x) noexcept

# Means

# What the sum over samples is divided by: N or the sum of the weights, 1 for reduction="sum".
cdef double divisor(cnp.ndarray weight, int64_t n, int typenum, str reduction, bint outputs) except -1
cdef double weighted_sum(const real* x, const real* weight, int64_t n) noexcept nogil

# Losses of single outputs: checks the arrays, fills `losses` and `dz`, returns the mean.
cdef double pointwise(
    int kind, cnp.ndarray z, str name, cnp.ndarray target, cnp.ndarray sample_weight, cnp.ndarray dz,
    cnp.ndarray losses, double a, double b, str reduction,
) except? -1
