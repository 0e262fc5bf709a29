"""What NVIDIA's own compiler makes of a model, found out without a GPU.

TensorRT for RTX (PyPI `tensorrt-rtx-cu12`) holds the ONNX parser and the builder of the TensorRT 11 family, and its
builder compiles ahead of time on a CPU. Its verbose log lists every kernel of the engine with its types, from which
the modules here tell what runs in INT8. https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/
"""
