"""Joining arrays along the last axis, and taking them apart again."""

cimport numpy as cnp
from cython.parallel cimport prange
from fastnn._ext.common cimport check, real_type
from fastnn._ext.threads cimport threads_for
from libc.stdint cimport int64_t
from libc.string cimport memcpy

cnp.import_array()

cdef enum:
    ROWS = 256  # of one owner


cdef void copy_rows(const char* source, int64_t source_row, char* target, int64_t target_row, int64_t n_bytes,
                    int64_t rows) noexcept nogil:
    cdef int64_t i
    for i in range(rows):
        memcpy(target + i * target_row, source + i * source_row, n_bytes)


cdef void copy_columns(const char* source, int64_t source_row, char* target, int64_t target_row, int64_t n_bytes,
                       int64_t rows) noexcept nogil:
    """The first `n_bytes` of every row; rows are `source_row` and `target_row` bytes apart."""
    cdef int64_t chunk, chunks = (rows + ROWS - 1) // ROWS
    cdef int threads = threads_for(<double>n_bytes * rows)
    if threads == 1:
        copy_rows(source, source_row, target, target_row, n_bytes, rows)
        return
    for chunk in prange(chunks, num_threads=threads, schedule="static"):
        copy_rows(source + chunk * ROWS * source_row, source_row, target + chunk * ROWS * target_row, target_row,
                  n_bytes, min(<int64_t>ROWS, rows - chunk * ROWS))


cdef int64_t fit(cnp.ndarray part, str part_name, cnp.ndarray whole, str name, int64_t start) except -1:
    """Rows of both arrays, or the error that `part` does not lie inside of `whole`."""
    cdef int typenum = real_type(part, part_name), ndim = cnp.PyArray_NDIM(part), axis
    cdef int64_t rows = 1
    check(part, part_name, -1, typenum)
    check(whole, name, -1, typenum)
    if ndim < 1 or ndim != cnp.PyArray_NDIM(whole):
        raise ValueError(f"{part_name}: expected as many axes as {name}, at least one. Received: "
                         f"{(<object>part).shape} and {(<object>whole).shape}")
    for axis in range(ndim - 1):
        rows *= part.shape[axis]
        if part.shape[axis] != whole.shape[axis]:
            raise ValueError(f"{part_name}: expected the axes of {name} but for the last. Received: "
                             f"{(<object>part).shape} and {(<object>whole).shape}")
    if start < 0 or start + part.shape[ndim - 1] > whole.shape[ndim - 1]:
        raise ValueError(f"start: expected a place for {part.shape[ndim - 1]} columns in "
                         f"{whole.shape[ndim - 1]}. Received: {start}")
    return rows


def concat_forward(
    cnp.ndarray x,  # IN  (..., C)
    cnp.ndarray y,  # OUT (..., D), of which the columns start to start + C are written
    int64_t start,
):
    """`y[..., start : start + C] = x`."""
    cdef int64_t rows = fit(x, "x", y, "y", start), size = x.itemsize
    cdef int64_t width = x.shape[cnp.PyArray_NDIM(x) - 1] * size, row = y.shape[cnp.PyArray_NDIM(x) - 1] * size
    cdef char* source = <char*>cnp.PyArray_DATA(x)
    cdef char* target = <char*>cnp.PyArray_DATA(y)
    with nogil:
        copy_columns(source, width, target + start * size, row, width, rows)


def concat_backward(
    cnp.ndarray dy,  # IN  (..., D)
    cnp.ndarray dx,  # OUT (..., C)
    int64_t start,
):
    """`dx = dy[..., start : start + C]`."""
    cdef int64_t rows = fit(dx, "dx", dy, "dy", start), size = dx.itemsize
    cdef int64_t width = dx.shape[cnp.PyArray_NDIM(dx) - 1] * size, row = dy.shape[cnp.PyArray_NDIM(dx) - 1] * size
    cdef char* source = <char*>cnp.PyArray_DATA(dy)
    cdef char* target = <char*>cnp.PyArray_DATA(dx)
    with nogil:
        copy_columns(source + start * size, row, target, width, width, rows)
