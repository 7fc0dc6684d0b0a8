"""What patches and stickers are put into: photographs, street signs, a solid object. The attacks on them are elsewhere."""
