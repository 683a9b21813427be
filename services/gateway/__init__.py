"""The only public door: translates the REST contracts to the mesh and streams bytes."""
