"""Synthetic images with exact masks: phantoms, endoscopy, digital follow-ups, random scenes."""
