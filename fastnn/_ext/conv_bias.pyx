"""`db[f] = sum over all pixels of da[..., f]`: a sum for each image, and these in order."""

from cython.parallel cimport prange
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry
from fastnn._ext.threads cimport SLOT_CONV_PARTIAL, scratch, threads_for


cdef enum:
    FOLD = 256   # numbers in a row of sums: short rows would wait for their own last addition


cdef void sum_image(const real* da, int64_t pixels, int64_t F, real* sums) noexcept nogil:
    """sums[f] = sum of da[p, f] over the pixels of an image; `sums` has room for fold(F) * F numbers."""
    cdef int64_t rows = fold(F), width = rows * F, i, f
    memset(sums, 0, width * sizeof(real))
    for i in range(pixels // rows):
        for f in range(width):
            sums[f] += da[i * width + f]
    for i in range(pixels // rows * rows, pixels):
        for f in range(F):
            sums[f] += da[i * F + f]
    for i in range(1, rows):
        for f in range(F):
            sums[f] += sums[i * F + f]


cdef inline int64_t fold(int64_t F) noexcept nogil:
    """Pixels whose channels lie side by side in a row of sums."""
    return max(<int64_t>1, FOLD // max(<int64_t>1, F))


cdef int bias_gradient(
    const Geometry* g,
    const real* da,   # IN  (N, OH, OW, F)
    real* db,         # OUT (F,)
    bint accumulate,
) noexcept nogil:
    """Overwrite `db`, or add to it; -1 without memory."""
    cdef int64_t image, f, F = g.f, pixels = g.oh * g.ow, width = fold(F) * F
    cdef real* sums = <real*>scratch(SLOT_CONV_PARTIAL, g.n * width * sizeof(real))
    if sums == NULL:
        return -1
    for image in prange(g.n, schedule="static", num_threads=threads_for(<double>(g.n * pixels * F))):
        sum_image(da + image * pixels * F, pixels, F, sums + image * width)
    if not accumulate:
        memset(db, 0, F * sizeof(real))
    for image in range(g.n):
        for f in range(F):
            db[f] += sums[image * width + f]
    return 0
