"""The checkpoint store and the migration of older schemas."""
