"""Measurements and long proofs: `./run bench [name]`. Figures are printed, never asserted; what must hold is a test elsewhere."""
