"""`db[f] = sum over all pixels of da[..., f]`: a sum for each image, and these in order."""

from cython.parallel cimport prange
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastnn._ext.common cimport real
from fastnn._ext.conv_plan cimport Geometry
from fastnn._ext.threads cimport SLOT_CONV_PARTIAL, scratch, threads_for


cdef void sum_image(const real* da, int64_t pixels, int64_t F, real* sums) noexcept nogil:
    cdef int64_t i, f
    memset(sums, 0, F * sizeof(real))
    for i in range(pixels):
        for f in range(F):
            sums[f] += da[i * F + f]


cdef int bias_gradient(
    const Geometry* g,
    const real* da,   # IN  (N, OH, OW, F)
    real* db,         # OUT (F,)
    bint accumulate,
) noexcept nogil:
    """Overwrite `db`, or add to it; -1 without memory."""
    cdef int64_t image, f, F = g.f, pixels = g.oh * g.ow
    cdef real* sums = <real*>scratch(SLOT_CONV_PARTIAL, g.n * F * sizeof(real))
    if sums == NULL:
        return -1
    for image in prange(g.n, schedule="static", num_threads=threads_for(<double>(g.n * pixels * F))):
        sum_image(da + image * pixels * F, pixels, F, sums + image * F)
    if not accumulate:
        memset(db, 0, F * sizeof(real))
    for image in range(g.n):
        for f in range(F):
            db[f] += sums[image * F + f]
    return 0
