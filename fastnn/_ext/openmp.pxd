# The one door to OpenMP: without it, prange is an ordinary loop and these are constants.
cdef extern from *:
    """
    #ifdef FASTNN_OPENMP
      #include <omp.h>
    #else
      #define omp_get_max_threads() 1
      #define omp_get_thread_num() 0
      #define omp_get_num_procs() 1
    #endif
    #ifdef FASTNN_OPENMP
      #define FASTNN_HAS_OPENMP 1
    #else
      #define FASTNN_HAS_OPENMP 0
    #endif
    """
    int omp_get_max_threads() noexcept nogil
    int omp_get_thread_num() noexcept nogil
    int FASTNN_HAS_OPENMP
