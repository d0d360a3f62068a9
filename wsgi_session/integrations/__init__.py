"""Thin adapters for Flask, Django and Pyramid. Each module imports its framework."""
