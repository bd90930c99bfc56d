"""How `tune` measures, chooses and keeps."""
