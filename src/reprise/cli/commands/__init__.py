"""The commands of `reprise`, a module each: parsing and printing. JAX loads in their bodies."""
