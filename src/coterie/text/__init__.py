"""Language, segmentation, numbers and dates by locale."""
