"""Speech models as plain classes: arrays in, arrays out."""
