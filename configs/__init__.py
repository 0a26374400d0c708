"""Configuration files; this module makes the folder installable as package data."""
