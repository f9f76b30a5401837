"""What the benchmarks share: options, results, metrics, images, journalled processes."""
