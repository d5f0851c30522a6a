"""Values that everything else is made of: byte ranges, block maps, sizes, URLs and text. No I/O."""
