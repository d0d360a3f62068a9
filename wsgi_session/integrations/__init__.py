"""Thin adapters, each importing its framework: Flask, Django, Pyramid."""
