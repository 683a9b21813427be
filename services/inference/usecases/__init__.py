"""What the inference service does with a job: bring it to a result or a failure, or give it back."""
