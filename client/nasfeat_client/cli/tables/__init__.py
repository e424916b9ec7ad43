"""Where results are written: tables of one row for each image, in several formats."""
