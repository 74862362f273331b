"""The claims of CW-VAE, on moving digits and on frames that are vectors."""
