"""From float32 to eight bits: calibration tiles, ranges, quantized files and fine-tuning."""
