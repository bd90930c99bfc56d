"""What `spconv.cppconstants` says about a build: this one has no compiled part."""

CPU_ONLY_BUILD = False  # the same wheel runs on GPUs
HAS_BOOST = True  # the rotated boxes that upstream needs Boost for are there
COMPILED_CUDA_ARCHS: list[tuple[int, int]] = []
COMPILED_CUDA_GEMM_ARCHS: list[tuple[int, int]] = []
BUILD_CUMM_VERSION = "0.7.11"
BUILD_PCCM_VERSION = "0.4.16"
