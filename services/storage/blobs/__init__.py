"""Where bytes lie: a directory or an S3 bucket."""
