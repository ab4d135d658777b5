"""The two sides: callbacks from the carriers, questions from operations. Thin handlers; the rooms below do the work."""
