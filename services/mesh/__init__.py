"""What makes a process a member of the mesh; knows no domain word."""
