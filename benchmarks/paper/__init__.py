"""Tests of CW-VAE's claims, on moving digits and on vector frames."""
