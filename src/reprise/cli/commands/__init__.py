"""The commands of `reprise`, one module each: parse options, print results. JAX is imported inside
the functions, so that help is fast.
"""
