"""A pipeline as ONNX graphs: see `cocosnet_hf.export`, its command."""
