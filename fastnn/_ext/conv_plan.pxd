# What a direct convolution knows before it starts; see conv_plan.pyx.
from libc.stdint cimport int64_t

cdef struct Geometry:
    # x (n, h, w, c), weight (f, kh, kw, c // groups), y (n, oh, ow, f)
    int64_t n, h, w, c, f, kh, kw, oh, ow
    int64_t sh, sw, top, bottom, left, right, dh, dw, groups

cdef struct Axis:
    # How the positions of one axis of the target read an axis of the source.
    int64_t size, source_size, n_taps
    int64_t step         # source distance from one tap to the next
    int64_t n_classes
    int64_t* tap         # (n_taps,) kernel position of tap t
    int64_t* begin       # (size,) taps begin <= t < end lie inside the source
    int64_t* end
    int64_t* source      # (size,) source position of tap `begin`
    int64_t* order       # (size,) positions by class
    int64_t* start       # (n_classes + 1,) where a class starts in `order`

cdef struct Block:
    # A piece of the inner size for one class of pixels: segments of the tile.
    int64_t first, n_seg, seg_len
    bint skip, accumulate, last

cdef struct Tile:
    int64_t first, n, shape   # pixels first .. first + n, all of the class `shape`

cdef struct Pixels:
    # The target pixels of a group of images by class, cut into tiles.
    int64_t n_tiles
    int64_t* source
    int64_t* target
    Tile* tiles

cdef struct Plan:
    Axis h, w
    int64_t images, inner, columns, groups     # channels of source and target per group
    int64_t K, n_panels                        # inner size, panels per group
    int64_t n_blocks
    Block* blocks                              # (n_classes of h, n_classes of w, n_blocks)
    int64_t* a_off
    int64_t* b_off
    int64_t group_size, n_image_groups, tiles_per_item, ranges, panel_groups, n_items
    Pixels full, rest                          # of a whole group of images, and of the last one

cdef int plan_forward(Plan* p, const Geometry* g, int64_t NR) noexcept nogil
cdef int plan_backward(Plan* p, const Geometry* g, int64_t NR) noexcept nogil
cdef int64_t axis_numbers(int64_t size, int64_t n_taps, int64_t stride) noexcept nogil
cdef int64_t* fill_axis(
    Axis* a, int64_t* memory, int64_t size, int64_t source_size, int64_t n_taps, int64_t stride,
    int64_t pad, int64_t dilation, bint backward,
) noexcept nogil
