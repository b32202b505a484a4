# The functions of vmath.h, under one name for float and double.
from fastnn._ext.common cimport real
from libc.stdint cimport int64_t, uint32_t

cdef extern from "vmath.h" nogil:
    void activate_f32(const float* x, float* y, int64_t n, int act, float alpha)
    void activate_f64(const double* x, double* y, int64_t n, int act, double alpha)
    void activate_backward_f32(const float* dy, const float* saved, float* da, int64_t n, int act, float alpha)
    void activate_backward_f64(const double* dy, const double* saved, double* da, int64_t n, int act, double alpha)
    void add_row_f32(const float* a, const float* b, float* y, int64_t n)
    void add_row_f64(const double* a, const double* b, double* y, int64_t n)
    void exp_rows_f32(const float* x, float* y, int64_t n, int64_t k, float* total, float* maximum)
    void exp_rows_f64(const double* x, double* y, int64_t n, int64_t k, double* total, double* maximum)
    float dot_row_f32(const float* a, const float* b, int64_t n)
    double dot_row_f64(const double* a, const double* b, int64_t n)
    float squared_row_f32(const float* p, const float* t, float* d, int64_t n, float scale)
    double squared_row_f64(const double* p, const double* t, double* d, int64_t n, double scale)
    void dropout_row_f32(const float* x, float* y, int64_t n, uint32_t first, uint32_t high, uint32_t least,
                         float scale, float shift, float fill)
    void dropout_row_f64(const double* x, double* y, int64_t n, uint32_t first, uint32_t high, uint32_t least,
                         double scale, double shift, double fill)
    int ACT_LEAKY_RELU, ACT_ELU, ACT_SIGMOID, ACT_SWISH


cdef inline void activate(const real* x, real* y, int64_t n, int act, real alpha) noexcept nogil:
    if real is float:
        activate_f32(x, y, n, act, alpha)
    else:
        activate_f64(x, y, n, act, alpha)


cdef inline void activate_backward(
    const real* dy, const real* saved, real* da, int64_t n, int act, real alpha
) noexcept nogil:
    if real is float:
        activate_backward_f32(dy, saved, da, n, act, alpha)
    else:
        activate_backward_f64(dy, saved, da, n, act, alpha)


cdef inline void add_row(const real* a, const real* b, real* y, int64_t n) noexcept nogil:
    if real is float:
        add_row_f32(a, b, y, n)
    else:
        add_row_f64(a, b, y, n)


cdef inline void exp_rows(
    const real* x, real* y, int64_t n, int64_t k, real* total, real* maximum
) noexcept nogil:
    if real is float:
        exp_rows_f32(x, y, n, k, total, maximum)
    else:
        exp_rows_f64(x, y, n, k, total, maximum)


cdef inline real dot_row(const real* a, const real* b, int64_t n) noexcept nogil:
    if real is float:
        return dot_row_f32(a, b, n)
    else:
        return dot_row_f64(a, b, n)


cdef inline real squared_row(const real* p, const real* t, real* d, int64_t n, real scale) noexcept nogil:
    if real is float:
        return squared_row_f32(p, t, d, n, scale)
    else:
        return squared_row_f64(p, t, d, n, scale)


cdef inline void dropout_row(
    const real* x, real* y, int64_t n, uint32_t first, uint32_t high, uint32_t least, real scale, real shift, real fill
) noexcept nogil:
    if real is float:
        dropout_row_f32(x, y, n, first, high, least, scale, shift, fill)
    else:
        dropout_row_f64(x, y, n, first, high, least, scale, shift, fill)
