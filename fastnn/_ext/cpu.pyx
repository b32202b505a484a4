"""What this processor can run, asked before any other kernel is loaded."""

cdef extern from *:
    """
    #if (defined(__GNUC__) || defined(__clang__)) && (defined(__x86_64__) || defined(__i386__))
      /* These ask the operating system too: it must save the wide registers. */
      static int has_avx2(void) {
          __builtin_cpu_init();
          return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
      }
      static int has_avx512(void) {
          __builtin_cpu_init();
          return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")
              && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
      }
    #elif defined(_MSC_VER) && defined(_M_X64)
      #include <intrin.h>
      static int has_avx2(void) {
          int r[4];
          __cpuid(r, 1);
          if (!((r[2] >> 12) & 1) || !((r[2] >> 27) & 1) || (_xgetbv(0) & 6) != 6) return 0;
          __cpuidex(r, 7, 0);
          return (r[1] >> 5) & 1;
      }
      static int has_avx512(void) {
          int r[4];
          if (!has_avx2() || (_xgetbv(0) & 0xe6) != 0xe6) return 0;
          __cpuidex(r, 7, 0);
          return ((r[1] >> 16) & 1) && ((r[1] >> 17) & 1) && ((r[1] >> 30) & 1) && ((unsigned)r[1] >> 31);
      }
    #else
      static int has_avx2(void) { return 0; }
      static int has_avx512(void) { return 0; }
    #endif
    """
    int has_avx2()
    int has_avx512()


def instruction_sets():
    """Names of the instruction sets that this processor and its operating system can run."""
    names = ["baseline"]
    if has_avx2():
        names.append("avx2")
    if has_avx512():
        names.append("avx512")
    return names
