"""Everything that a mesh can be asked to do, one deed at a time, so that each crash point can be reached on purpose."""
