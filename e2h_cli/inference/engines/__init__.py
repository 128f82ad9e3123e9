"""What generates text: vLLM, or batched decoding with transformers."""
