# How (R, C) is folded and cut for batch normalization, by the shape alone, and the loops over one block. See
# normalization.pyx.
from fastnn._ext.threads cimport SLOT_REDUCE, scratch
from libc.stdint cimport int64_t

cdef extern from "normalization.h" nogil:
    enum:
        GATE_NONE, GATE_Y, GATE_X
    void bn_normalize_f32(const float* x, const float* add, float* y, const float* factors, int64_t n, int64_t width,
                          int activation, float alpha)
    void bn_normalize_f64(const double* x, const double* add, double* y, const double* factors, int64_t n,
                          int64_t width, int activation, double alpha)
    void bn_sum_f32(int gate, int activation, const float* dy, const float* x, const float* y, const float* factors,
                    float* sums, float* products, int64_t n, int64_t width, float alpha)
    void bn_sum_f64(int gate, int activation, const double* dy, const double* x, const double* y,
                    const double* factors, double* sums, double* products, int64_t n, int64_t width, double alpha)
    void bn_input_f32(int gate, int activation, const float* dy, const float* x, const float* y, float* dx,
                      const float* factors, int64_t n, int64_t width, float alpha)
    void bn_input_f64(int gate, int activation, const double* dy, const double* x, const double* y, double* dx,
                      const double* factors, int64_t n, int64_t width, double alpha)

cdef enum:
    WIDTH = 256         # numbers in a folded row, at least
    SHORT_BLOCK = 32    # folded rows in a block: enough blocks for the threads of a small array,
    LONG_BLOCK = 128    # and few partial sums for a large one
    MANY_ROWS = 4096

ctypedef struct Fold:
    int64_t r, c          # x (r, c)
    int64_t times, width  # rows in a folded row, and its numbers
    int64_t block, n_blocks


cdef inline int64_t gcd(int64_t a, int64_t b) noexcept nogil:
    while b:
        a, b = b, a % b
    return a


cdef inline void fold(Fold* f, int64_t r, int64_t c) noexcept nogil:
    """Choose how rows are folded and cut, by the shape alone."""
    cdef int64_t multiple = 16 // gcd(16, c) if c < 64 else 1  # so that few channels leave no odd end
    f.r, f.c = r, c
    f.times = (WIDTH + multiple * c - 1) // (multiple * c) * multiple
    f.width = f.times * c
    cdef int64_t rows = (r + f.times - 1) // f.times
    f.block = LONG_BLOCK if rows >= MANY_ROWS else SHORT_BLOCK
    f.n_blocks = (rows + f.block - 1) // f.block


cdef inline int64_t smaller(int64_t a, int64_t b) noexcept nogil:
    return a if a < b else b


cdef inline int64_t block_end(const Fold* f, int64_t b) noexcept nogil:
    """The number of x after the last one of block b."""
    return smaller((b + 1) * f.block * f.width, f.r * f.c)


cdef inline int64_t count(const Fold* f, int64_t b, int64_t j) noexcept nogil:
    """How many rows of x the sums of block b at fold j hold."""
    cdef int64_t first = b * f.block * f.times + j, last = smaller((b + 1) * f.block * f.times, f.r)
    return 0 if first >= last else (last - first + f.times - 1) // f.times


cdef inline double* room(const Fold* f, int64_t n_factors, size_t size) noexcept nogil:
    """Scratch memory: (2, C) float64, then (n_factors, width) and the partial sums (n_blocks, 2, width)."""
    cdef int64_t numbers = (2 * f.n_blocks + n_factors) * f.width
    return <double*>scratch(SLOT_REDUCE, 2 * f.c * <int64_t>sizeof(double) + numbers * <int64_t>size)
