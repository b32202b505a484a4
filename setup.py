"""Builds the compiled kernels: each source once per instruction set (see ARCHITECTURE.md, "Build").

Environment variables, all optional:
    FASTNN_BUILD_ISA      comma list out of baseline,avx2,avx512 (default: all the processor family has)
    FASTNN_BUILD_ONLY     comma list of kernel modules to rebuild, for quick work on one of them
    FASTNN_BUILD_CHECKED  1: bounds checks, and the address and undefined-behaviour sanitizers if available
    FASTNN_NO_OPENMP      1: leave OpenMP out
    FASTNN_NO_VECTOR      1: pretend that the compiler has no vector extensions
"""

import copy
import os
import platform
import tempfile
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = Path("fastnn/_ext")


def switch(name):
    return os.environ.get(name, "0") not in ("", "0")


CHECKED = switch("FASTNN_BUILD_CHECKED")
NO_VECTOR = switch("FASTNN_NO_VECTOR")
NO_OPENMP = switch("FASTNN_NO_OPENMP")

# The one table of Cython directives. Raw pointers do the hot work; what indexing is left is checked
# only in the checked build.
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "wraparound": False,
    "initializedcheck": CHECKED,
    "cdivision": True,
    "embedsignature": True,
    "freethreading_compatible": False,
}

# Never -ffast-math (NaN must stay visible) nor -march=native (a wheel must run anywhere).
UNIX_FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fvisibility=hidden",
              "-Wno-unused-function", "-Wno-psabi", "-g0"]  # fmt: skip
ISA_FLAGS = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mavx2", "-mfma",
               "-mprefer-vector-width=512"],
}  # fmt: skip


def instruction_sets():
    """Instruction sets to build, for this processor family."""
    asked = os.environ.get("FASTNN_BUILD_ISA")
    if asked:
        return [isa.strip() for isa in asked.split(",")]
    if NO_VECTOR or platform.machine().lower() not in ("x86_64", "amd64", "i686", "x86"):
        return ["baseline"]
    return list(ISA_FLAGS)


class BuildKernels(build_ext):
    """Compiles `fastnn._ext.<isa>.<kernel>` with the flags of that instruction set."""

    def build_extensions(self):
        self.unix = self.compiler.compiler_type != "msvc"
        self.openmp = None if NO_OPENMP else self.find_openmp()
        self.sanitizers = self.find_sanitizers() if CHECKED else []
        if not self.parallel:
            self.parallel = os.cpu_count() or 1
        super().build_extensions()

    def copy_extensions_to_source(self):
        # the folders of the instruction sets are not packages with a source folder
        for ext in self.extensions:
            Path(*ext.name.split(".")[:-1]).mkdir(exist_ok=True)
        super().copy_extensions_to_source()

    def compiles(self, flags, code="int main(void) { return 0; }\n"):
        """Whether a program compiles and links with these flags."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "try.c")
            source.write_text(code)
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=flags)
                self.compiler.link_executable(objects, str(Path(folder, "try")), extra_postargs=flags)
            except Exception:
                return False
        return True

    def find_openmp(self):
        """(compile flags, link flags) for OpenMP, or None: then the kernels run on one thread."""
        code = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
        tries = (
            [(["-fopenmp"], ["-fopenmp"]), (["-Xclang", "-fopenmp"], ["-lomp"])]
            if self.unix
            else [(["/openmp"], [])]
        )
        for compile_flags, link_flags in tries:
            if self.compiles(compile_flags + link_flags, code):
                return compile_flags, link_flags
        print("fastnn: this compiler has no OpenMP; the kernels will run on one thread")
        return None

    def find_sanitizers(self):
        flags = ["-fsanitize=address,undefined", "-fno-sanitize=alignment", "-fno-omit-frame-pointer", "-g1"]
        return flags if self.unix and self.compiles(flags) else []

    def build_extension(self, ext):
        isa = ext.name.split(".")[-2]
        ext = copy.copy(ext)
        compile_flags, link_flags = [], []
        if self.unix:
            compile_flags += UNIX_FLAGS + ISA_FLAGS.get(isa, []) + self.sanitizers
            link_flags += self.sanitizers
        else:
            compile_flags += ["/O2", "/fp:contract"] + (["/arch:AVX2"] if isa == "avx2" else [])
        if self.openmp:
            compile_flags += self.openmp[0]
            link_flags += self.openmp[1]
            ext.define_macros = [*ext.define_macros, ("FASTNN_OPENMP", "1")]
        ext.extra_compile_args, ext.extra_link_args = compile_flags, link_flags
        # One C file, several object files: each instruction set has a folder of its own.
        builder = copy.copy(self)
        builder.compiler = copy.copy(self.compiler)
        builder.build_temp = str(Path(self.build_temp, isa))
        # Dates do not tell that an earlier build in this tree had other settings.
        settings = repr((ext.sources, ext.define_macros, compile_flags, link_flags))
        stamp = Path(builder.build_temp, f"{ext.name}{'.inplace' if self.inplace else ''}.settings")
        builder.force = self.force or not stamp.exists() or stamp.read_text() != settings
        build_ext.build_extension(builder, ext)
        stamp.write_text(settings)


def extensions():
    only = [name for name in os.environ.get("FASTNN_BUILD_ONLY", "").split(",") if name]
    sources = sorted(p for p in KERNELS.glob("*.pyx") if not only or p.stem in only)
    headers = sorted(str(p) for p in KERNELS.glob("*.h"))
    macros = [("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")]
    if NO_VECTOR:
        macros.append(("FASTNN_NO_VECTOR", "1"))
    modules = cythonize(
        [
            Extension(
                f"fastnn._ext.{source.stem}",
                [str(source)],
                include_dirs=[numpy.get_include(), str(KERNELS)],
                define_macros=macros,
                depends=headers,
            )
            for source in sources
        ],
        compiler_directives=DIRECTIVES,
        build_dir="build/cython" + ("-checked" if CHECKED else ""),
        nthreads=os.cpu_count() or 1,
    )
    built = []
    for module in modules:
        stem = module.name.rsplit(".", 1)[1]
        # The processor is asked before anything else is loaded, so that module is built plainly.
        for isa in ["baseline"] if stem == "cpu" else instruction_sets():
            clone = copy.copy(module)
            clone.name = f"fastnn._ext.{isa}.{stem}"
            built.append(clone)
    return built


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildKernels})
