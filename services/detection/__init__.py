"""What training and serving of detectors share: features of sound, detections from scores, and how good those are."""
