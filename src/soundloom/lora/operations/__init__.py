"""Operations on adapters: combine, resize, convert, bake, extract from tuned weights, merge into a model."""
