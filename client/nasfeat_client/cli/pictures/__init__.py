"""Where the pictures of a run come from: files, folders, lists and archives, one at a time."""
