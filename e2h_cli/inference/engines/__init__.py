"""Text generation: vLLM, or batched sampling with transformers; ``select`` chooses one."""
