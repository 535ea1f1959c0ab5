"""Files of tensors, read and written without a framework: safetensors, npz, npy, pickle, packed weights."""
