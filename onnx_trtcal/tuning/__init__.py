"""Tries what can be changed until an accuracy target is met."""
